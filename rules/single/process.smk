# Image to image, and image to label image.
# One job is one image; an OME-Zarr is declared by its zarr.json, which is written last. The
# parameters of a step are `config["segment_objects"]`; docs/howto/compose-rules.md shows how to use it.
import json


wildcard_constraints:
    image=r"[A-Za-z0-9_-]+",
    label=r"[A-Za-z0-9_-]+",


rule correct_illumination:
    input:
        unpack(
            lambda wc: {
                name: config[name]
                for name in ("flat_field", "dark_field")
                if config.get(name)
            }
        ),
        image="<results>/images/{image}.ome.zarr/zarr.json",
    output:
        corrected="<results>/corrected/{image}.ome.zarr/zarr.json",
    log:
        text="<logs>/correct_illumination/{image}.log",
        record="<logs>/correct_illumination/{image}.record.json",
    benchmark:
        "<benchmarks>/correct_illumination/{image}.jsonl"
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
            config.get("correct_illumination", {}), sort_keys=True
        ),
        fields=lambda wc, input: [
            f"--{name}={path}" for name, path in input.items() if name != "image"
        ],
    shell:
        'parfocal correct-illumination --image "$(dirname {input.image:q})"'
        ' --corrected "$(dirname {output.corrected:q})" --params {params.json:q}'
        " {params.fields:q}"
        " --threads {threads} --record {log.record:q} --replace > {log.text:q} 2>&1"


rule project_image:
    input:
        image="<results>/images/{image}.ome.zarr/zarr.json",
    output:
        projected="<results>/projected/{image}.ome.zarr/zarr.json",
    log:
        text="<logs>/project_image/{image}.log",
        record="<logs>/project_image/{image}.record.json",
    benchmark:
        "<benchmarks>/project_image/{image}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 2
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: json.dumps(config.get("project_image", {}), sort_keys=True),
    shell:
        'parfocal project-image --image "$(dirname {input.image:q})"'
        ' --projected "$(dirname {output.projected:q})" --params {params.json:q}'
        " --threads {threads} --record {log.record:q} --replace > {log.text:q} 2>&1"


rule filter_image:
    input:
        image="<results>/images/{image}.ome.zarr/zarr.json",
    output:
        filtered="<results>/filtered/{image}.ome.zarr/zarr.json",
    log:
        text="<logs>/filter_image/{image}.log",
        record="<logs>/filter_image/{image}.record.json",
    benchmark:
        "<benchmarks>/filter_image/{image}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 2
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: json.dumps(config.get("filter_image", {}), sort_keys=True),
    shell:
        'parfocal filter-image --image "$(dirname {input.image:q})"'
        ' --filtered "$(dirname {output.filtered:q})" --params {params.json:q}'
        " --threads {threads} --record {log.record:q} --replace > {log.text:q} 2>&1"


rule segment_objects:
    input:
        image="<results>/images/{image}.ome.zarr/zarr.json",
    output:
        labels="<results>/labels/{label}/{image}.ome.zarr/zarr.json",
    log:
        text="<logs>/segment_objects/{image}.{label}.log",
        record="<logs>/segment_objects/{image}.{label}.record.json",
    benchmark:
        "<benchmarks>/segment_objects/{image}.{label}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 2
    resources:
        mem_mb=lambda wc, attempt: 1500 * attempt,
        runtime=lambda wc, attempt: 480 * attempt,
    params:
        json=lambda wc: json.dumps(
            config.get("segment_objects", {}) | {"label_name": wc.label},
            sort_keys=True,
        ),
    shell:
        'parfocal segment-objects --image "$(dirname {input.image:q})"'
        ' --labels "$(dirname {output.labels:q})" --params {params.json:q}'
        " --threads {threads} --record {log.record:q} --replace > {log.text:q} 2>&1"


rule assemble_image:
    input:
        image="<results>/images/{image}.ome.zarr/zarr.json",
        labels="<results>/labels/{label}/{image}.ome.zarr/zarr.json",
    output:
        assembled="<results>/assembled/{label}/{image}.ome.zarr/zarr.json",
    log:
        text="<logs>/assemble_image/{image}.{label}.log",
        record="<logs>/assemble_image/{image}.{label}.record.json",
    benchmark:
        "<benchmarks>/assemble_image/{image}.{label}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 500 * attempt,
        runtime=lambda wc, attempt: 60 * attempt,
    params:
        json=lambda wc: json.dumps(
            config.get("assemble_image", {}) | {"label_name": wc.label}, sort_keys=True
        ),
    shell:
        'parfocal assemble-image --image "$(dirname {input.image:q})"'
        ' --labels "$(dirname {input.labels:q})"'
        ' --assembled "$(dirname {output.assembled:q})" --params {params.json:q}'
        " --threads {threads} --record {log.record:q} --replace > {log.text:q} 2>&1"
