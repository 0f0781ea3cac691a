"""How a crate says of itself that records are missing, and how that is read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parfocal.provenance.crate_graph import Graph
from parfocal.provenance.crate_terms import compact, fragment, redact
from parfocal.provenance.lost_records import Loss

__all__ = ["describe_losses", "loss_told", "losses_readme", "run_note", "warn_of_losses"]

_LOST = "lost"
_UNRECORDED = "unrecorded"
_MOST = 20
_LONGEST = 1000
_REMEDY = {
    "done": "Restore it from a backup, or remove what the step made and run it again, in Snakemake "
    "with --forcerun and the name of its rule",
    "unknown": "Restore it from a backup, or remove it and run the step again",
    "failed": "Run the step again",
}
_README = """\
## Not complete: records are missing

Parameters, inputs, versions and certificates of these attempts are not in this crate. Where other
attempts used what they made, it stands here as if it had come from elsewhere.

{listed}
"""
_README_FAILED = """\
## What failed without a record

{listed}
"""


def warn_of_losses(losses: Sequence[Loss], empty: Sequence[str]) -> list[str]:
    """Return what to tell the user who makes the crate.

    Parameters
    ----------
    empty : sequence of str
        Records without content that later attempts made good.
    """
    told = [f"{_line(loss.text).rstrip('.')}. {_REMEDY[loss.kind]}" for loss in losses]
    told += [
        f"{path} is empty, and not in the crate: its attempt was killed as it began, or the file "
        "was emptied. A later attempt has a record"
        for path in empty
    ]
    more = [f"and {len(told) - _MOST} more records are missing or empty"]
    return told[:_MOST] + (more if len(told) > _MOST else [])


def losses_readme(losses: Sequence[Loss]) -> list[str]:
    """Return the parts of the README that tell of losses; none where there are none."""
    told = []
    for text, failed in ((_README, False), (_README_FAILED, True)):
        lines = [_line(loss.text) for loss in losses if (loss.kind == "failed") == failed]
        if lines:
            told.append(text.format(listed="\n".join(f"- {line}" for line in lines)))
    return told


def describe_losses(graph: Graph, losses: Sequence[Loss]) -> dict[str, Any]:
    """Add a comment on each loss, and return what the crate itself says.

    A crate without the record of a failure is complete: nothing that it has came of that.

    Returns
    -------
    dict
        The properties ``comment`` and ``creativeWorkStatus`` of the crate; empty without losses.
    """
    comments = [
        graph.add(
            fragment(_UNRECORDED if loss.kind == "failed" else _LOST, loss.step, loss.image_id),
            "Comment",
            name=f"No record of {loss.step} of {loss.image_id}",
            text=_line(loss.text),
        )
        for loss in losses
    ]
    lost = any(loss.kind != "failed" for loss in losses)
    properties = {
        "comment": compact(comments),
        "creativeWorkStatus": "Incomplete" if lost else None,
    }
    return {name: value for name, value in properties.items() if value}


def run_note(losses: Sequence[Loss]) -> str:
    """Return what to add to the description of the run; empty where nothing is to be said."""
    lost = sorted({f"{one.step} of {one.image_id}" for one in losses if one.kind != "failed"})
    if not lost:
        return ""
    more = f" and {len(lost) - _MOST} more" if len(lost) > _MOST else ""
    return f" Not complete: there is no record of {', '.join(lost[:_MOST])}{more}."


def loss_told(entity: Mapping[str, Any]) -> str | None:
    """Return what an entity of a crate says of a lost record; None of all others."""
    identifier = entity["@id"]
    if not identifier.startswith(fragment(_LOST, "")):
        return None
    return f"not complete: {entity.get('text', identifier)}"[:_LONGEST]


def _line(text: str) -> str:
    return " ".join(redact(text).split())
