"""What an interrupted download left in its folder, and whether a later one may go on with it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from parfocal.core.publish import remove_tree, write_json

__all__ = ["DRAFT", "Kept"]

_NAME = ".download.json"
DRAFT = ".part"
"""How the names of files end that have not come whole."""


class Kept:
    """The note on what is being downloaded into a folder.

    Parameters
    ----------
    folder : Path
        Where to; it exists.
    url : str
        What is downloaded.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._path = folder / _NAME
        self._url = url

    def facts(self) -> dict[str, Any]:
        """Return what is known of the download that left something; empty if of another one."""
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        same = isinstance(found, dict) and found.get("url") == self._url
        return found if same else {}

    def begin(self, facts: Mapping[str, Any]) -> bool:
        """Write down what is downloaded; remove what another download left.

        Returns
        -------
        bool
            Whether the same download left something to go on with.
        """
        same = self.facts() == {"url": self._url, **facts}
        if not same:
            self.clear()
            self.note(facts)
        return same

    def note(self, facts: Mapping[str, Any]) -> None:
        """Write down what is downloaded."""
        write_json(self._path, {"url": self._url, **facts})

    def clear(self) -> None:
        """Remove all that is in the folder, if an interrupted download left it."""
        if self._path.is_file():
            for entry in list(self._folder.iterdir()):
                remove_tree(entry)

    @contextlib.contextmanager
    def until_done(self) -> Iterator[None]:
        """Remove the note when all has come."""
        yield
        self._path.unlink(missing_ok=True)
