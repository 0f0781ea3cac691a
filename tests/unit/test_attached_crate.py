"""A run crate is attached as one zip file, whether it is a folder or is packed already."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, cast

import pytest

from parfocal.models.annotation_entries import FILE_NAMESPACE, FileAttachment, ResultFile
from parfocal.omero.annotate import attached
from parfocal.omero.connection import Connection


@pytest.mark.parametrize("packed", [False, True])
def test_the_crate_on_the_server_holds_the_files_of_the_crate_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    uploaded: list[Path] = []

    def upload(_connection: object, path: Path, *_rest: Any) -> int:
        uploaded.append(path)
        return 7

    monkeypatch.setattr(attached, "upload_file", upload)
    crate = tmp_path / "run-crate"
    if packed:
        with zipfile.ZipFile(crate, "w") as pack:
            pack.writestr("ro-crate-metadata.json", "{}")
    else:
        crate.mkdir()
        (crate / "ro-crate-metadata.json").write_text("{}")
    entry = FileAttachment.planned(
        "omero://one.example.org/image/1",
        namespace=FILE_NAMESPACE,
        name="run-crate.zip",
        file=ResultFile(path="run-crate", digest=None, size_bytes=None),
        mimetype="application/zip",
        packed=True,
    )
    nowhere = cast("Connection", None)
    assert attached.upload_entry(nowhere, entry, crate, "a" * 32, tmp_path) == 7
    with zipfile.ZipFile(uploaded[0]) as pack:
        assert pack.namelist() == ["ro-crate-metadata.json"]
    assert (uploaded[0] == crate) is packed
