# Originals at hand. One job is one batch of images; docs/howto/compose-rules.md tells what `config` holds.


wildcard_constraints:
    batch=r"\d+",


rule fetch_image:
    input:
        sheet=ancient(config["sheet"]),
    output:
        outcome="<results>/outcomes/fetch_image/{batch}.json",
    log:
        "<logs>/fetch_image/{batch}.log",
    benchmark:
        "<benchmarks>/fetch_image/{batch}.jsonl"
    retries: 1
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 500 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: config["params"]("fetch_image"),
        trigger=lambda wc: config["trigger"]("fetch_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
    shell:
        "parfocal fetch-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --threads {threads} --outcome {output.outcome:q} > {log:q} 2>&1"
