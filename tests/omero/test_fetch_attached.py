"""What is attached to an image comes along where that is asked for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import omero.grid
import omero.model
import pyarrow.parquet as pq
import pytest
from omero.rtypes import rstring
from tests.omero.server.control import Control

from parfocal.engine import run_step
from parfocal.errors import InputError, RemoteError
from parfocal.models.manifest import read_manifest
from parfocal.omero.attached_files import download_attached
from parfocal.omero.connection import Connection
from parfocal.omero.description import describe
from parfocal.omero.images import read_image
from parfocal.steps import load_step


@pytest.fixture
def image(alice: Any) -> Any:
    plane = np.arange(30, dtype=np.uint8).reshape(5, 6)
    return alice.createImageFromNumpySeq(iter([plane]), "with things attached")


def fetch(uri: str, image: Any, folder: Path, *, attachments: bool = True) -> dict[str, Any]:
    """Fetch an image; return what omero.json says of its annotations, by kind and file name."""
    source = f"{uri}/image/{image.getId()}"
    params = {"source": source, "attachments": attachments}
    run_step(load_step("fetch-image"), {}, {"original": folder}, params)
    told = json.loads((folder / "omero.json").read_text("utf-8"))["annotations"]
    return {each["file"]["name"]: each for each in told if "file" in each}


def attach(gateway: Any, image: Any, path: Path, content: bytes) -> int:
    path.write_bytes(content)
    made = gateway.createFileAnnfromLocalFile(str(path), mimetype="text/plain")
    image.linkAnnotation(made)
    return int(made.getId())


def attach_table(gateway: Any, image: Any, *columns: Any) -> None:
    resources = gateway.c.sf.sharedResources()
    table = resources.newTable(resources.repositories().descriptions[0].id.val, "cells.h5")
    empty = [type(column)(*_named(column)) for column in columns]
    table.initialize(empty)
    table.addData(list(columns))
    annotation = omero.model.FileAnnotationI()
    file = table.getOriginalFile()
    annotation.file = omero.model.OriginalFileI(file.id.val, False)
    table.close()
    annotation.ns = rstring("openmicroscopy.org/omero/bulk_annotations")
    link = omero.model.ImageAnnotationLinkI()
    link.parent, link.child = omero.model.ImageI(image.getId(), False), annotation
    gateway.getUpdateService().saveObject(link)


def _named(column: Any) -> list[Any]:
    size = [getattr(column, name) for name in ("size",) if hasattr(column, name)]
    return [column.name, column.description, *size, []]


def test_files_come_as_they_are(alice: Any, image: Any, logged_in: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    numbers = [attach(alice, image, tmp_path / "notes é.txt", content + bytes([n])) for n in (1, 2)]
    folder = tmp_path / "original"
    fetch(logged_in, image, folder)
    paths = [f"attachments/{number}-notes é.txt" for number in numbers]
    assert [(folder / path).read_bytes() for path in paths] == [content + b"\1", content + b"\2"]
    digests = {file.path: file.digest for file in read_manifest(folder).files}
    expected = hashlib.sha256(content + b"\1").hexdigest()
    assert digests[paths[0]] == f"sha256:{expected}"
    told = json.loads((folder / "omero.json").read_text("utf-8"))["annotations"]
    assert [each["path"] for each in told] == paths


def test_nothing_comes_unasked(alice: Any, image: Any, logged_in: str, tmp_path: Path) -> None:
    attach(alice, image, tmp_path / "notes.txt", b"hello")
    told = fetch(logged_in, image, tmp_path / "original", attachments=False)
    assert told["notes.txt"]["file"]["size"] == 5
    assert "path" not in told["notes.txt"]
    assert not (tmp_path / "original" / "attachments").exists()


def test_a_name_leads_nowhere_else(alice: Any, image: Any, logged_in: str, tmp_path: Path) -> None:
    number = attach(alice, image, tmp_path / "a.txt", b"hello")
    file = alice.getObject("FileAnnotation", number).getFile()._obj
    file.name = rstring("../../" + 300 * "ü" + ".txt")
    alice.getUpdateService().saveObject(file)
    fetch(logged_in, image, tmp_path / "original")
    (path,) = (tmp_path / "original" / "attachments").iterdir()
    assert path.name.startswith(f"{number}-üü")
    assert path.name.endswith("ü.txt")
    assert path.read_bytes() == b"hello"


def test_tables_become_parquet(alice: Any, image: Any, logged_in: str, tmp_path: Path) -> None:
    number = image.getId()
    attach_table(
        alice,
        image,
        omero.grid.ImageColumn("Image", "", [number, number]),
        omero.grid.LongColumn("label", "", [1, -2]),
        omero.grid.DoubleColumn("area_um2", '{"unit": "um2"}', [1.5, float("nan")]),
        omero.grid.StringColumn("name", "", 8, ["a", "ü"]),
        omero.grid.BoolColumn("good", "", [True, False]),
        omero.grid.DoubleArrayColumn("center", "", 2, [[1.0, 2.0], [3.0, 4.0]]),
    )
    folder = tmp_path / "original"
    (annotation,) = fetch(logged_in, image, folder).values()
    assert annotation["kind"] == "table"
    assert annotation["path"] == f"attachments/{annotation['id']}-cells.h5.parquet"
    table = pq.read_table(folder / annotation["path"])
    assert [str(kind) for kind in table.schema.types] == [
        "int64", "int64", "double", "string", "bool", "list<element: double>",
    ]  # fmt: skip
    assert table.schema.field("area_um2").metadata[b"description"] == b'{"unit": "um2"}'
    found = table.to_pydict()
    assert np.isnan(found.pop("area_um2")[1])
    assert found == {
        "Image": [number, number],
        "label": [1, -2],
        "name": ["a", "ü"],
        "good": [True, False],
        "center": [[1.0, 2.0], [3.0, 4.0]],
    }


def test_a_loss_in_the_middle_begins_the_table_again(
    alice: Any,
    image: Any,
    logged_in: str,
    tmp_path: Path,
    faults: Control,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parfocal.omero.attached_files._ROWS_AT_ONCE", 10)
    attach_table(alice, image, omero.grid.LongColumn("label", "", list(range(35))))
    faults.drop("Table", "read", nth=3)
    folder = tmp_path / "original"
    (annotation,) = fetch(logged_in, image, folder).values()
    table = pq.read_table(folder / annotation["path"])
    assert table.to_pydict() == {"label": list(range(35))}


def test_masks_in_a_table_are_refused(
    alice: Any, image: Any, logged_in: str, tmp_path: Path
) -> None:
    resources = alice.c.sf.sharedResources()
    table = resources.newTable(resources.repositories().descriptions[0].id.val, "masks.h5")
    table.initialize([omero.grid.MaskColumn("mask", "", [], [], [], [], [], [], [], [])])
    file = table.getOriginalFile().id.val
    table.close()
    annotation = omero.model.FileAnnotationI()
    annotation.file = omero.model.OriginalFileI(file, False)
    link = omero.model.ImageAnnotationLinkI()
    link.parent, link.child = omero.model.ImageI(image.getId(), False), annotation
    alice.getUpdateService().saveObject(link)
    with pytest.raises(InputError, match="no place in Parquet"):
        fetch(logged_in, image, tmp_path / "original")


def test_a_damaged_file_is_not_taken_for_whole(
    alice: Any, image: Any, logged_in: str, tmp_path: Path, own_server: Any
) -> None:
    number = attach(alice, image, tmp_path / "notes.txt", b"hello")
    file = alice.getObject("FileAnnotation", number).getFile().getId()
    (own_server.folder / "Files" / str(file)).write_bytes(b"hullo")
    with pytest.raises(RemoteError, match="not the same"):
        fetch(logged_in, image, tmp_path / "original")


@pytest.mark.parametrize("kind", ["file", "table"])
def test_what_is_deleted_meanwhile_is_told(
    alice: Any, image: Any, connection: Connection, tmp_path: Path, kind: str
) -> None:
    if kind == "file":
        attach(alice, image, tmp_path / "notes.txt", b"hello")
    else:
        attach_table(alice, image, omero.grid.LongColumn("label", "", [1]))
    (annotation,) = describe(connection, read_image(connection, image.getId()))["annotations"]
    alice.deleteObjects("FileAnnotation", [annotation["id"]], wait=True)
    with pytest.raises(InputError, match="is gone from the OMERO server") as caught:
        download_attached(connection, [annotation], tmp_path / "attachments")
    assert str(caught.value.where).endswith(f"OriginalFile {annotation['file']['id']}")
    assert caught.value.remedy


def test_what_an_interrupted_call_left_is_replaced(
    alice: Any, image: Any, connection: Connection, tmp_path: Path
) -> None:
    attach(alice, image, tmp_path / "notes.txt", b"hello")
    annotations = describe(connection, read_image(connection, image.getId()))["annotations"]
    folder = tmp_path / "attachments"
    folder.mkdir()
    (folder / "left").write_bytes(b"of one that is deleted by now")
    (name,) = download_attached(connection, annotations, folder).values()
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_bytes() == b"hello"
    assert download_attached(connection, [], folder) == {}
    assert not folder.exists()
