"""The journal: what Parfocal has on a server, and what it was about to make when it stopped.

One line of JSON a change, written to the disk before the server is asked for it and after it has
answered, so that whoever comes next knows what to look for.
"""

from __future__ import annotations

import itertools
import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from parfocal.errors import InputError, StorageError

__all__ = ["Journal", "Objects", "Owned", "new_token", "spans"]

Objects = Mapping[str, Sequence[int]]
"""Ids of objects on the server by their kinds, such as ``{"MapAnnotation": [7]}``."""

_NUMBERS = ("links", "tags", "sets", "datasets")


def new_token() -> str:
    """Return a name for what is about to be made, which the server shows it by."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Owned:
    """What one entry of a plan has on the server.

    Attributes
    ----------
    token : str
        By which objects that are not in the journal yet are found on the server.
    target : str
        URI of the object that is annotated.
    entry_id, kind, content : str
        Of the entry, as in the plan.
    run_id : str
        Of the run whose plan it was.
    user_id : int
        Whose login made it: nobody else may take it back; 0 where that is not known.
    tag, tag_set : str
        Names of the tag and its set, which have no token of ours; empty of all other kinds.
    links, tags, sets : tuple of int
        Links of this user to tags of that name, such tags, and sets, that were there before.
    datasets : tuple of int
        Where a label image goes.
    objects : Objects
        What it has; empty of one that was begun and not finished.
    said : str
        Digest of what users can edit of it, as it is written; of ROIs how many shapes they have.
        Empty of all other kinds, and of ROIs that earlier versions made.
    finished : bool
        Whether all is there.
    """

    token: str
    target: str
    entry_id: str
    kind: str
    content: str
    run_id: str
    user_id: int = 0
    tag: str = ""
    tag_set: str = ""
    links: tuple[int, ...] = ()
    tags: tuple[int, ...] = ()
    sets: tuple[int, ...] = ()
    datasets: tuple[int, ...] = ()
    objects: Objects = field(default_factory=dict)
    said: str = ""
    finished: bool = False


class Journal:
    """The journal of one server; all that is in it belongs to this results folder.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    check : callable
        Called before each change, and raises where another process may have the journal by now:
        what that has written would be lost.

    Raises
    ------
    InputError
        If it is damaged in another place than its last line, which a kill may have cut.
    """

    def __init__(self, path: Path, check: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self._check = check
        self._owned: dict[str, Owned] = {}
        self._sound = 0
        self._read()

    @property
    def targets(self) -> list[str]:
        """All targets that there is something on."""
        return list(dict.fromkeys(owned.target for owned in self._owned.values()))

    def of(self, target: str) -> list[Owned]:
        """Return what there is on a target, in the order in which it was begun."""
        return [owned for owned in self._owned.values() if owned.target == target]

    def all(self) -> list[Owned]:
        """Return all that there is."""
        return list(self._owned.values())

    def begin(self, owned: Sequence[Owned]) -> None:
        """Say what is about to be made."""
        self._write({"begin": _plain(each)} for each in owned)

    def finish(self, made: Mapping[str, Objects], said: Mapping[str, str] | None = None) -> None:
        """Say what was made, by token, and what was not known of it when it was begun.

        Parameters
        ----------
        made : mapping of str to Objects
            All objects of an entry.
        said : mapping of str to str, optional
            Of ROIs, how many shapes they have.
        """
        more = {token: {"said": text} for token, text in (said or {}).items()}
        self._write(
            {"made": token, "objects": {kind: spans(ids) for kind, ids in objects.items()}}
            | more.get(token, {})
            for token, objects in made.items()
        )

    def forget(self, tokens: Iterable[str]) -> None:
        """Say what is no longer there."""
        self._write({"gone": token} for token in tokens)

    def _write(self, changes: Iterable[dict[str, Any]]) -> None:
        lines = [json.dumps(change, ensure_ascii=False) for change in changes]
        if not lines:
            return
        self._check()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.truncate(self._sound)
                file.write(("\n".join(lines) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
                self._sound = file.tell()
        except OSError as error:
            what = "The journal of annotations cannot be written"
            remedy = "Free some space, or make the results folder writable; then run again."
            raise StorageError(what, where=self.path, found=error, remedy=remedy) from error
        for line in lines:
            self._apply(json.loads(line))

    def _read(self) -> None:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            what = "The journal of annotations cannot be read"
            raise InputError(what, where=self.path, found=error) from error
        *lines, _ = content.split(b"\n")  # the last line was cut where it does not end
        for number, line in enumerate(lines, 1):
            try:
                self._apply(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                what = "The journal of annotations is damaged"
                remedy = (
                    "Put a whole copy in its place; without it, Parfocal does not know what on "
                    "the server is its own."
                )
                where = f"{self.path}, line {number}"
                raise InputError(what, where=where, found=error, remedy=remedy) from error
            self._sound += len(line) + 1

    def _apply(self, change: Mapping[str, Any]) -> None:
        if "begin" in change:
            # Lines of earlier versions have fewer names.
            known = {name: tuple(change["begin"].get(name, ())) for name in _NUMBERS}
            owned = Owned(**change["begin"] | known)
            self._owned[owned.token] = owned
        elif "made" in change:
            begun = asdict(self._owned[change["made"]])
            objects = {kind: _ids(told) for kind, told in change["objects"].items()}
            said = change.get("said", begun["said"])
            done = {"objects": objects, "said": said, "finished": True}
            self._owned[change["made"]] = Owned(**begun | done)
        else:
            self._owned.pop(change["gone"], None)


def _plain(owned: Owned) -> dict[str, Any]:
    names = (
        "token",
        "target",
        "entry_id",
        "kind",
        "content",
        "run_id",
        "user_id",
        "tag",
        "tag_set",
        "said",
    )
    return {name: getattr(owned, name) for name in (*names, *_NUMBERS)}


def spans(ids: Sequence[int]) -> list[list[int]]:
    """Return ids as [first, last] of those that follow each other, in their order."""
    found: list[list[int]] = []
    for _, group in itertools.groupby(enumerate(ids), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        found.append([run[0], run[-1]])
    return found


def _ids(told: Sequence[Sequence[int]]) -> list[int]:
    return [number for first, last in told for number in range(first, last + 1)]
