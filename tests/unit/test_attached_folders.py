"""Folders that are attached as one zip file: the same bytes everywhere."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from parfocal.errors import StorageError
from parfocal.omero.annotate.attached import pack_folder

FILES = {"ro-crate-metadata.json": b'{"@graph": []}' * 99, "more/é.bin": bytes(300), "more/0": b""}


def folder(path: Path, names: list[str]) -> Path:
    """Write the files in some order."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(FILES[name])
    return path


def test_a_packed_folder_is_the_same_wherever_and_whenever_it_is_packed(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", sorted(FILES))
    other = folder(tmp_path / "other", sorted(FILES, reverse=True))
    os.utime(other / "more/0", (1, 1))
    for each in (one, other):
        pack_folder(each, each.with_suffix(".zip"))
    assert one.with_suffix(".zip").read_bytes() == other.with_suffix(".zip").read_bytes()
    with zipfile.ZipFile(one.with_suffix(".zip")) as pack:
        assert {name: pack.read(name) for name in pack.namelist()} == FILES
        # What is compressed is not the same with each version of the library.
        assert {info.compress_type for info in pack.infolist()} == {zipfile.ZIP_STORED}


def test_a_folder_that_cannot_be_packed_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be packed"):
        pack_folder(folder(tmp_path / "one", sorted(FILES)), tmp_path / "none" / "a.zip")
