"""In what the tools for Galaxy differ from their steps, and why."""

from __future__ import annotations

from collections.abc import Mapping

from parfocal.core.step import Step

__all__ = ["DATASETS", "JOURNALS", "LEFT_OUT", "SAID", "data_inputs", "data_outputs"]

LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "segment-objects": {
        "model=stardist": "Its model is a folder, and a dataset of Galaxy is a file.",
    },
    "record-run": {
        "include_digest_lists": "It does always: there is no results folder to keep them in.",
        "include_inputs": "Records name datasets by the names that users gave them, not by paths.",
    },
    "preview-image": {
        "label_name": "It only tells where labels lie in a results folder.",
    },
}
"""For each step the parameters that its tool does not ask for, and the variants of one that it does
not offer (``parameter=variant``), each with the reason."""

DATASETS: Mapping[str, Mapping[str, str]] = {
    "segment-objects": {"model.path": "onnx,zip,data"},
}
"""For each step the parameters that name a file, with Galaxy's formats of it: users of Galaxy
choose a dataset, and never a path on the server."""

_SERIES = "Which image of the source, by its number or name; needed only where there are several."
SAID: Mapping[str, Mapping[str, str]] = {
    "convert-image": {"series": _SERIES},
    "verify-image": {"series": _SERIES},
    "fetch-image": {"source": "Address of the image; to be left empty where a row is given."},
    "list-images": {"source": "Addresses of images or of what holds them; paths are refused."},
    "revert-annotations": {
        "all_runs": "Whether to remove all that the journal has, also of earlier runs and from "
        "objects that are not in the plan.",
    },
}
"""For each step the parameters of which a form says something else than the model, which speaks
of what Galaxy does not have: results folders, and paths of users."""

JOURNALS: Mapping[str, bool] = {
    "apply-annotations": False,
    "verify-annotations": True,
    "revert-annotations": True,
}
"""The steps that go by the journal of what is on OMERO, and whether they need one. It lies in the
results folder, and in Galaxy it is a dataset that goes from job to job."""

_ROWS = ("fetch-image", "convert-image")
"""The steps that can be told of their image by its row of the sample sheet."""

_JOURNAL_CHANGED = ("apply-annotations", "revert-annotations")
"""The steps that write to the journal, whose tools give a new one."""
_RENAMED = {"assemble-plate": {"plate": "assembled"}}
"""For each step the outputs that have another name in its tool, since a parameter has theirs."""
_ROWS_NEEDED = ("assemble-plate",)
"""The steps that need a sample sheet, since no record tells what they go by."""
_RUN_FILES = ("apply-annotations", "verify-annotations")
"""The steps that attach what was made after the plan: run crate and report have inputs of their
own, since a workflow of Galaxy drops single datasets that go where collections do."""
_IMAGES = ("render-report", "record-run")
"""The steps that tell of all images of a run, also of one of which there is but a name."""
_JOURNAL_ALONE = ("revert-annotations",)
"""The steps that need nothing of the results folder but the journal."""


def data_inputs(step: Step) -> dict[str, bool]:
    """Return the datasets that the tool of a step asks for, and whether it needs each.

    They are the inputs of the step. But Galaxy has no results folder: in its place a tool takes
    records and data, of which ``collect-results`` makes one, and a sample sheet where none is
    given.
    """
    given = {port.name: port.required for port in step.inputs if port.path != "."}
    if len(given) < len(step.inputs) and step.name not in _JOURNAL_ALONE:
        given |= {"records": True, "data": False, "sheet": step.name in _ROWS_NEEDED}
    if step.name in JOURNALS:
        given["journal"] = JOURNALS[step.name]
    if step.name in _RUN_FILES:
        given |= {"crate": False, "report": False}
    if step.name in _IMAGES:
        given["images"] = False
    if step.name in _ROWS:
        given["row"] = False
    return given


def data_outputs(step: Step) -> dict[str, str | None]:
    """Return the datasets that the tool of a step makes, each with the output of the step.

    What is none of the step is told by None: the record, the new journal, and rows of a sheet.
    """
    renamed = _RENAMED.get(step.name, {})
    made: dict[str, str | None] = {
        renamed.get(port.name, port.name): port.name for port in step.outputs
    }
    if step.name in _JOURNAL_CHANGED:
        made["new_journal"] = None
    if step.name == "list-images":
        made["rows"] = None
    return made | {"record": None}
