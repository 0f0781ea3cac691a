"""What of the results a plan is written from, as the steps hand it over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from parfocal.core.blocks import Readable
from parfocal.models.annotation_entries import LabelImage, ResultFile, Rois
from parfocal.models.image import ImageMetadata

__all__ = ["Drawn", "Materials", "OpenLabels"]


class Drawn(Protocol):
    """The outline of one object at one time point; see `analysis.outlines.Outline`."""

    @property
    def t(self) -> int:
        """The time point."""

    @property
    def label(self) -> int:
        """The object."""

    @property
    def shapes(self) -> tuple[Any, ...]:
        """Masks or polygons, by Z."""


class OpenLabels(Readable, Protocol):
    """An open label image."""

    @property
    def metadata(self) -> ImageMetadata:
        """Axes, sizes and scales."""


class Materials(Protocol):
    """The results that a plan names."""

    def path(self, file: ResultFile) -> Path:
        """Return where a file or folder of the results lies.

        Raises
        ------
        InputError
            If it is not there, or not what it was when the plan was made.
        """

    def outlines(self, entry: Rois) -> Iterator[Drawn]:
        """Yield the outlines of all objects of a label image."""

    def labels(self, entry: LabelImage) -> AbstractContextManager[OpenLabels]:
        """Open a label image."""
