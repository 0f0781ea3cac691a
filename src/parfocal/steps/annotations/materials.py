"""The results of a run, as what annotations are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.core.digest import digest_path
from parfocal.core.publish import Stamp
from parfocal.errors import InputError
from parfocal.models.annotation_entries import LabelImage, ResultFile, Rois

if TYPE_CHECKING:
    from parfocal.analysis.outlines import Outline
    from parfocal.images import Image

__all__ = ["ResultMaterials"]


class ResultMaterials:
    """The results folder that a plan was made from.

    Parameters
    ----------
    folder : Path
        The results folder.
    threads : int
        How many threads digests are taken with.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self._digests: dict[Path, str] = {}

    def path(self, file: ResultFile) -> Path:
        """Return where a file or folder of the results lies.

        Raises
        ------
        InputError
            If it is not there, or not what it was when the plan was made.
        """
        path = self._folder / file.path
        if not path.exists():
            what = "A result that the annotation plan names is not there"
            remedy = "Run the workflow to its end, or plan the annotations again."
            raise InputError(what, where=path, remedy=remedy)
        if path not in self._digests:
            self._digests[path] = Stamp(path).digest() or digest_path(path, self._threads)
        found = self._digests[path]
        if found != file.digest:
            what = "A result is not what it was when the annotations were planned"
            remedy = "Plan them again with 'parfocal plan-annotations'."
            raise InputError(what, where=path, expected=file.digest, found=found, remedy=remedy)
        return path

    def outlines(self, entry: Rois) -> Iterator[Outline]:
        """Yield the outlines of all objects of a label image."""
        from parfocal.analysis.outlines import iter_outlines
        from parfocal.images import open_image

        with open_image(self.path(entry.labels)) as labels:
            yield from iter_outlines(labels, labels.block5, entry.shape)

    def labels(self, entry: LabelImage) -> AbstractContextManager[Image]:
        """Open a label image."""
        from parfocal.images import open_image

        return open_image(self.path(entry.labels))
