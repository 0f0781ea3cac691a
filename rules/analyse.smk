# Numbers from images and label images. One job is one batch of images.


wildcard_constraints:
    batch=r"\d+",


rule measure_objects:
    input:
        sheet=ancient(config["sheet"]),
        after="<results>/outcomes/segment_objects/{batch}.json",
    output:
        outcome="<results>/outcomes/measure_objects/{batch}.json",
    log:
        "<logs>/measure_objects/{batch}.log",
    benchmark:
        "<benchmarks>/measure_objects/{batch}.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: config["threads"]
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "measure_objects", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "measure_objects", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("measure_objects"),
        trigger=lambda wc: config["trigger"]("measure_objects", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
        image=lambda wc: f"image={config['image']['measure_objects']}",
    shell:
        "parfocal measure-objects --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --path {params.image:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
        " --threads {threads} {params.compute:q} --outcome {output.outcome:q} > {log:q} 2>&1"


rule assess_quality:
    input:
        sheet=ancient(config["sheet"]),
        after="<results>/outcomes/convert_image/{batch}.json",
    output:
        outcome="<results>/outcomes/assess_quality/{batch}.json",
    log:
        "<logs>/assess_quality/{batch}.log",
    benchmark:
        "<benchmarks>/assess_quality/{batch}.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: config["threads"]
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "assess_quality", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "assess_quality", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("assess_quality"),
        trigger=lambda wc: config["trigger"]("assess_quality", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
    shell:
        "parfocal assess-quality --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
        " --threads {threads} {params.compute:q} --outcome {output.outcome:q} > {log:q} 2>&1"


rule preview_image:
    input:
        sheet=ancient(config["sheet"]),
        after="<results>/outcomes/segment_objects/{batch}.json",
    output:
        outcome="<results>/outcomes/preview_image/{batch}.json",
    log:
        "<logs>/preview_image/{batch}.log",
    benchmark:
        "<benchmarks>/preview_image/{batch}.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "preview_image", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "preview_image", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("preview_image"),
        trigger=lambda wc: config["trigger"]("preview_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        image=lambda wc: f"image={config['image']['preview_image']}",
    shell:
        "parfocal preview-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --path {params.image:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
        " --threads {threads} --outcome {output.outcome:q} > {log:q} 2>&1"


rule score_objects:
    input:
        sheet=ancient(config["sheet"]),
        after="<results>/outcomes/segment_objects/{batch}.json",
    output:
        outcome="<results>/outcomes/score_objects/{batch}.json",
    log:
        "<logs>/score_objects/{batch}.log",
    benchmark:
        "<benchmarks>/score_objects/{batch}.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "score_objects", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "score_objects", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("score_objects"),
        trigger=lambda wc: config["trigger"]("score_objects", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
    shell:
        "parfocal score-objects --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
        " --threads {threads} --outcome {output.outcome:q} > {log:q} 2>&1"
