"""The test data of the tools for annotations: plans for images of the test server, and journals.

`tests.galaxy.sources` runs that server at this address, with the images 1 to 4, of which those of
`ANNOTATED` have what their plans say.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from crate_records import artifact, record
from galaxy_run_samples import as_json
from parfocal.models.annotation_entries import RUN_NAMESPACE, Comment, KeyValues
from parfocal.models.annotation_plan import AnnotationPlan, Target
from parfocal.models.record import Engine
from parfocal.omero.annotate.journal import Journal, Objects, Owned
from parfocal.omero.annotate.making import said_by

__all__ = ["ANNOTATED", "ANNOTATION_FILES", "SERVER", "USED_FOR_ANNOTATIONS", "journal", "plan"]

SERVER = "omero+tcp://127.0.0.1:18764"
ANNOTATED = (2, 3, 4)
"""The images that are annotated on the server before the tests, in this order."""
ALICE = 2
ELSEWHERE = "omero://omero.example.org/image/7"
_RECORDS = ("cells.fetch.record.json", "cells.quality.record.json")
USED_FOR_ANNOTATIONS: Mapping[str, tuple[str, ...]] = {
    "fetch_image": ("cells.tsv",),
    "plan_annotations": (*_RECORDS, "annotated.tsv"),
    "apply_annotations": (*_RECORDS, "plan.json", "journal.jsonl"),
    "verify_annotations": (*_RECORDS, "cells.tsv", "plan.json", "plan-2.json", "journal-2.jsonl"),
    "revert_annotations": (
        *(f"plan-{image}.json" for image in ANNOTATED[1:]),
        *(f"journal-{image}.jsonl" for image in ANNOTATED[1:]),
        "journal.jsonl",
    ),
}


def plan(image: int) -> AnnotationPlan:
    """Return a plan of pairs and a comment for an image of the test server."""
    target = f"{SERVER}/image/{image}"
    pairs = (("Run", "of the tests"), ("Image", "cells"))
    entries = (
        KeyValues.planned(target, namespace=RUN_NAMESPACE, pairs=pairs),
        Comment.planned(target, namespace=RUN_NAMESPACE, text='it\'s "planned" <here>'),
    )
    return AnnotationPlan(
        run_id="sha256:" + "0" * 64,
        made_by="parfocal 0.1.0",
        targets=(Target(target=target, image_id="cells", annotations=entries),),
    )


def fetch_record() -> bytes:
    """Return the record of a job that fetched image 1."""
    original = artifact("original", "folder", "/jobs/1/working/original")
    source = {"source": f"{SERVER}/image/1"}
    engine = Engine(name="galaxy", job_id="1")
    made = record("fetch-image", "cells", outputs=(original,), parameters=source, engine=engine)
    return as_json(made)


def quality_record() -> bytes:
    """Return the record of a job that assessed it."""
    found = artifact("quality", "json", "/jobs/2/working/quality.json")
    engine = Engine(name="galaxy", job_id="2")
    return as_json(record("assess-quality", "cells", 1, outputs=(found,), engine=engine))


def annotated_sheet() -> bytes:
    """Return a sample sheet of image 1, with columns that become annotations."""
    row = f"cells\tcells\t{SERVER}/image/1\tHeLa\t4\n"
    return f"image_id\tname\tsource\tcell line\tstars\n{row}".encode()


def row() -> bytes:
    """Return a row of a sample sheet, of the file that the tests serve on the web."""
    cells = "cells-of-the-sheet\tcells\thttp://127.0.0.1:18765/cells.tif\tP1\tB03\n"
    return f"image_id\tname\tsource\tplate\twell\n{cells}".encode()


def journal(image: int, path: Path) -> bytes:
    """Return the journal of one of `ANNOTATED`, which is written to a path."""
    (target,) = plan(image).targets
    made: dict[str, Objects] = {}
    begun = []
    for entry, kind in zip(target.annotations, ("MapAnnotation", "CommentAnnotation"), strict=True):
        number = 1 + 2 * ANNOTATED.index(image) + len(made)
        token = f"{number:032}"
        made[token] = {"ImageAnnotationLink": [number], kind: [number]}
        begun.append(
            Owned(
                token=token,
                target=target.target,
                entry_id=entry.entry_id,
                kind=entry.kind,
                content=entry.content,
                run_id=plan(image).run_id,
                user_id=ALICE,
                said=said_by(entry),
            )
        )
    written = Journal(path)
    written.begin(begun)
    written.finish(made)
    return path.read_bytes()


def _journal(image: int) -> bytes:
    with tempfile.TemporaryDirectory() as home:
        return journal(image, Path(home) / "journal.jsonl")


def journal_of_another_server() -> bytes:
    """Return a journal that tells of another server alone, in as many words as are looked at."""
    token = "0" * 32
    lines = ({"begin": {"token": token, "target": ELSEWHERE}}, {"gone": token})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _plan(image: int) -> bytes:
    return as_json(plan(image))


ANNOTATION_FILES: Mapping[str, Callable[[], bytes]] = {
    "annotated.tsv": annotated_sheet,
    "cells.tsv": row,
    "cells.fetch.record.json": fetch_record,
    "cells.quality.record.json": quality_record,
    "plan.json": partial(_plan, 1),
    "journal.jsonl": journal_of_another_server,
    **{f"plan-{image}.json": partial(_plan, image) for image in ANNOTATED},
    **{f"journal-{image}.jsonl": partial(_journal, image) for image in ANNOTATED},
}
