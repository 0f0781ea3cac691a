# Any readable image to OME-Zarr, verified against its original.
# One job is one image; an OME-Zarr is declared by its zarr.json, which is written last. The
# parameters of a step are `config["convert_image"]`; docs/howto/compose-rules.md shows how to use it.
import json


wildcard_constraints:
    image=r"[A-Za-z0-9_-]+",


rule convert_image:
    input:
        source="<resources>/{image}.tif",
    output:
        image="<results>/images/{image}.ome.zarr/zarr.json",
        certificate="<results>/images/{image}.certificate.json",
    log:
        text="<logs>/convert_image/{image}.log",
        record="<logs>/convert_image/{image}.record.json",
    benchmark:
        "<benchmarks>/convert_image/{image}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 2
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: json.dumps(config.get("convert_image", {}), sort_keys=True),
    shell:
        "parfocal convert-image --source {input.source:q}"
        ' --image "$(dirname {output.image:q})" --certificate {output.certificate:q}'
        " --params {params.json:q} --threads {threads} --record {log.record:q}"
        " --replace > {log.text:q} 2>&1"


rule verify_image:
    input:
        source="<resources>/{image}.tif",
        image="<results>/images/{image}.ome.zarr/zarr.json",
    output:
        verification="<results>/images/{image}.verification.json",
    log:
        text="<logs>/verify_image/{image}.log",
        record="<logs>/verify_image/{image}.record.json",
    benchmark:
        "<benchmarks>/verify_image/{image}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 2
    resources:
        mem_mb=lambda wc, attempt: 1000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: json.dumps(config.get("verify_image", {}), sort_keys=True),
    shell:
        'parfocal verify-image --source {input.source:q} --image "$(dirname {input.image:q})"'
        " --verification {output.verification:q} --params {params.json:q} --threads {threads}"
        " --record {log.record:q} --replace > {log.text:q} 2>&1"
