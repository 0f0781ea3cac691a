"""Studies of the BioImage Archive, replayed by a server that answers as it does."""

import hashlib
import json

import pytest

from bia_replay import ACCESSION, FILES, entry, replay
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError, RemoteError, VerificationError
from parfocal.models.manifest import read_manifest
from parfocal.models.sheet import Row, read_sheet
from parfocal.remote import bia
from parfocal.steps import fetch_image, list_images
from webserver import serve

DATA = b"II*\0" + bytes(range(256)) * 40
NAME = "Zelle ü #1 100%.tif"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """An archive with one study; `study.entries` is its list of files."""
    root = tmp_path / "site"
    files = root / FILES
    (files / "raw").mkdir(parents=True)
    (files / "raw" / NAME).write_bytes(DATA)
    with serve(root) as web:
        files = [
            entry(f"raw/{NAME}", len(DATA), Gene="CDC20", well="B 2", empty=""),
            entry("raw/notes.txt", 5),
            entry("raw", kind="directory"),
            entry("converted/a.zarr", 99, kind="directory"),
        ]
        replay(web, files)
        monkeypatch.setenv(bia.API_VARIABLE, f"{web.url}/api")
        monkeypatch.setenv(bia.STORE_VARIABLE, web.url)
        yield web


def list_study(tmp_path, source=f"bia:{ACCESSION}", **params):
    context = Context(scratch=tmp_path)
    sheet = tmp_path / "samples.tsv"
    given = list_images.ListImagesParams.model_validate({"source": source} | params)
    list_images.STEP.run({}, {"sheet": sheet}, given, context)
    return read_sheet(sheet), context


def fetch(tmp_path, row):
    context = Context(scratch=tmp_path, row=row)
    out = tmp_path / "original"
    fetch_image.STEP.run({}, {"original": out}, fetch_image.FetchImageParams(), context)
    return read_manifest(out).primary_path(out), context


def test_a_study_is_listed_with_sizes_and_attributes(study, tmp_path):
    rows, context = list_study(tmp_path)
    assert [(row.name, row.source) for row in rows] == [
        (NAME, f"bia:S-BIAD634/raw/{NAME}"),
        ("a.zarr", "bia:S-BIAD634/converted/a.zarr"),
    ]
    assert rows[0].free["size_bytes"] == str(len(DATA))
    assert rows[0].free["Gene"] == "CDC20"
    assert rows[0].free["key:well"] == "B 2"
    assert (rows[0].well, rows[1].free["size_bytes"]) == ("", "")
    assert any("not images were ignored" in warning for warning in context.warnings)


def test_long_lists_come_page_by_page(study, tmp_path, monkeypatch):
    monkeypatch.setattr(bia, "_PAGE", 3)
    study.entries = [entry(f"{number}.tif", 1) for number in range(8)]
    rows, _ = list_study(tmp_path)
    assert [row.name for row in rows] == [f"{number}.tif" for number in range(8)]


def test_files_within_an_ome_zarr_are_one_image(study, tmp_path):
    study.entries = [entry(f"x/a.zarr/{key}", 3) for key in (".zattrs", "0/.zarray", "0/0.tif")]
    rows, _ = list_study(tmp_path)
    assert [row.source for row in rows] == [f"bia:{ACCESSION}/x/a.zarr"]
    assert "size_bytes" not in rows[0].free


def test_names_and_folders_choose(study, tmp_path):
    rows, _ = list_study(tmp_path, pattern="*.zarr")
    assert [row.name for row in rows] == ["a.zarr"]
    rows, _ = list_study(tmp_path, f"bia:{ACCESSION}/raw")
    assert [row.name for row in rows] == [NAME]
    rows, _ = list_study(tmp_path, key_values={"Gene": "CDC20"})
    assert [row.name for row in rows] == [NAME]


def test_the_ome_zarrs_of_the_archive_come_where_no_file_fits(study, tmp_path):
    uuid = "7b3158f7-1ee1-4af7-be16-df3e5413af6d"
    study.keys = [f"{ACCESSION}/{uuid}/{uuid}.zarr/0/.zattrs", f"{ACCESSION}/{uuid}/x.json"]
    _, context = list_study(tmp_path)
    assert any("1 OME-Zarrs too" in warning for warning in context.warnings)
    study.entries = [entry("all.zip", 3)]
    (study.root / f"bia-integrator-data/{ACCESSION}/{uuid}/{uuid}.zarr").mkdir(parents=True)
    group = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    path = study.root / f"bia-integrator-data/{ACCESSION}/{uuid}/{uuid}.zarr/.zattrs"
    path.write_text(json.dumps(group))
    rows, _ = list_study(tmp_path)
    assert [row.source for row in rows] == [
        f"{study.url}/bia-integrator-data/{ACCESSION}/{uuid}/{uuid}.zarr"
    ]


def test_a_file_comes_with_its_size_and_digest_compared(study, tmp_path):
    md5 = hashlib.md5(DATA).hexdigest()
    study.entries[0]["MD5 checksum"] = md5
    rows, _ = list_study(tmp_path)
    assert rows[0].free["md5"] == md5
    path, context = fetch(tmp_path, rows[0])
    assert path.read_bytes() == DATA
    assert path.name == NAME
    assert context.details["resolved"].endswith(
        "S-BIAD634/Files/raw/Zelle%20%C3%BC%20%231%20100%25.tif"
    )


@pytest.mark.parametrize(
    ("column", "value"), [("size_bytes", "5"), ("md5", "0" * 32), ("sha256", "0" * 64)]
)
def test_another_file_than_announced_is_refused(study, tmp_path, column, value):
    row = Row(image_id="a", source=f"bia:{ACCESSION}/raw/{NAME}", **{column: value})
    with pytest.raises(VerificationError, match="not the one that was announced") as caught:
        fetch(tmp_path, row)
    assert value in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_size_that_is_no_number_is_the_users_error(study, tmp_path):
    row = Row(image_id="a", source=f"bia:{ACCESSION}/raw/{NAME}", size_bytes="10 kB")
    with pytest.raises(ConfigurationError, match="size_bytes"):
        fetch(tmp_path, row)


def test_a_file_that_was_removed_meanwhile_is_a_remote_fault(study, tmp_path):
    row = Row(image_id="a", source=f"bia:{ACCESSION}/raw/gone.tif")
    with pytest.raises(RemoteError, match="nothing at the URL"):
        fetch(tmp_path, row)


def test_an_unknown_study_is_the_users_error(study, tmp_path):
    for work in (
        lambda: list_study(tmp_path, "bia:S-BIAD999999"),
        lambda: fetch(tmp_path, Row(image_id="a", source="bia:S-BIAD999999/a.tif")),
    ):
        with pytest.raises(InputError, match="no such public study") as caught:
            work()
        assert caught.value.exit_code == 2


def test_a_study_without_images_is_the_users_error(study, tmp_path):
    study.entries = [entry("notes.txt", 1)]
    with pytest.raises(InputError, match="holds no image"):
        list_study(tmp_path)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": [{}], "recordsTotal": 1}'])
def test_answers_that_are_none_are_remote_faults(study, tmp_path, body):
    answer = study.answer
    study.answer = lambda path, query: body if "/files/" in path else answer(path, query)
    with pytest.raises(RemoteError):
        list_study(tmp_path)


def test_a_url_of_the_environment_that_is_none_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv(bia.API_VARIABLE, "not-a-url")
    with pytest.raises(ConfigurationError, match=bia.API_VARIABLE):
        list_study(tmp_path)
