"""Run crates of very many entities, written as they are made up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["write_large_crate"]

_A_STEP = 7
_TOOL = "https://parfocal.readthedocs.io/reference/steps/#{step}-0.1.0-1"
_STEPS = ("fetch-image", "convert-image", "segment-objects", "measure-objects")
_SOURCE = "fetch-image/input/source"
_PORTS = (_SOURCE, *(f"{step}/output/made" for step in _STEPS))
_HEAD: list[dict[str, Any]] = [
    {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    },
    {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": {"@id": "https://w3id.org/ro/wfrun/process/0.5"},
    },
]


def write_large_crate(
    folder: Path, entities: int, source: Path, *, changed: str | None = None
) -> Path:
    """Write the crate of a run with a number of entities, or a few more, and return it.

    Its data lie in a bucket, all but the source of its first image.

    Parameters
    ----------
    source : Path
        A file.
    changed : str, optional
        An image of which the last step gave something else than in crates without this.
    """
    folder.mkdir()
    with (folder / "ro-crate-metadata.json").open("w", encoding="utf-8") as stream:
        stream.write('{"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [\n')
        once = _HEAD + [_tool(step) for step in _STEPS] + [_parameter(port) for port in _PORTS]
        stream.write(",\n".join(map(json.dumps, once)))
        left = entities - len(once)
        for number in range(-(-left // (1 + _A_STEP * len(_STEPS)))):
            image = f"plate-7_well-{number:06d}"
            for text in _image(image, source if not number else None, image == changed):
                stream.write(f",\n{text}")
        stream.write("]}\n")
    return folder


def _tool(step: str) -> dict[str, Any]:
    return {
        "@id": _TOOL.format(step=step),
        "@type": "SoftwareApplication",
        "softwareVersion": "0.1.0",
    }


def _parameter(port: str) -> dict[str, Any]:
    return {"@id": f"#parameter/{port}", "@type": "FormalParameter", "name": port}


def _image(image: str, source: Path | None, changed: bool) -> Iterator[str]:
    """Yield the entities of an image: its source, attempts, their records, and what each made."""
    before = f"#source/{image}@0"
    if source is None:
        yield _file(before, _SOURCE, f'"contentUrl": "s3://bucket/in/{image}.tif"', image.encode())
    else:
        yield _file(before, _SOURCE, f'"alternateName": "{source}"', source.read_bytes())
    for step in _STEPS:
        place, made = f"{step.replace('-', '_')}/{image}/0001", f"#{step}/{image}@0"
        content = f"{image} {step} {changed and step == _STEPS[-1]}".encode()
        uri = f'"contentUrl": "s3://bucket/out/{image}/{step}.bin"'
        yield _file(made, f"{step}/output/made", uri, content)
        kept = f'"contentUrl": "s3://bucket/records/{place}.json"'
        yield _file(f"#records/{place}.json@0", None, kept, place.encode())
        yield (
            f'{{"@id": "#action/{place}", "@type": "CreateAction", "name": "{step} of {image}",'
            f' "actionStatus": "http://schema.org/CompletedActionStatus",'
            f' "startTime": "2026-11-20T10:00:00.000+00:00",'
            f' "endTime": "2026-11-20T10:00:05.000+00:00",'
            f' "instrument": {{"@id": "{_TOOL.format(step=step)}"}},'
            f' "object": [{{"@id": "{before}"}}, {{"@id": "#value/{step}/setting/a/{image}"}}],'
            f' "result": {{"@id": "{made}"}},'
            f' "subjectOf": {{"@id": "#records/{place}.json@0"}},'
            f' "additionalProperty": {{"@id": "#value/fact/key/{place}"}},'
            f' "resourceUsage": [{{"@id": "#usage/{place}/cpu_s"}},'
            f' {{"@id": "#usage/{place}/peak_memory_bytes"}}]}}'
        )
        yield _value(f"#value/{step}/setting/a/{image}", "a", image)
        yield _value(f"#value/fact/key/{place}", "key", made)
        yield _value(f"#usage/{place}/cpu_s", "cpu_s", "1.5")
        yield _value(f"#usage/{place}/peak_memory_bytes", "peak_memory_bytes", "104857600")
        before = made


def _file(identifier: str, port: str | None, place: str, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    example = f', "exampleOfWork": {{"@id": "#parameter/{port}"}}' if port else ""
    return (
        f'{{"@id": "{identifier}", "@type": "File", {place}, "identifier": "sha256:{digest}",'
        f' "sha256": "{digest}"{example}}}'
    )


def _value(identifier: str, name: str, value: str) -> str:
    return (
        f'{{"@id": "{identifier}", "@type": "PropertyValue", "name": "{name}", "value": "{value}"}}'
    )
