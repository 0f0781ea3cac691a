"""Open Olympus VSI by Bio-Formats, and see to it that the pixels in its folder are read.

A VSI holds an overview, and names of pixels that lie in the folder ``_<name>_`` beside it. Without
the folder the overview would pass for the image.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from parfocal.images.image import Image, ImageEntry
from parfocal.images.readers.loading import load_reader
from parfocal.images.readers.registry import BIO_FORMATS
from parfocal.images.readers.source import Source

__all__ = ["open_source"]


class VsiSource(Source):
    """A VSI, whose images are those that Bio-Formats counts."""

    @cached_property
    def _inner(self) -> Source:
        reader = load_reader(BIO_FORMATS, self.path)
        return self._held.enter_context(reader.open_source(self.path, self.options))

    def names(self) -> list[str]:
        """Return the numbers of the images."""
        return self._inner.names()

    def titles(self) -> list[str]:
        """Return what the images are called."""
        return self._inner.titles()

    def entries(self) -> list[ImageEntry]:
        """List the images."""
        return self._inner.entries()

    def image(self, place: int) -> Image:
        """Return an image, with a warning where it may be an overview."""
        image = self._inner.image(place)
        name, folder = self.path.name, _folder(self.path).name
        shown, frames = len(self.names()), len(_frames(self.path))
        if not frames:
            warning = (
                f"{name} has no folder {folder} with pixels beside it: only what lies in itself "
                "is read, which may be an overview"
            )
        elif shown <= frames:
            warning = (
                f"{name} has {frames} files of pixels in {folder} and Bio-Formats shows {shown} "
                "images, one of which may be an overview"
            )
        else:
            return image
        return replace(image, warnings=(*image.warnings, warning))

    def other_files(self) -> list[Path]:
        """Return all files in the folder of a VSI; Bio-Formats is not needed for it."""
        return sorted(one for one in _folder(self.path).rglob("*") if one.is_file())


def _folder(path: Path) -> Path:
    return path.with_name(f"_{path.stem}_")


def _frames(path: Path) -> list[Path]:
    """Return the files of pixels."""
    return sorted(_folder(path).glob("*/*.ets"))


open_source = VsiSource
