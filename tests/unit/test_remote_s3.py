"""Files, OME-Zarrs and prefixes in an object store, answered for by a server on this machine."""

import json

import pytest

from bucket_server import listing
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError, RemoteError
from parfocal.models.manifest import read_manifest
from parfocal.models.sheet import Row, read_sheet
from parfocal.models.source import S3Source
from parfocal.remote.fetch import fetch
from parfocal.remote.retry import Retry
from parfocal.steps import fetch_image, list_images
from webserver import serve

QUICK = Retry(attempts=3, first_wait_s=0.01, longest_wait_s=0.02, patience_s=0)
SECRET = "hunter2hunter2"


def write_zarr(path):
    (path / "0").mkdir(parents=True)
    attributes = {"ome": {"multiscales": [{"datasets": [{"path": "0"}]}]}}
    array = {
        "node_type": "array",
        "shape": [1, 2],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1]}},
        "chunk_key_encoding": {"name": "default"},
    }
    (path / "zarr.json").write_text(json.dumps({"attributes": attributes}))
    (path / "0/zarr.json").write_text(json.dumps(array))
    for x in range(2):
        (path / f"0/c/0/{x}").parent.mkdir(parents=True, exist_ok=True)
        (path / f"0/c/0/{x}").write_bytes(b"%d" % x)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store with one bucket, whose keys are files; `store.headers` is what it was sent."""
    root = tmp_path / "site"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    (root / "bucket/d/deep").mkdir(parents=True)
    (root / "bucket/d/Zelle ü #1.tif").write_bytes(b"II*\0pixels")
    (root / "bucket/d/notes.txt").write_bytes(b"x")
    (root / "bucket/d/deep/b.tif").write_bytes(b"II*\0b")
    write_zarr(root / "bucket/d/a.zarr")
    with serve(root) as web:
        folder = root / "bucket"
        files = [path for path in folder.rglob("*") if path.is_file()]
        keys = [path.relative_to(folder).as_posix() for path in files]

        def answer(path, query):
            is_list = path.rstrip("/") == "/bucket" and ("list-type", "2") in query
            return listing("bucket", keys, dict(query)) if is_list else None

        web.answer = answer
        monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
        yield web


def list_rows(tmp_path, source, **params):
    context = Context(scratch=tmp_path)
    sheet = tmp_path / "samples.tsv"
    given = list_images.ListImagesParams.model_validate({"source": source} | params)
    list_images.STEP.run({}, {"sheet": sheet}, given, context)
    return read_sheet(sheet), context


def test_a_file_and_an_ome_zarr_come_unsigned(store, tmp_path):
    file = fetch(S3Source("bucket", "d/Zelle ü #1.tif"), tmp_path, lambda *_: None, QUICK)
    assert file.path == tmp_path / "Zelle ü #1.tif"
    assert file.path.read_bytes() == b"II*\0pixels"
    image = fetch(S3Source("bucket", "d/a.zarr"), tmp_path, lambda *_: None, QUICK)
    assert (image.path / "0/c/0/1").read_bytes() == b"1"
    assert (image.keys, image.absent) == (2, 0)
    assert not any(store.authorizations)


def test_credentials_of_the_environment_sign_and_are_never_told(store, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    fetch(S3Source("bucket", "d/deep/b.tif"), tmp_path, lambda *_: None, QUICK)
    assert all("Credential=someone/" in (text or "") for text in store.authorizations)
    store.faults["/bucket/d/deep/b.tif"] = [403] * 9
    with pytest.raises(RemoteError, match="403") as caught:
        fetch(S3Source("bucket", "d/deep/b.tif"), tmp_path, lambda *_: None, QUICK)
    assert SECRET not in str(caught.value)
    assert caught.value.exit_code == 3


def test_the_step_fetches_from_a_bucket(store, tmp_path):
    row = Row(image_id="a", source="s3://bucket/d/a.zarr")
    context = Context(scratch=tmp_path, row=row)
    out = tmp_path / "original"
    fetch_image.STEP.run({}, {"original": out}, fetch_image.FetchImageParams(), context)
    manifest = read_manifest(out)
    assert manifest.source == "s3://bucket/d/a.zarr"
    assert (out / manifest.primary / "0/c/0/0").read_bytes() == b"0"
    assert context.details["chunks"] == 2


def test_a_prefix_is_listed_like_a_folder(store, tmp_path):
    rows, context = list_rows(tmp_path, "s3://bucket/d/")
    assert [(row.name, row.source) for row in rows] == [
        ("Zelle ü #1.tif", "s3://bucket/d/Zelle ü #1.tif"),
        ("a.zarr", "s3://bucket/d/a.zarr"),
    ]
    assert rows[0].free["size_bytes"] == "7"
    assert any("d/notes.txt" in warning for warning in context.warnings)
    rows, _ = list_rows(tmp_path, "s3://bucket", recursive=True, pattern="*.tif")
    assert [row.name for row in rows] == ["Zelle ü #1.tif", "b.tif"]


def test_an_image_itself_is_listed(store, tmp_path):
    rows, _ = list_rows(tmp_path, ["s3://bucket/d/a.zarr", "s3://bucket/d/deep/b.tif"])
    assert [row.name for row in rows] == ["a.zarr", "b.tif"]
    assert len({row.image_id for row in rows}) == 2


def test_an_empty_prefix_is_the_users_error(store, tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        list_rows(tmp_path, "s3://bucket/nothing")


def test_a_missing_key_is_a_remote_fault(store, tmp_path):
    with pytest.raises(RemoteError, match="nothing at the URL") as caught:
        fetch(S3Source("bucket", "d/none.tif"), tmp_path, lambda *_: None, QUICK)
    assert "s3://bucket/d/none.tif" in str(caught.value)


def test_an_endpoint_that_is_no_url_is_told(store, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "host")
    with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL"):
        fetch(S3Source("bucket", "a.tif"), tmp_path, lambda *_: None, QUICK)
