"""OME-Zarrs over http: the same keys and bytes, and nothing that was not asked for."""

import json
from pathlib import Path

import pytest

from parfocal.core.digest import digest_path
from parfocal.errors import ConfigurationError, InputError, RemoteError
from parfocal.models.source import parse_source
from parfocal.remote.chunks import ChunkGrid, grid_of_v2, grid_of_v3
from parfocal.remote.fetch import fetch
from parfocal.remote.listing import list_remote_images
from parfocal.remote.retry import Retry
from webserver import serve

QUICK = Retry(attempts=3, first_wait_s=0.01, longest_wait_s=0.02, patience_s=0)


def write(root, files):
    for key, value in files.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return root


def scales(*paths):
    return [{"datasets": [{"path": path} for path in paths]}]


def group3(**ome):
    attributes = {"ome": {"version": "0.5", **ome}}
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def array3(shape, chunk, encoding="default", separator=None):
    key = {"name": encoding}
    if separator:
        key["configuration"] = {"separator": separator}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": key,
    }


def image3():
    """A 0.5 image of two levels with a label image; one chunk of level 0 is absent."""
    files = {"zarr.json": group3(multiscales=scales("0", "1"))}
    files["0/zarr.json"] = array3([1, 4, 5], [1, 2, 2])
    files |= {f"0/c/0/{y}/{x}": b"%d-%d" % (y, x) for y in range(2) for x in range(3)}
    del files["0/c/0/1/2"]
    files["1/zarr.json"] = array3([1, 2, 3], [1, 2, 2], "v2")
    files |= {f"1/0.0.{x}": bytes(x) for x in range(2)}
    files["labels/zarr.json"] = group3(labels=["nuclei"])
    files["labels/nuclei/zarr.json"] = group3(multiscales=scales("0"), **{"image-label": {}})
    files["labels/nuclei/0/zarr.json"] = array3([4, 5], [4, 5], separator=".")
    files["labels/nuclei/0/c.0.0"] = b"label"
    files["OME/METADATA.ome.xml"] = b"<OME/>"
    return files


def image2():
    """A 0.4 image whose levels lie in a folder, with `.` and `/` between indices."""
    return {
        ".zgroup": {"zarr_format": 2},
        ".zattrs": {"multiscales": scales("levels/0", "levels/1")},
        ".zmetadata": {"metadata": {}},
        "levels/.zgroup": {"zarr_format": 2},
        "levels/0/.zarray": {"shape": [2, 3], "chunks": [1, 2]},
        "levels/0/.zattrs": {"_ARRAY_DIMENSIONS": ["y", "x"]},
        "levels/0/0.0": b"a",
        "levels/0/0.1": b"b",
        "levels/0/1.0": b"c",
        "levels/0/1.1": b"d",
        "levels/1/.zarray": {"shape": [1, 2], "chunks": [1, 2], "dimension_separator": "/"},
        "levels/1/0/0": b"e",
        "labels/.zgroup": {"zarr_format": 2},
        "labels/.zattrs": {"labels": []},
    }


def plate():
    wells = [{"path": "A/1"}, {"path": "B/2"}]
    files = {"zarr.json": group3(plate={"name": "P 1", "wells": wells})}
    for well, fields in (("A/1", ["0", "1"]), ("B/2", ["0"])):
        images = [{"path": field} for field in fields]
        files[f"{well}/zarr.json"] = group3(well={"images": images})
        for field in fields:
            files[f"{well}/{field}/zarr.json"] = group3(multiscales=scales("0"))
            files[f"{well}/{field}/0/zarr.json"] = array3([1, 1], [1, 1])
            files[f"{well}/{field}/0/c/0/0"] = f"{well}/{field}".encode()
    return files


@pytest.fixture
def web(tmp_path):
    (tmp_path / "site").mkdir()
    with serve(tmp_path / "site") as web:
        yield web


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


def get(web, folder, path="a.zarr"):
    return fetch(parse_source(f"{web.url}/{path}"), folder, lambda *_: None, QUICK)


def tree(root: Path):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("files", [image3(), image2()], ids=["0.5", "0.4"])
def test_an_ome_zarr_comes_key_by_key(web, folder, files):
    source = write(web.root / "a.zarr", files)
    fetched = get(web, folder)
    assert tree(fetched.path) == tree(source)
    assert digest_path(fetched.path) == digest_path(source)
    assert fetched.path == folder / "a.zarr"
    assert fetched.absent == (1 if "zarr.json" in files else 0)
    assert fetched.empty_arrays == ()


def test_each_key_is_asked_for_once_and_many_at_a_time(web, folder):
    files = {"zarr.json": group3(multiscales=scales("0")), "0/zarr.json": array3([300], [1])}
    write(web.root / "a.zarr", files | {f"0/c/{i}": b"x" * i for i in range(300)})
    ticks = []
    web.crowd = 16
    fetch(parse_source(f"{web.url}/a.zarr"), folder, lambda *tick: ticks.append(tick), QUICK)
    asked = [path for path, _ in web.requests]
    assert len(asked) == len(set(asked))
    assert 16 <= web.most <= 24
    assert ticks == [(i, 300) for i in range(1, 301)]


def test_faults_in_the_middle_leave_no_trace(web, folder):
    source = write(web.root / "a.zarr", image3() | {"0/c/0/0/0": bytes(3_000_000)})
    web.faults = {"/a.zarr/0/c/0/0/0": ["drop"], "/a.zarr/0/c/0/0/1": [503, 503]}
    web.faults["/a.zarr/1/zarr.json"] = [500]
    assert tree(get(web, folder).path) == tree(source)


def test_a_chunk_that_is_refused_is_no_absent_chunk(web, folder):
    write(web.root / "a.zarr", image3())
    web.faults["/a.zarr/0/c/0/1/1"] = [403] * 9
    with pytest.raises(RemoteError, match="403 Forbidden") as caught:
        get(web, folder)
    assert "/a.zarr/0/c/0/1/1" in str(caught.value)
    assert not (folder / "a.zarr" / "zarr.json").exists()


def test_a_store_that_forbids_what_is_absent_is_understood_and_told(web, folder):
    source = write(web.root / "a.zarr", image3())
    web.absent_status = 403
    fetched = get(web, folder)
    assert tree(fetched.path) == tree(source)
    assert fetched.absent == 1
    assert fetched.taken_as_absent >= 1


def test_an_array_without_any_chunk_is_told(web, folder):
    files = {key: value for key, value in image3().items() if not key.startswith("0/c/")}
    write(web.root / "a.zarr", files)
    assert get(web, folder).empty_arrays == ("0",)


def test_only_the_series_of_a_lone_image_is_taken(web, folder):
    files = {f"0/{key}": value for key, value in image3().items()}
    files["zarr.json"] = group3(**{"bioformats2raw.layout": 3})
    files["OME/zarr.json"] = group3(series=["0"])
    source = write(web.root / "a.zarr", files)
    fetched = get(web, folder)
    assert tree(fetched.path) == tree(source)


def test_series_without_a_list_are_counted(web):
    files = {"zarr.json": group3(**{"bioformats2raw.layout": 3})}
    for series in range(3):
        files[f"{series}/zarr.json"] = group3(multiscales=scales("0"))
    write(web.root / "a.zarr", files)
    (images,) = list_remote_images([parse_source(f"{web.url}/a.zarr")], QUICK)
    assert [image.path for image in images] == ["0", "1", "2"]


def test_a_plate_is_listed_and_its_fields_fetched_one_by_one(web, folder):
    write(web.root / "p.zarr", plate())
    (images,) = list_remote_images([parse_source(f"{web.url}/p.zarr")], QUICK)
    rows = [(image.path, image.plate, image.well, image.field) for image in images]
    assert rows == [
        ("A/1/0", "P 1", "A1", "0"),
        ("A/1/1", "P 1", "A1", "1"),
        ("B/2/0", "P 1", "B2", "0"),
    ]
    with pytest.raises(ConfigurationError, match="3 images") as caught:
        get(web, folder, "p.zarr")
    assert f"{web.url}/p.zarr/A/1/1" in str(caught.value)
    fetched = get(web, folder, "p.zarr/A/1/1")
    assert fetched.path == folder / "1.ome.zarr"
    assert (fetched.path / "0/c/0/0").read_bytes() == b"A/1/1"
    ((field,),) = list_remote_images([parse_source(f"{web.url}/p.zarr/A/1/1")], QUICK)
    assert field.path == ""


def test_a_file_is_no_zarr(web):
    (web.root / "a.tif").write_bytes(b"x")
    assert list_remote_images([parse_source(f"{web.url}/a.tif")], QUICK) == [None]


@pytest.mark.parametrize("path", ["../../escape", "/etc", "a//b", ".", "a\\b", "a\0b", ""])
def test_paths_that_lead_out_are_refused(web, folder, path):
    write(web.root / "a.zarr", {"zarr.json": group3(multiscales=scales(path))})
    with pytest.raises(InputError, match="not valid"):
        get(web, folder)
    assert list(folder.parent.rglob("escape")) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"zarr.json": group3()}, "no image"),
        ({"zarr.json": group3(multiscales=[{}])}, "multiscales with datasets"),
        ({"zarr.json": {"attributes": []}}, "a JSON object as attributes"),
        ({"zarr.json": group3(plate={})}, "a plate with wells"),
        ({"zarr.json": group3(well={})}, "a well with images"),
        ({"zarr.json": group3(multiscales=scales("0")), "0/zarr.json": b"{"}, "expected JSON"),
        ({"zarr.json": group3(multiscales=scales("0")), "0/zarr.json": b"[]"}, "a JSON object"),
        ({"zarr.json": group3(multiscales=scales("0")), "0/zarr.json": {}}, "regular grid"),
        ({".zattrs": {"multiscales": scales("0")}, "0/.zarray": {}}, "regular grid"),
    ],
)
def test_damaged_metadata_is_an_input_error(web, folder, files, expected):
    write(web.root / "a.zarr", files)
    with pytest.raises(InputError, match=expected) as caught:
        get(web, folder)
    assert f"{web.url}/a.zarr" in str(caught.value)


def test_a_missing_level_is_named(web, folder):
    write(web.root / "a.zarr", {"zarr.json": group3(multiscales=scales("0"))})
    with pytest.raises(RemoteError, match=r"0/zarr\.json"):
        get(web, folder)


def test_a_single_image_that_is_nowhere_is_named(web, folder):
    with pytest.raises(RemoteError, match="nothing at the URL"):
        get(web, folder, "nowhere.zarr")


def test_grids_of_a_scalar_and_of_nothing():
    assert list(ChunkGrid("0", (), "c", "/")) == ["0/c"]
    assert list(ChunkGrid("0", (), "", ".")) == ["0/0"]
    assert list(ChunkGrid("0", (3, 0), "c", "/")) == []


def test_grids_that_are_not_known_are_refused():
    good = array3([4], [2])
    assert list(grid_of_v3("", good, "u")) == ["c/0", "c/1"]
    bad = [
        good | {"chunk_grid": {"name": "rectilinear", "configuration": {"chunk_shape": [2]}}},
        good | {"chunk_key_encoding": {"name": "fanout"}},
        array3([4], [2], separator="-"),
        array3([4], [0]),
        array3([4, 4], [2]),
    ]
    for document in bad:
        with pytest.raises(InputError, match="regular grid"):
            grid_of_v3("", document, "u")
    with pytest.raises(InputError, match="separator"):
        grid_of_v2("", {"shape": [1], "chunks": [1], "dimension_separator": "-"}, "u")
