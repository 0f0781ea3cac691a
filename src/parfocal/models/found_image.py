"""An image that a listing found, before it is a row of the sample sheet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from parfocal.models.sheet import COLUMNS

__all__ = ["FoundImage", "columns_of"]

_TAGS = "tags"
_JOINT = "; "
# Nobody elsewhere names files here, or what on a server is to be annotated.
_OF_USERS = ("ground_truth", "flat_field", "dark_field", "omero", "omero_container")
_OTHERS = (*COLUMNS, *_OF_USERS, _TAGS, "size_bytes", "md5", "sha256")


@dataclasses.dataclass(frozen=True)
class FoundImage:
    """An image somewhere else.

    Attributes
    ----------
    source : str
        URI of the image.
    name : str
        What it is called there; any text.
    plate, well, field : str
        Where it lies on a plate, or empty.
    columns : mapping of str to str
        What else is known, such as key-value pairs: columns of the sheet by their names.
    location : str
        URL of its OME-Zarr, where the listing found it out and the source does not tell.
    """

    source: str
    name: str
    plate: str = ""
    well: str = ""
    field: str = ""
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    location: str = ""


def columns_of(pairs: Iterable[tuple[str, str]], tags: Iterable[str] = ()) -> dict[str, str]:
    """Return key-value pairs and tags as columns of the sheet.

    Values of a key that comes several times are joined by ``; ``, in their order and each once,
    and so are tags, under ``tags``. Tabs and line breaks become spaces. A key that is the name
    of a column with a meaning has ``key:`` before it.

    Parameters
    ----------
    pairs : iterable of (key, value)
        In the order in which they should come.
    tags : iterable of str
        Any texts.
    """
    found: dict[str, dict[str, None]] = {}
    for key, value in pairs:
        name = _plain(key) or "key:"
        found.setdefault(f"key:{name}" if name in _OTHERS else name, {})[_plain(value)] = None
    for tag in tags:
        found.setdefault(_TAGS, {})[_plain(tag)] = None
    return {name: _JOINT.join(values) for name, values in found.items()}


def _plain(text: str) -> str:
    return " ".join(str(text).split())
