# What a run leaves behind, whatever failed in it: a report, a run crate, and at last a verdict.


rule render_report:
    input:
        sheet=ancient(config["sheet"]),
        outcomes=config["outcomes"],
        plan=config.get("plan", []),
    output:
        report="<results>/report.html",
    log:
        "<logs>/render_report.log",
    benchmark:
        "<benchmarks>/render_report.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 30 * attempt,
    params:
        json=lambda wc: config["params"]("render_report"),
        trigger=lambda wc: config["run_trigger"],
        folder=lambda wc: config["results"],
        plan=lambda wc, input: ["--plan", input.plan] if input.plan else [],
    shell:
        "parfocal render-report --results {params.folder:q} --sheet {input.sheet:q} {params.plan:q}"
        " --params {params.json:q} --report {output.report:q} --replace > {log:q} 2>&1"


rule keep_config:
    output:
        config="<results>/config.yaml",
    log:
        "<logs>/keep_config.log",
    benchmark:
        "<benchmarks>/keep_config.jsonl"
    localrule: True
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        text=lambda wc: config["text"],
    shell:
        "printf '%s\\n' {params.text:q} > {output.config:q} 2> {log:q}"


rule record_run:
    input:
        sheet=ancient(config["sheet"]),
        outcomes=config["outcomes"],
        report="<results>/report.html",
        plates=config.get("plates", []),
        config="<results>/config.yaml",
    output:
        crate="<results>/run-crate/ro-crate-metadata.json",
    log:
        "<logs>/record_run.log",
    benchmark:
        "<benchmarks>/record_run.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 30 * attempt,
    params:
        json=lambda wc: config["params"]("record_run"),
        trigger=lambda wc: config["run_trigger"],
        folder=lambda wc: config["results"],
        workflow=lambda wc: config["workflow"],
    shell:
        "parfocal record-run --results {params.folder:q} --sheet {input.sheet:q}"
        " --workflow {params.workflow:q} --config {input.config:q} --params {params.json:q}"
        ' --crate "$(dirname {output.crate:q})" --replace > {log:q} 2>&1'


rule check_outcomes:
    input:
        sheet=ancient(config["sheet"]),
        outcomes=config["outcomes"],
        crate="<results>/run-crate/ro-crate-metadata.json",
    output:
        done=touch("<results>/all-done"),
    log:
        "<logs>/check_outcomes.log",
    benchmark:
        "<benchmarks>/check_outcomes.jsonl"
    retries: 0
    localrule: True
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        trigger=lambda wc: config["run_trigger"],
        folder=lambda wc: config["results"],
    shell:
        # Told on the console, too, however quiet Snakemake is.
        "parfocal check-outcomes --sheet {input.sheet:q} --results {params.folder:q}"
        " 2>&1 | tee {log:q} >&2"
