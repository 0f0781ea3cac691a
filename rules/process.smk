# Image to image, and image to label image. One job is one batch of images.


wildcard_constraints:
    batch=r"\d+",


rule filter_image:
    input:
        sheet=ancient(config["sheet"]),
        after="<results>/outcomes/convert_image/{batch}.json",
    output:
        outcome="<results>/outcomes/filter_image/{batch}.json",
    log:
        "<logs>/filter_image/{batch}.log",
    benchmark:
        "<benchmarks>/filter_image/{batch}.jsonl"
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
        json=lambda wc: config["params"]("filter_image"),
        trigger=lambda wc: config["trigger"]("filter_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
    shell:
        "parfocal filter-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --threads {threads} {params.compute:q} --outcome {output.outcome:q} > {log:q} 2>&1"


rule segment_objects:
    input:
        sheet=ancient(config["sheet"]),
        after=f"<results>/outcomes/{config['segment_after']}/{{batch}}.json",
    output:
        outcome="<results>/outcomes/segment_objects/{batch}.json",
    log:
        "<logs>/segment_objects/{batch}.log",
    benchmark:
        "<benchmarks>/segment_objects/{batch}.jsonl"
    retries: 1
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: config["threads"]
    resources:
        mem_mb=lambda wc, attempt: 1500 * attempt,
        runtime=lambda wc, attempt: 480 * attempt,
    params:
        json=lambda wc: config["params"]("segment_objects"),
        trigger=lambda wc: config["trigger"]("segment_objects", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
        image=lambda wc: f"image={config['segment_image']}",
    shell:
        "parfocal segment-objects --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --path {params.image:q}"
        " --threads {threads} {params.compute:q} --outcome {output.outcome:q} > {log:q} 2>&1"


rule assemble_image:
    input:
        sheet=ancient(config["sheet"]),
        after="<results>/outcomes/segment_objects/{batch}.json",
    output:
        outcome="<results>/outcomes/assemble_image/{batch}.json",
    log:
        "<logs>/assemble_image/{batch}.log",
    benchmark:
        "<benchmarks>/assemble_image/{batch}.jsonl"
    retries: 1
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 500 * attempt,
        runtime=lambda wc, attempt: 60 * attempt,
    params:
        json=lambda wc: config["params"]("assemble_image"),
        trigger=lambda wc: config["trigger"]("assemble_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
    shell:
        "parfocal assemble-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --threads {threads} --outcome {output.outcome:q} > {log:q} 2>&1"


rule assemble_plate:
    input:
        sheet=ancient(config["sheet"]),
        outcomes=config.get("plate_outcomes", []),
    output:
        plate=f"<results>/plates/{{plate}}.ome.zarr/{config.get('plate_document', 'zarr.json')}",
    log:
        "<logs>/assemble_plate/{plate}.log",
    benchmark:
        "<benchmarks>/assemble_plate/{plate}.jsonl"
    retries: 1
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 500 * attempt,
        runtime=lambda wc, attempt: 60 * attempt,
    params:
        json=lambda wc: config["plate_params"](wc.plate),
        trigger=lambda wc: config["run_trigger"],
        folder=lambda wc: config["results"],
    shell:
        "parfocal assemble-plate --results {params.folder:q} --sheet {input.sheet:q}"
        ' --params {params.json:q} --plate "$(dirname {output.plate:q})" --replace'
        " > {log:q} 2>&1"
