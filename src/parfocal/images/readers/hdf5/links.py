"""The other files that an HDF5 file takes groups and datasets from.

Those of external storage and of virtual datasets are no part of it: they are refused when read.
Source: HDF5 1.14, external links.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["linked_files"]


def linked_files(file: Any, path: Path) -> list[Path]:
    """Return the files that an HDF5 file links to, there or missing, sorted.

    Parameters
    ----------
    file : h5py.File
        The open file.
    path : Path
        Where it lies.
    """
    import h5py

    names: set[str] = set()

    def note(_name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            names.add(link.filename)

    file.visititems_links(note)
    return sorted(path.parent / name for name in names)
