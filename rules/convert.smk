# Originals to OME-Zarr, each verified against its original. One job is one batch of images.


wildcard_constraints:
    batch=r"\d+",


rule convert_image:
    input:
        sheet=ancient(config["sheet"]),
        after="<results>/outcomes/fetch_image/{batch}.json",
    output:
        outcome="<results>/outcomes/convert_image/{batch}.json",
    log:
        "<logs>/convert_image/{batch}.log",
    benchmark:
        "<benchmarks>/convert_image/{batch}.jsonl"
    retries: 1
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: config["threads"]
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: config["params"]("convert_image"),
        trigger=lambda wc: config["trigger"]("convert_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
    shell:
        "parfocal convert-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --threads {threads} {params.compute:q} --outcome {output.outcome:q} > {log:q} 2>&1"
