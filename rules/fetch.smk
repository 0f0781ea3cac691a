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
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "fetch_image", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "fetch_image", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("fetch_image"),
        trigger=lambda wc: config["trigger"]("fetch_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        # A function of threads, so that it is no reason to run a job again.
        transfer=lambda wc, threads: config.get("transfer", []),
    shell:
        "env {params.transfer:q} parfocal fetch-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
        " --threads {threads} --outcome {output.outcome:q} > {log:q} 2>&1"
