"""A run crate in one zip file, which holds the same bytes whenever the crate does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

__all__ = ["INPUTS", "pack_crate", "pack_files"]

INPUTS = "inputs/"
"""Where in a crate copies of the inputs of its run lie."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


def pack_crate(folder: Path, target: Path) -> None:
    """Write the files of a crate into a zip file, ``ro-crate-metadata.json`` at its root."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    with ZipFile(target, "w") as pack:
        for path in files:
            name = path.relative_to(folder).as_posix()
            _add(pack, name, path, ZIP_STORED if name.startswith(INPUTS) else ZIP_DEFLATED)


def pack_files(files: Iterable[tuple[str, Path]], target: Path) -> None:
    """Write files into a zip file under other names, as they are."""
    with ZipFile(target, "x") as pack:
        for name, path in files:
            _add(pack, name, path, ZIP_STORED)


def _add(pack: ZipFile, name: str, path: Path, compression: int) -> None:
    info = ZipInfo(name, _EPOCH)
    info.compress_type, info.external_attr = compression, _READABLE
    info.file_size = path.stat().st_size  # or there is no room for more than 2 GiB
    with path.open("rb") as source, pack.open(info, "w") as sink:
        while block := source.read(1 << 20):
            sink.write(block)
