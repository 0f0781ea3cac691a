# Numbers from images and label images.
# One job is one image; an OME-Zarr is declared by its zarr.json, which is written last. The
# parameters of a step are `config["measure_objects"]`; docs/howto/compose-rules.md shows how to use it.
import json


wildcard_constraints:
    image=r"[A-Za-z0-9_-]+",
    label=r"[A-Za-z0-9_-]+",


rule measure_objects:
    input:
        image="<results>/images/{image}.ome.zarr/zarr.json",
        labels="<results>/labels/{label}/{image}.ome.zarr/zarr.json",
    output:
        table="<results>/tables/{label}/{image}.parquet",
        tsv="<results>/tables/{label}/{image}.tsv",
    log:
        text="<logs>/measure_objects/{image}.{label}.log",
        record="<logs>/measure_objects/{image}.{label}.record.json",
    benchmark:
        "<benchmarks>/measure_objects/{image}.{label}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 2
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: json.dumps(
            config.get("measure_objects", {}) | {"label_name": wc.label},
            sort_keys=True,
        ),
    shell:
        'parfocal measure-objects --image "$(dirname {input.image:q})"'
        ' --labels "$(dirname {input.labels:q})" --table {output.table:q}'
        " --tsv {output.tsv:q} --params {params.json:q} --threads {threads}"
        " --record {log.record:q} --replace > {log.text:q} 2>&1"


rule assess_quality:
    input:
        image="<results>/images/{image}.ome.zarr/zarr.json",
    output:
        quality="<results>/quality/{image}.json",
    log:
        text="<logs>/assess_quality/{image}.log",
        record="<logs>/assess_quality/{image}.record.json",
    benchmark:
        "<benchmarks>/assess_quality/{image}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 2
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: json.dumps(config.get("assess_quality", {}), sort_keys=True),
    shell:
        'parfocal assess-quality --image "$(dirname {input.image:q})"'
        " --quality {output.quality:q} --params {params.json:q} --threads {threads}"
        " --record {log.record:q} --replace > {log.text:q} 2>&1"


rule preview_image:
    input:
        image="<results>/images/{image}.ome.zarr/zarr.json",
    output:
        preview="<results>/previews/{image}.png",
    log:
        text="<logs>/preview_image/{image}.log",
        record="<logs>/preview_image/{image}.record.json",
    benchmark:
        "<benchmarks>/preview_image/{image}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 60 * attempt,
    params:
        json=lambda wc: json.dumps(
            config.get("preview_image", {})
            | {"label_name": wc.get("label", "nuclei")},
            sort_keys=True,
        ),
        labels=lambda wc, input: [
            f"--{name}={path.removesuffix('/zarr.json')}"
            for name, path in input.items()
            if name == "labels"
        ],
    shell:
        'parfocal preview-image --image "$(dirname {input.image:q})" {params.labels:q}'
        " --preview {output.preview:q} --params {params.json:q} --threads {threads}"
        " --record {log.record:q} --replace > {log.text:q} 2>&1"


use rule preview_image as preview_objects with:
    input:
        image="<results>/images/{image}.ome.zarr/zarr.json",
        labels="<results>/labels/{label}/{image}.ome.zarr/zarr.json",
    output:
        preview="<results>/previews/{label}/{image}.png",
    log:
        text="<logs>/preview_image/{image}.{label}.log",
        record="<logs>/preview_image/{image}.{label}.record.json",
    benchmark:
        "<benchmarks>/preview_image/{image}.{label}.jsonl"


rule score_objects:
    input:
        labels="<results>/labels/{label}/{image}.ome.zarr/zarr.json",
        ground_truth="<resources>/{label}/{image}.tif",
    output:
        scores="<results>/scores/{label}/{image}.json",
    log:
        text="<logs>/score_objects/{image}.{label}.log",
        record="<logs>/score_objects/{image}.{label}.record.json",
    benchmark:
        "<benchmarks>/score_objects/{image}.{label}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 60 * attempt,
    params:
        json=lambda wc: json.dumps(
            config.get("score_objects", {}) | {"label_name": wc.label}, sort_keys=True
        ),
    shell:
        'parfocal score-objects --labels "$(dirname {input.labels:q})"'
        " --ground_truth {input.ground_truth:q} --scores {output.scores:q}"
        " --params {params.json:q} --threads {threads} --record {log.record:q}"
        " --replace > {log.text:q} 2>&1"
