"""Find a channel by its index or name, and read it alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape
from parfocal.errors import ConfigurationError
from parfocal.models.image import ImageMetadata

__all__ = ["OneChannel", "find_channel"]


@dataclass(frozen=True)
class OneChannel:
    """One channel of an image as an image of one channel."""

    source: Readable
    channel: int

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        t, _, z, y, x = self.source.shape5
        return t, 1, z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the image."""
        return self.source.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` (T, 1, Z, Y, X)."""
        t, _, z, y, x = region
        return self.source.read((t, slice(self.channel, self.channel + 1), z, y, x))


def find_channel(metadata: ImageMetadata, wanted: int | str) -> int:
    """Return the index of a channel.

    Parameters
    ----------
    metadata : ImageMetadata
        The image.
    wanted : int or str
        An index from 0, or a name; digits that are no name count as an index.

    Returns
    -------
    int
        Index along C.

    Raises
    ------
    ConfigurationError
        If the image has no such channel.
    """
    names = metadata.channel_names()
    if isinstance(wanted, str) and wanted in names:
        return names.index(wanted)
    if isinstance(wanted, int) or wanted.isdecimal():
        index = int(wanted)
        if 0 <= index < len(names):
            return index
    what = "The image has no such channel"
    listed = ", ".join(f"{index} ({name})" for index, name in enumerate(names))
    raise ConfigurationError(
        what,
        where=metadata.name,
        expected=listed,
        found=repr(wanted),
        remedy="Choose a channel by its index or name.",
    )
