"""Downloads that were interrupted: the next one goes on with what is there, if it is the same."""

import hashlib
import json
from urllib.parse import quote

import numpy as np
import pytest

from memory_images import save
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import RemoteError
from parfocal.models.sheet import Row
from parfocal.models.source import HttpSource
from parfocal.remote import site
from parfocal.remote.fetch import fetch
from parfocal.remote.retry import Retry
from parfocal.steps import fetch_image
from webserver import serve

DATA = bytes(range(256)) * 40_000  # 10 MB: several blocks
ONCE = Retry(attempts=1, patience_s=0)
CHUNKS = 60


def write_zarr(path, name="a"):
    (path / "0/c").mkdir(parents=True, exist_ok=True)
    scale = {"name": name, "datasets": [{"path": "0"}]}
    array = {
        "node_type": "array",
        "shape": [CHUNKS],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1]}},
        "chunk_key_encoding": {"name": "default"},
    }
    group = {"attributes": {"ome": {"multiscales": [scale]}}}
    (path / "zarr.json").write_text(json.dumps(group))
    (path / "0/zarr.json").write_text(json.dumps(array))
    for number in range(CHUNKS):
        (path / f"0/c/{number}").write_bytes(f"{name} {number}".encode())


@pytest.fixture
def web(tmp_path):
    root = tmp_path / "site"
    root.mkdir()
    (root / "a.tif").write_bytes(DATA)
    write_zarr(root / "a.zarr")
    with serve(root) as web:
        yield web


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


def get(web, folder, path):
    return fetch(HttpSource(f"{web.url}/{path}"), folder, lambda *_: None, ONCE)


def break_off(web, folder, path, fault_at, fault):
    web.faults[fault_at] = [fault]
    with pytest.raises(RemoteError):
        get(web, folder, path)
    web.requests.clear()


def check_file(fetched, folder):
    assert fetched.path.read_bytes() == DATA
    assert fetched.file.digest == f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    assert [path.name for path in folder.iterdir()] == ["a.tif"]


def test_a_file_goes_on_where_it_broke_off(web, folder):
    break_off(web, folder, "a.tif", "/a.tif", "drop")
    assert not (folder / "a.tif").exists()
    fetched = get(web, folder, "a.tif")
    check_file(fetched, folder)
    (part,) = web.asked("/a.tif")
    assert int(part.removeprefix("bytes=").rstrip("-")) > len(DATA) / 10
    assert fetched.received < len(DATA)


@pytest.mark.parametrize("name", ["a" * 251 + ".tif", "ä" * 125 + ".tif"])
def test_the_longest_names_come_too(web, folder, name):
    (web.root / name).write_bytes(DATA)
    break_off(web, folder, quote(name), f"/{name}", "drop")
    assert get(web, folder, quote(name)).path.name == name
    assert web.asked(f"/{name}")[0].startswith("bytes=")


def test_a_file_that_is_another_one_now_starts_over(web, folder):
    break_off(web, folder, "a.tif", "/a.tif", "drop")
    web.validators = {"ETag": '"2"'}
    fetched = fetch(
        HttpSource(f"{web.url}/a.tif"), folder, lambda *_: None, Retry(2, first_wait_s=0.01)
    )
    check_file(fetched, folder)
    assert fetched.file.etag == '"2"'


def test_without_a_validator_a_file_starts_over(web, folder):
    web.validators = {}
    break_off(web, folder, "a.tif", "/a.tif", "drop")
    check_file(get(web, folder, "a.tif"), folder)
    assert web.asked("/a.tif") == [None]


def test_chunks_that_came_are_not_asked_for_again(web, folder):
    break_off(web, folder, "a.zarr", f"/a.zarr/0/c/{CHUNKS - 1}", 500)
    came = {path.name for path in (folder / "a.zarr/0/c").iterdir() if path.name.isdecimal()}
    assert came
    (folder / "a.zarr/0/c/59.part").write_bytes(b"half")
    assert not (folder / "a.zarr/zarr.json").exists()
    fetched = get(web, folder, "a.zarr")
    asked = {path.rsplit("/", 1)[-1] for path, _ in web.requests if "/c/" in path}
    assert asked == {str(number) for number in range(CHUNKS)} - came
    assert digest_path(fetched.path) == digest_path(web.root / "a.zarr")
    assert [path.name for path in folder.iterdir()] == ["a.zarr"]
    assert not list(folder.rglob("*.part"))
    assert (fetched.keys, fetched.absent) == (CHUNKS, 0)


def test_an_empty_chunk_file_is_fetched_again(web, folder):
    break_off(web, folder, "a.zarr", f"/a.zarr/0/c/{CHUNKS - 1}", 500)
    (folder / "a.zarr/0/c/0").write_bytes(b"")
    fetched = get(web, folder, "a.zarr")
    assert digest_path(fetched.path) == digest_path(web.root / "a.zarr")


def test_an_image_whose_metadata_changed_starts_over(web, folder):
    break_off(web, folder, "a.zarr", f"/a.zarr/0/c/{CHUNKS - 1}", 500)
    write_zarr(web.root / "a.zarr", "b")
    fetched = get(web, folder, "a.zarr")
    assert digest_path(fetched.path) == digest_path(web.root / "a.zarr")
    assert (fetched.path / "0/c/0").read_bytes() == b"b 0"


@pytest.mark.parametrize(("first", "fault_at"), [("a.zarr", "/a.zarr/0/c/59"), ("a.tif", "/a.tif")])
def test_what_another_download_left_is_removed(web, folder, first, fault_at):
    break_off(web, folder, first, fault_at, "drop")
    write_zarr(web.root / "b.zarr", "b")
    fetched = get(web, folder, "b.zarr")
    assert digest_path(fetched.path) == digest_path(web.root / "b.zarr")
    assert [path.name for path in folder.iterdir()] == ["b.zarr"]


def test_what_no_download_left_is_never_removed(web, folder):
    (folder / "mine.txt").write_text("mine")
    get(web, folder, "a.zarr")
    get(web, folder, "a.tif")
    assert (folder / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("note", [b"", b"[]", b"{", b'{"url": 1}'])
def test_a_damaged_note_is_no_note(web, folder, note):
    break_off(web, folder, "a.tif", "/a.tif", "drop")
    (folder / ".download.json").write_bytes(note)
    check_file(get(web, folder, "a.tif"), folder)


def test_the_step_goes_on_and_leaves_no_note(web, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "Retry", lambda: ONCE)
    source = f"{web.url}/a.zarr"
    out = tmp_path / "original"

    def run():
        context = Context(scratch=tmp_path, row=Row(image_id="a", source=source))
        fetch_image.STEP.run({}, {"original": out}, fetch_image.FetchImageParams(), context)

    web.faults[f"/a.zarr/0/c/{CHUNKS - 1}"] = [500] * 99
    with pytest.raises(RemoteError):
        run()
    web.faults.clear()
    web.requests.clear()
    run()
    assert len([path for path, _ in web.requests if "/c/" in path]) < CHUNKS
    assert sorted(path.name for path in out.iterdir()) == ["a.zarr", "manifest.json"]
    assert fetch_image.STEP.resumable


def test_a_part_starts_over(web, tmp_path):
    save(web.root / "b.zarr", np.zeros((600, 600), np.uint8), "YX")
    (tmp_path / "original/b.ome.zarr/0").mkdir(parents=True)
    row = Row(image_id="a", source=f"{web.url}/b.zarr")
    context = Context(scratch=tmp_path, row=row)
    params = fetch_image.FetchImageParams(level=1)
    fetch_image.STEP.run({}, {"original": tmp_path / "original"}, params, context)
    assert (tmp_path / "original/b.ome.zarr/zarr.json").is_file()


def test_a_local_source_does_not_mind_what_is_there(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    (tmp_path / "original/left").mkdir(parents=True)
    context = Context(scratch=tmp_path, row=Row(image_id="a", source=str(tmp_path / "a.tif")))
    out = {"original": tmp_path / "original"}
    fetch_image.STEP.run({}, out, fetch_image.FetchImageParams(), context)
    assert [path.name for path in (tmp_path / "original").iterdir()] == ["manifest.json"]
