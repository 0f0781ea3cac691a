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
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: config["threads"]
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "convert_image", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "convert_image", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("convert_image"),
        trigger=lambda wc: config["trigger"]("convert_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
    shell:
        "parfocal convert-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
        " --threads {threads} {params.compute:q} --outcome {output.outcome:q} > {log:q} 2>&1"
