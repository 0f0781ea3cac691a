"""Which records of a results folder belong to a run crate."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from parfocal.models.record import Artifact, Record

__all__ = ["Selection", "artifact_key", "select_records"]


@dataclass(frozen=True)
class Selection:
    """The records behind the current results of some images.

    Attributes
    ----------
    done : tuple of Record
        Those that made the results and, by digest, what the results were made from.
    failed : tuple of Record
        All attempts at these images that failed or never ended.
    open : tuple of Record
        Of the failed ones, those that no later attempt made good, the newest of each.
    """

    done: tuple[Record, ...]
    failed: tuple[Record, ...]
    open: tuple[Record, ...]

    @property
    def all(self) -> tuple[Record, ...]:
        """All records, by step, image and attempt."""
        return tuple(sorted(self.done + self.failed, key=_place))


def artifact_key(artifact: Artifact) -> tuple[str, str]:
    """Return what tells one state of one thing from all others: URI and digest."""
    return artifact.uri, artifact.digest


def select_records(
    records: Iterable[Record], image_ids: Collection[str], run_steps: Collection[str] = ()
) -> Selection:
    """Select the records behind the current results of images.

    An output is current when no newer attempt wrote to the same URI. To the records of
    current outputs come those that made their inputs, which may have been overwritten
    since or belong to other images, and all failed attempts.

    Parameters
    ----------
    records : iterable of Record
        All records of the results folder.
    image_ids : collection of str
        The images of the sample sheet.
    run_steps : collection of str
        Steps that work on a whole run; their records belong whatever their image_id.

    Returns
    -------
    Selection
        Empty where nothing was done yet.
    """
    everything = sorted(records, key=_age)
    ours = [r for r in everything if r.image_id in image_ids or r.step in run_steps]
    done = [record for record in ours if record.status == "done"]
    newest = {artifact.uri: record for record in done for artifact in record.outputs}
    chosen = {_place(record): record for record in newest.values()}
    chosen |= {_place(record): record for record in _closure(everything, chosen.values())}
    failed = [record for record in ours if record.status != "done"]
    return Selection(
        done=tuple(chosen[place] for place in sorted(chosen)),
        failed=tuple(sorted(failed, key=_place)),
        open=tuple(sorted(_still_open(ours), key=_place)),
    )


def _closure(everything: list[Record], chosen: Iterable[Record]) -> Iterator[Record]:
    """Yield the newest makers of the inputs of `chosen`, of their inputs, and so on."""
    makers = {
        artifact_key(artifact): record
        for record in everything
        if record.status == "done"
        for artifact in record.outputs
    }
    todo = list(chosen)
    seen = {_place(record) for record in todo}
    while todo:
        for artifact in todo.pop().inputs:
            maker = makers.get(artifact_key(artifact))
            if maker is not None and _place(maker) not in seen:
                seen.add(_place(maker))
                todo.append(maker)
                yield maker


def _still_open(ours: Iterable[Record]) -> Iterator[Record]:
    """Yield the failed attempts that are the last at their step, image, label image and plate."""
    last = {
        (r.step, r.image_id, *(str(r.parameters.get(name)) for name in ("label_name", "plate"))): r
        for r in ours
    }
    return (record for record in last.values() if record.status != "done")


def _place(record: Record) -> tuple[str, str, int]:
    return record.step, record.image_id, record.attempt


def _age(record: Record) -> tuple[object, tuple[str, str, int]]:
    return record.started, _place(record)
