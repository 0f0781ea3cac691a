# What of the results goes back to OMERO: a plan, made without a connection; written there, and read back.


rule plan_annotations:
    input:
        sheet=ancient(config["sheet"]),
        outcomes=config["outcomes"],
    output:
        plan="<results>/annotation-plan.json",
    log:
        "<logs>/plan_annotations.log",
    benchmark:
        "<benchmarks>/plan_annotations.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 30 * attempt,
    params:
        json=lambda wc: config["params"]("plan_annotations"),
        trigger=lambda wc: config["run_trigger"],
        folder=lambda wc: config["results"],
        workflow=lambda wc: config["workflow"],
    shell:
        "parfocal plan-annotations --results {params.folder:q} --sheet {input.sheet:q}"
        " --workflow {params.workflow:q} --params {params.json:q} --plan {output.plan:q}"
        " --replace > {log:q} 2>&1"


rule apply_annotations:
    input:
        plan="<results>/annotation-plan.json",
        crate="<results>/run-crate/ro-crate-metadata.json",
        report="<results>/report.html",
    output:
        receipt="<results>/annotation-receipt.json",
    log:
        "<logs>/apply_annotations.log",
    benchmark:
        "<benchmarks>/apply_annotations.jsonl"
    # Logins are at hand where Snakemake was started, and need not be on nodes of a cluster.
    localrule: True
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 2000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: config["params"]("apply_annotations"),
        folder=lambda wc: config["results"],
    shell:
        "parfocal apply-annotations --results {params.folder:q} --plan {input.plan:q}"
        " --params {params.json:q} --receipt {output.receipt:q} --replace > {log:q} 2>&1"


rule verify_annotations:
    input:
        plan="<results>/annotation-plan.json",
        receipt="<results>/annotation-receipt.json",
    output:
        # Snakemake would remove the verification, too, when it tells of differences.
        done=touch("<results>/annotations-verified"),
    log:
        "<logs>/verify_annotations.log",
    benchmark:
        "<benchmarks>/verify_annotations.jsonl"
    localrule: True
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 2000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: config["params"]("verify_annotations"),
        folder=lambda wc: config["results"],
    shell:
        "rm -f {params.folder:q}/annotation-verification.json > {log:q} 2>&1 &&"
        " parfocal verify-annotations --results {params.folder:q} --plan {input.plan:q}"
        " --params {params.json:q} --replace"
        " --verification {params.folder:q}/annotation-verification.json > {log:q} 2>&1"
