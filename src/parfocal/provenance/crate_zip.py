"""A run crate in one zip file, which holds the same bytes whenever the crate does."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

__all__ = ["pack_crate"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


def pack_crate(folder: Path, target: Path) -> None:
    """Write the files of a crate into a zip file, ``ro-crate-metadata.json`` at its root."""
    with ZipFile(target, "w") as pack:
        for path in sorted(file for file in folder.rglob("*") if file.is_file()):
            info = ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            info.compress_type, info.external_attr = ZIP_DEFLATED, _READABLE
            with path.open("rb") as source, pack.open(info, "w") as sink:
                while block := source.read(1 << 20):
                    sink.write(block)
