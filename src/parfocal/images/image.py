"""An open image: its metadata, and pixels that are read region by region."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape
from parfocal.core.closing import Closing
from parfocal.errors import InputError
from parfocal.models.image import ImageMetadata

__all__ = ["Image", "ImageEntry", "Origin"]


def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True)
class ImageEntry:
    """One of the images that a source holds.

    Parameters
    ----------
    series : str
        What to pass to `open_image`; empty where a folder is one image itself.
    found : ImageMetadata or InputError
        What the source says about it; or why it cannot be opened, as one of several images.
    aside : tuple of str
        Names of pictures beside it that are not of the sample, such as the label of a slide.
    plate, well, field : str
        Where on a plate it was taken, such as ``B02`` and ``1``; empty if on none.
    warnings : tuple of str
        What is wrong with it, as far as listing shows.
    group : str
        What names the series of several files that it is one of; empty if of none.
    """

    series: str
    found: ImageMetadata | InputError
    aside: tuple[str, ...] = ()
    plate: str = ""
    well: str = ""
    field: str = ""
    warnings: tuple[str, ...] = ()
    group: str = ""

    @property
    def refused(self) -> InputError | None:
        """Why it cannot be opened; None if it can, as far as listing shows."""
        return self.found if isinstance(self.found, InputError) else None

    @property
    def metadata(self) -> ImageMetadata:
        """What the source says about it.

        Raises
        ------
        InputError
            If it cannot be opened.
        """
        if isinstance(self.found, InputError):
            raise self.found
        return self.found


@dataclass(frozen=True)
class Origin:
    """How an image was opened, so that another process can open it again.

    Parameters
    ----------
    path, series, axes, reader
        As they were given to `open_image`, the path from the root on.
    """

    path: Path
    series: str
    axes: str | None
    reader: str | None


@dataclass(frozen=True)
class Image(Closing):
    """An open image; a context manager, which closes it.

    One that `open_image` opened can be pickled: the other process opens it again.

    Parameters
    ----------
    metadata : ImageMetadata
        Axes, sizes, scales and channels.
    pyramid : tuple of Readable
        The full resolution first.
    block5 : tuple of int
        A block (T, C, Z, Y, X) that is cheap to read.
    reader : str
        The library that reads the pixels, and its version.
    warnings : tuple of str
        What was assumed or left out in reading.
    original_metadata : mapping of str to bytes
        Texts of the source, such as its OME-XML, by file name.
    lossy : bool
        Whether pixels were changed by lossy compression, of which decoders may differ in rounding.
    attributes : mapping
        Attributes of an OME-Zarr besides those of NGFF.
    plane_file : callable, optional
        ``plane_file(t, c, z)`` tells in which file, and on which page of it, a plane lies, where
        each is a page of a TIFF or a file of its own. Samples of a pixel share a page.
    misread_by : mapping of str to str
        Modules of readers that are known to read this image wrongly, and what they do; such a
        reader cannot prove a conversion.
    close : callable
        Releases the files.
    origin : Origin, optional
        How it was opened.
    """

    metadata: ImageMetadata
    pyramid: tuple[Readable, ...]
    block5: Shape
    reader: str
    warnings: tuple[str, ...] = ()
    original_metadata: Mapping[str, bytes] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    lossy: bool = False
    plane_file: Callable[[int, int, int], tuple[Path, int]] | None = None
    misread_by: Mapping[str, str] = field(default_factory=dict)
    close: Callable[[], None] = _nothing
    origin: Origin | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle how it was opened.

        Raises
        ------
        TypeError
            If that is not known.
        """
        from parfocal.images.reopening import reopen

        if self.origin is None:
            msg = "an image that open_image did not open cannot be pickled"
            raise TypeError(msg)
        return reopen, (self.origin,)

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        return self.metadata.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""
        return np.dtype(self.metadata.dtype)

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self.pyramid)

    @property
    def halves_z(self) -> bool:
        """Whether the second resolution has fewer planes than the full one."""
        return self.levels > 1 and self.pyramid[1].shape5[2] < self.shape5[2]

    def level(self, number: int) -> Readable:
        """Return resolution `number`, 0 being the full one.

        Raises
        ------
        IndexError
            If there are not as many.
        """
        return self.pyramid[number]

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` at full resolution as an array (T, C, Z, Y, X).

        May be called from several threads at once.

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        return self.pyramid[0].read(region)
