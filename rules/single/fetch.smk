# The originals of an image. Its path or URI is `config["sources"][image]`.
# One job is one image; an OME-Zarr is declared by its zarr.json, which is written last. The
# parameters of a step are `config["fetch_image"]`, the limits of transfers `config["transfer"]`;
# docs/howto/compose-rules.md shows how to use them.
import json


wildcard_constraints:
    image=r"[A-Za-z0-9_-]+",


rule fetch_image:
    output:
        original="<results>/originals/{image}/manifest.json",
    log:
        text="<logs>/fetch_image/{image}.log",
        record="<logs>/fetch_image/{image}.record.json",
    benchmark:
        "<benchmarks>/fetch_image/{image}.jsonl"
    conda:
        "../../envs/parfocal.yaml"
    container:
        "docker://localhost/parfocal:0.1.0"
    threads: 1
    resources:
        mem_mb=lambda wc, attempt: 500 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        json=lambda wc: json.dumps(
            config.get("fetch_image", {}) | {"source": config["sources"][wc.image]},
            sort_keys=True,
        ),
        # A function of threads, so that it is no reason to run a job again.
        transfer=lambda wc, threads: config.get("transfer", []),
    shell:
        'env {params.transfer:q} parfocal fetch-image --original "$(dirname {output.original:q})"'
        " --params {params.json:q} --threads {threads} --record {log.record:q}"
        " --replace > {log.text:q} 2>&1"
