"""What a listing tells of images elsewhere: sizes, type of the pixels, names of the channels."""

import json
import sys

import pytest

from bia_replay import ACCESSION, FILES, entry, replay
from bucket_server import listing
from idr_replay import Idr
from listed import run
from parfocal.errors import RemoteError
from parfocal.models.source import parse_source
from parfocal.remote import bia, idr, idr_places
from parfocal.remote.listing import list_remote_images
from webserver import serve

AXES = [{"name": name} for name in ("t", "c", "z", "y", "x")]
COLUMNS = ("size_t", "size_c", "size_z", "size_y", "size_x", "dtype", "channels")
V2 = ["1", "2", "3", "40", "50", "uint16", "DAPI; channel_1"]
V3 = ["1", "1", "1", "40", "50", "float32", ""]


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def image_v2(path):
    """Write the metadata of a 0.4 image of five axes and two channels, one without a name."""
    scale = {"axes": AXES, "datasets": [{"path": "full"}, {"path": "half"}]}
    omero = {"channels": [{"label": " DAPI\t"}, {"color": "FFFFFF"}]}
    write(path / ".zgroup", {"zarr_format": 2})
    write(path / ".zattrs", {"multiscales": [scale], "omero": omero})
    write(path / "full/.zarray", {"shape": [1, 2, 3, 40, 50], "dtype": ">u2"})


def image_v3(path):
    """Write the metadata of a 0.5 image (Y, X) without names."""
    scale = {"axes": AXES[3:], "datasets": [{"path": "0"}]}
    ome = {"version": "0.5", "multiscales": [scale]}
    write(path / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}})
    write(path / "0/zarr.json", {"node_type": "array", "shape": [40, 50], "data_type": "float32"})


def cells(row):
    return [row.free.get(column, "") for column in COLUMNS]


@pytest.fixture
def web(tmp_path):
    (tmp_path / "site").mkdir()
    with serve(tmp_path / "site") as served:
        yield served


def test_the_metadata_of_an_ome_zarr_are_columns(web, tmp_path):
    image_v2(web.root / "a.zarr")
    image_v3(web.root / "b.zarr")
    rows, context = run(tmp_path, f"{web.url}/a.zarr", f"{web.url}/b.zarr")
    assert [cells(row) for row in rows] == [V2, V3]
    assert context.warnings == []


def test_no_pixels_are_asked_for(web, tmp_path):
    image_v3(web.root / "b.zarr")
    write(web.root / "b.zarr/0/c/0/0", "pixels")
    run(tmp_path, f"{web.url}/b.zarr")
    assert sorted(path for path, _ in web.requests) == ["/b.zarr/0/zarr.json", "/b.zarr/zarr.json"]


@pytest.mark.parametrize(
    ("axes", "shape"), [(["z", "y", "x"], [3, 40, 50]), (None, [1, 1, 3, 40, 50])]
)
def test_axes_of_old_versions(web, tmp_path, axes, shape):
    image_v2(web.root / "a.zarr")
    scale = {"datasets": [{"path": "full"}]} | ({"axes": axes} if axes else {})
    write(web.root / "a.zarr/.zattrs", {"multiscales": [scale]})
    write(web.root / "a.zarr/full/.zarray", {"shape": shape, "dtype": "|u1"})
    (row,) = run(tmp_path, f"{web.url}/a.zarr")[0]
    assert cells(row) == ["1", "1", "3", "40", "50", "uint8", ""]


def test_each_field_of_a_plate_has_its_own(web, tmp_path):
    root = web.root / "p.zarr"
    write(root / ".zattrs", {"plate": {"name": "P", "wells": [{"path": "A/1"}]}})
    write(root / "A/1/.zattrs", {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
    for field in "01":
        image_v2(root / "A/1" / field)
    write(root / "A/1/1/full/.zarray", {"shape": [1, 2, 3, 4, 5], "dtype": "<u2"})
    rows, _ = run(tmp_path, f"{web.url}/p.zarr")
    assert [row.field for row in rows] == ["0", "1"]
    assert [cells(row) for row in rows] == [V2, ["1", "2", "3", "4", "5", "uint16", V2[6]]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("full/.zarray", None),
        ("full/.zarray", "{"),
        ("full/.zarray", '{"shape": [3, 4], "dtype": "<u2"}'),
        ("full/.zarray", '{"shape": [1, 2, 3, 40, 50], "dtype": "apple"}'),
        (".zattrs", '{"multiscales": [{"datasets": [{"path": "../../a"}]}]}'),
        (".zattrs", '{"multiscales": []}'),
    ],
)
def test_an_image_with_damaged_metadata_keeps_its_row_and_is_told(web, tmp_path, name, content):
    root = web.root / "c.zarr"
    write(root / ".zattrs", {"bioformats2raw.layout": 3})
    write(root / "OME/.zattrs", {"series": ["0", "1"]})
    for series in "01":
        image_v2(root / series)
    damaged = root / "1" / name
    damaged.unlink() if content is None else damaged.write_text(content)
    rows, context = run(tmp_path, f"{web.url}/c.zarr")
    assert [cells(row) for row in rows] == [V2, [""] * 7]
    (told,) = context.warnings
    assert told == (f"1 image(s) of OME-Zarrs have missing or damaged metadata: {web.url}/c.zarr/1")


def test_what_a_sheet_says_stays(web, tmp_path):
    image_v2(web.root / "a.zarr")
    (tmp_path / "in.tsv").write_text(
        f"image_id\tsource\tchannels\na\t{web.url}/a.zarr\tnuclei; cells\n"
    )
    (row,) = run(tmp_path, str(tmp_path / "in.tsv"))[0]
    assert cells(row) == [*V2[:6], "nuclei; cells"]


def test_many_are_read_at_once_and_no_more_than_the_limit(web, monkeypatch):
    monkeypatch.setenv("PARFOCAL_REMOTE_IN_FLIGHT", "4")
    names = [f"i{number}.zarr" for number in range(12)]
    for name in names:
        image_v3(web.root / name)
    waiting = web.lock

    def wait_for_others(path, query):
        with waiting:
            waiting.wait_for(lambda: web.most >= 4, timeout=10)

    web.answer = wait_for_others
    found = list_remote_images([parse_source(f"{web.url}/{name}") for name in names])
    assert web.most == 4
    assert [images[0].columns["size_x"] for images in found] == ["50"] * 12


def test_ome_zarrs_of_a_bucket(web, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
    bucket = web.root / "bucket"
    image_v2(bucket / "d/a.zarr")
    image_v3(bucket / "d/b.zarr")
    (bucket / "d/c.tif").write_bytes(b"II*\0")
    keys = [path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file()]

    def answer(path, query):
        is_list = path.rstrip("/") == "/bucket" and ("list-type", "2") in query
        return listing("bucket", keys, dict(query)) if is_list else None

    web.answer = answer
    rows, context = run(tmp_path, "s3://bucket/d")
    assert [row.name for row in rows] == ["a.zarr", "b.zarr", "c.tif"]
    assert [cells(row) for row in rows] == [V2, V3, [""] * 7]
    assert cells(run(tmp_path, "s3://bucket/d/a.zarr")[0][0]) == V2
    (bucket / "d/a.zarr").rename(bucket / "d/without a suffix")
    (row,) = run(tmp_path, "s3://bucket/d/without a suffix")[0]
    assert (row.name, cells(row)) == ("without a suffix", V2)
    assert context.warnings == []


@pytest.fixture
def resource(web, monkeypatch):
    made = Idr(web)
    web.answer = made.answer
    monkeypatch.setitem(sys.modules, "omero", None)  # as if omero-py were not installed
    monkeypatch.setenv(idr.URL_VARIABLE, web.url)
    monkeypatch.setenv(idr_places.STORE_VARIABLE, f"{web.url}/store/idr")
    return made


def test_channels_of_the_idr(resource, tmp_path):
    resource.name_channels(83, "a", "b\nc")
    rows, context = run(tmp_path, "idr:plate/2551")
    assert [row.free["channels"] for row in rows] == ["DAPI; channel_1", "", "a; b c"]
    assert [row.free["size_c"] for row in rows] == ["2"] * 3
    assert context.warnings == []


def test_a_key_of_the_idr_does_not_hide_what_is_known(resource, tmp_path):
    resource.annotate("image", 81, [("channels", "theirs"), ("size_x", "large")])
    row = run(tmp_path, "idr:plate/2551")[0][0]
    assert (row.free["channels"], row.free["key:channels"]) == ("DAPI; channel_1", "theirs")
    assert (row.free["size_x"], row.free["key:size_x"]) == ("20", "large")


def test_channels_of_too_many_images_of_the_idr_are_not_asked_for(
    resource, web, tmp_path, monkeypatch
):
    monkeypatch.setattr(idr, "_MOST_ASKED", 2)
    rows, context = run(tmp_path, "idr:plate/2551")
    assert [row.free.get("channels") for row in rows] == [None] * 3
    (told,) = context.warnings
    assert "names of channels are not asked for, of 3 images: list up to 2" in told
    assert not [path for path, _ in web.requests if "/images/" in path]


def test_only_the_images_that_a_pattern_takes_are_asked_for(resource, web, tmp_path, monkeypatch):
    monkeypatch.setattr(idr, "_MOST_ASKED", 2)
    resource.annotate("image", 82, [("Gene", "CDC20")])
    resource.name_channels(82, "a", "b")
    queries = []

    def answer(path, query):
        queries.extend(query)
        return resource.answer(path, query)

    web.answer = answer
    rows, context = run(tmp_path, "idr:plate/2551", pattern="W B11*")
    assert [row.source for row in rows] == ["idr:image/82", "idr:image/83"]
    assert [row.free["channels"] for row in rows] == ["a; b", ""]
    assert context.warnings == []
    asked = {path.strip("/") for path, _ in web.requests if "/images/" in path}
    assert asked == {"api/v0/m/images/82", "api/v0/m/images/83"}
    assert {number for kind, number in queries if kind == "image"} == {"82", "83"}


def test_an_ome_zarr_of_the_idr_by_its_path(resource, web, tmp_path):
    image_v2(web.root / "store/idr/zarr/v0.4/idr0010/76-45.ome.zarr")
    (row,) = run(tmp_path, "idr:idr0010/76-45.ome.zarr")[0]
    assert (row.source, cells(row)) == ("idr:idr0010/76-45.ome.zarr", V2)


def test_an_ome_zarr_among_the_files_of_a_study(web, tmp_path, monkeypatch):
    replay(web, [entry("x/a.zarr", 99, kind="directory"), entry("b.tif", 3)])
    monkeypatch.setenv(bia.API_VARIABLE, f"{web.url}/api")
    monkeypatch.setenv(bia.STORE_VARIABLE, web.url)
    image_v2(web.root / FILES / "x/a.zarr")
    rows, context = run(tmp_path, f"bia:{ACCESSION}")
    by_source = {row.source: cells(row) for row in rows}
    assert by_source == {f"bia:{ACCESSION}/x/a.zarr": V2, f"bia:{ACCESSION}/b.tif": [""] * 7}
    assert context.warnings == []


DAMAGED = {
    "a group that NGFF does not describe": {".zattrs": {"a": 1}},
    "a group without attributes": {".zgroup": {"zarr_format": 2}},
    "a plate without its wells": {".zattrs": {"plate": {"wells": [{"path": "A/1"}]}}},
    "a plate that is none": {".zattrs": {"plate": 1}},
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_ome_zarr_does_not_end_the_listing_of_a_study(web, tmp_path, monkeypatch, what):
    replay(web, [entry(f"x/{name}.zarr", 99, kind="directory") for name in "abc"])
    monkeypatch.setenv(bia.API_VARIABLE, f"{web.url}/api")
    monkeypatch.setenv(bia.STORE_VARIABLE, web.url)
    for name in "ac":
        image_v2(web.root / FILES / f"x/{name}.zarr")
    for key, document in DAMAGED[what].items():
        write(web.root / FILES / "x/b.zarr" / key, document)
    rows, context = run(tmp_path, f"bia:{ACCESSION}")
    assert [row.source for row in rows] == [f"bia:{ACCESSION}/x/{name}.zarr" for name in "abc"]
    assert [cells(row) for row in rows] == [V2, [""] * 7, V2]
    told = f"missing or damaged metadata: bia:{ACCESSION}/x/b.zarr"
    assert [warning.endswith(told) for warning in context.warnings] == [True]


def test_a_server_that_refuses_ends_the_listing_of_a_study(web, tmp_path, monkeypatch):
    replay(web, [entry("x/a.zarr", 99, kind="directory")])
    monkeypatch.setenv(bia.API_VARIABLE, f"{web.url}/api")
    monkeypatch.setenv(bia.STORE_VARIABLE, web.url)
    image_v2(web.root / FILES / "x/a.zarr")
    web.faults[f"/{FILES}/x/a.zarr/full/.zarray"] = [400]
    with pytest.raises(RemoteError, match="400"):
        run(tmp_path, f"bia:{ACCESSION}")
