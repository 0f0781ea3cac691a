# What of the results goes back to OMERO: a plan, made without a connection.


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
