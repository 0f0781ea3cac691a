# Image to image, and image to label image. One job is one batch of images.


wildcard_constraints:
    batch=r"\d+",


rule correct_illumination:
    input:
        sheet=ancient(config["sheet"]),
        after=f"<results>/outcomes/{config['after']['correct_illumination']}/{{batch}}.json",
    output:
        outcome="<results>/outcomes/correct_illumination/{batch}.json",
    log:
        "<logs>/correct_illumination/{batch}.log",
    benchmark:
        "<benchmarks>/correct_illumination/{batch}.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: config["threads"]
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "correct_illumination", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "correct_illumination", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("correct_illumination"),
        trigger=lambda wc: config["trigger"]("correct_illumination", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
        image=lambda wc: f"image={config['image']['correct_illumination']}",
    shell:
        "parfocal correct-illumination --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --path {params.image:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
        " --threads {threads} {params.compute:q} --outcome {output.outcome:q} > {log:q} 2>&1"


rule project_image:
    input:
        sheet=ancient(config["sheet"]),
        after=f"<results>/outcomes/{config['after']['project_image']}/{{batch}}.json",
    output:
        outcome="<results>/outcomes/project_image/{batch}.json",
    log:
        "<logs>/project_image/{batch}.log",
    benchmark:
        "<benchmarks>/project_image/{batch}.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: config["threads"]
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "project_image", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "project_image", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("project_image"),
        trigger=lambda wc: config["trigger"]("project_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
        image=lambda wc: f"image={config['image']['project_image']}",
    shell:
        "parfocal project-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --path {params.image:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
        " --threads {threads} {params.compute:q} --outcome {output.outcome:q} > {log:q} 2>&1"


rule filter_image:
    input:
        sheet=ancient(config["sheet"]),
        after=f"<results>/outcomes/{config['after']['filter_image']}/{{batch}}.json",
    output:
        outcome="<results>/outcomes/filter_image/{batch}.json",
    log:
        "<logs>/filter_image/{batch}.log",
    benchmark:
        "<benchmarks>/filter_image/{batch}.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: config["threads"]
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "filter_image", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "filter_image", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("filter_image"),
        trigger=lambda wc: config["trigger"]("filter_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
        image=lambda wc: f"image={config['image']['filter_image']}",
    shell:
        "parfocal filter-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --path {params.image:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
        " --threads {threads} {params.compute:q} --outcome {output.outcome:q} > {log:q} 2>&1"


rule segment_objects:
    input:
        sheet=ancient(config["sheet"]),
        after=f"<results>/outcomes/{config['after']['segment_objects']}/{{batch}}.json",
    output:
        outcome="<results>/outcomes/segment_objects/{batch}.json",
    log:
        "<logs>/segment_objects/{batch}.log",
    benchmark:
        "<benchmarks>/segment_objects/{batch}.jsonl"
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: config["threads"]
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "segment_objects", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "segment_objects", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("segment_objects"),
        trigger=lambda wc: config["trigger"]("segment_objects", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        # A function of threads, so that it is no reason to run a job again.
        compute=lambda wc, threads: config.get("compute", []),
        image=lambda wc: f"image={config['image']['segment_objects']}",
    shell:
        "parfocal segment-objects --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --path {params.image:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
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
    conda:
        "../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: config["resources"](
            "assemble_image", wc.batch, attempt
        )["mem_mb"],
        runtime=lambda wc, attempt: config["resources"](
            "assemble_image", wc.batch, attempt
        )["runtime"],
        attempt=lambda wc, attempt: attempt,
        attempts=lambda wc: config["attempts"](),
    params:
        json=lambda wc: config["params"]("assemble_image"),
        trigger=lambda wc: config["trigger"]("assemble_image", wc.batch),
        size=config["batch_size"],
        folder=lambda wc: config["results"],
        resources=lambda wc, threads: config["resources_file"],
        image=lambda wc: f"image={config['image']['assemble_image']}",
    shell:
        "parfocal assemble-image --sheet {input.sheet:q} --batch {wildcards.batch}"
        " --batch-size {params.size} --folder {params.folder:q} --params {params.json:q}"
        " --after {input.after:q}"
        " --path {params.image:q}"
        " --attempt {resources.attempt} --attempts {resources.attempts}"
        " --memory-mib {resources.mem_mb} --time-min {resources.runtime}"
        " --resources {params.resources:q}"
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
