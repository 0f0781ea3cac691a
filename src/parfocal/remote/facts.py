"""What the metadata of an OME-Zarr on a server tell of an image, as columns of a sample sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parfocal.remote.tree import Tree

__all__ = ["columns_of_image", "joined_names"]

_AXES = "tczyx"


async def columns_of_image(tree: Tree, path: str) -> dict[str, str]:
    """Return sizes, type of the pixels and names of the channels of an image.

    Only the document of its group and that of its largest level are read.

    Parameters
    ----------
    tree : Tree
        The OME-Zarr.
    path : str
        Of the image below its root.

    Returns
    -------
    dict of str to str
        ``size_t`` to ``size_x``, 1 for axes that it does not have, ``dtype`` as numpy calls it,
        and ``channels`` where any has a name; nothing where the metadata are missing or damaged.

    Raises
    ------
    RemoteError
        If the server refuses, breaks off, or does not answer.
    """
    group, array = await tree.largest_level(path)
    try:
        return _columns(group, array)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return {}


def joined_names(names: Sequence[str | None]) -> str:
    """Return the names of channels as one cell; those without are called by their number."""
    if not any(names):
        return ""
    return "; ".join(
        " ".join(name.split()) if name else f"channel_{n}" for n, name in enumerate(names)
    )


def _columns(group: Mapping[str, Any], array: Mapping[str, Any]) -> dict[str, str]:
    axes = group["multiscales"][0].get("axes", list(_AXES))  # before NGFF 0.3 always these
    names = [str(axis["name"] if isinstance(axis, dict) else axis).lower() for axis in axes]
    sizes = dict(zip(names, map(int, array["shape"]), strict=True))
    found = {f"size_{axis}": str(sizes.get(axis, 1)) for axis in _AXES}
    found["dtype"] = _type_name(array.get("data_type") or array["dtype"])
    channels = group.get("omero", {}).get("channels", [])
    told = joined_names([channel.get("label") for channel in channels])
    return found | ({"channels": told} if told else {})


def _type_name(text: object) -> str:
    import numpy as np

    return np.dtype(str(text)).name
