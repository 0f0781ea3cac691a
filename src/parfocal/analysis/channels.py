"""Find a channel by its index or name."""

from __future__ import annotations

from parfocal.errors import ConfigurationError
from parfocal.models.image import ImageMetadata

__all__ = ["find_channel"]


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
