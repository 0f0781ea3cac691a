"""What every reader offers: a source whose images are listed and opened in one way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from parfocal.core.closing import Closing
from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.readers.registry import ReadOptions
from parfocal.images.readers.series import choose_series
from parfocal.models.image import ImageMetadata

__all__ = ["Reader", "Source", "list_series", "open_series", "other_files"]


class Source(Closing, ABC):
    """A file or folder that holds images; closing it closes those that are open.

    Parameters
    ----------
    path : Path
        The source.
    options : ReadOptions
        How to read it.

    Raises
    ------
    InputError
        If it is damaged, or not of the format.
    """

    aside: tuple[str, ...] = ()
    """Names of pictures beside the images that are not of the sample."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.path = path
        self.options = options
        with ExitStack() as held:  # closes what is open already where opening fails
            self._held = held
            self._open()
            self._held = held.pop_all()

    def _open(self) -> None:
        """Read what is needed to list the images; `_held` takes what is to be closed."""
        return

    def close(self) -> None:
        """Close all files."""
        self._held.close()

    def names(self) -> list[str]:
        """Return what the images are called, in the order of the source.

        Raises
        ------
        InputError
            If the source is damaged, or holds no image.
        """
        return ["0"]

    def titles(self) -> list[str]:
        """Return what each image shows, where the source says it."""
        return []

    def choose(self, series: str) -> int:
        """Return the place of the image that is called `series`; empty for the only one.

        Raises
        ------
        InputError
            If there is none, or several and `series` is empty.
        """
        return choose_series(self.path, series, self.names(), self.titles())

    @abstractmethod
    def image(self, place: int) -> Image:
        """Return an image, whose pixels can be read until `close`.

        Raises
        ------
        InputError
            If it is damaged, or has axes or pixels that cannot be kept.
        """

    def entries(self) -> list[ImageEntry]:
        """List all images; no pixels are read where the format tells the rest without.

        One of several that cannot be opened is listed with the reason.

        Raises
        ------
        InputError
            If the source is damaged, or its only image is as `image` says.
        """
        names = self.names()
        if len(names) == 1:
            return [ImageEntry(names[0], self.image(0).metadata, self.aside)]
        return [
            ImageEntry(name, self._outcome(place), self.aside) for place, name in enumerate(names)
        ]

    def _outcome(self, place: int) -> ImageMetadata | InputError:
        try:
            return self.image(place).metadata
        except InputError as error:
            return error

    def other_files(self) -> list[Path]:
        """Return the other files that the images consist of, there or missing, sorted.

        Raises
        ------
        InputError
            If the source is damaged.
        """
        return []


class Reader(Protocol):
    """What the module of a format offers."""

    def open_source(self, path: Path, options: ReadOptions) -> Source:
        """Open a source of the format.

        Raises
        ------
        InputError
            If it is damaged, or not of the format.
        """


def list_series(reader: Reader, path: Path, options: ReadOptions | None = None) -> list[ImageEntry]:
    """List the images that a source holds.

    Raises
    ------
    InputError
        If it is damaged, or its only image has axes or pixels that cannot be kept.
    """
    with reader.open_source(path, options or ReadOptions()) as source:
        return source.entries()


def open_series(reader: Reader, path: Path, series: str, options: ReadOptions) -> Image:
    """Open the image that `series` names as `list_series` does; empty for the only one.

    Raises
    ------
    InputError
        If there is none, or several and `series` is empty, or the source is damaged.
    """
    with ExitStack() as undo:
        source = undo.enter_context(reader.open_source(path, options))
        image = source.image(source.choose(series))
        return replace(image, close=undo.pop_all().close)


def other_files(reader: Reader, path: Path) -> list[Path]:
    """Return the other files that the images of a source consist of, there or missing, sorted.

    Raises
    ------
    InputError
        If it is damaged.
    """
    with reader.open_source(path, ReadOptions()) as source:
        return source.other_files()
