"""The step list-images on OME-Zarrs, here and on web servers: every image a row."""

import pytest

from galaxy_samples import zipped
from listed import ids, run, tiff, zarr, zarr_image
from webserver import serve


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_an_ome_zarr_is_one_image_and_is_not_searched(tmp_path, data):
    zarr_image(data / "a.zarr")
    rows, context = run(tmp_path, "data", recursive=True)
    assert [(row.image_id, row.source, row.series) for row in rows] == [
        ("a.zarr", "data/a.zarr", "")
    ]
    assert context.warnings == []


def test_a_plate_has_a_row_for_each_field(tmp_path, data):
    wells = [{"path": "A/1"}, {"path": "B/2"}]
    zarr(data / "p.zarr", {"plate": {"name": "P 1", "wells": wells}})
    for well in ("A/1", "B/2"):
        zarr(data / "p.zarr" / well, {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
        for field in "01":
            zarr_image(data / "p.zarr" / well / field)
    rows, _ = run(tmp_path, "data/p.zarr")
    cells = [(row.series, row.plate, row.well, row.field) for row in rows]
    assert cells == [
        ("A/1/0", "P 1", "A1", "0"),
        ("A/1/1", "P 1", "A1", "1"),
        ("B/2/0", "P 1", "B2", "0"),
        ("B/2/1", "P 1", "B2", "1"),
    ]


def test_a_damaged_field_leaves_the_others_their_rows(tmp_path, data):
    zarr(data / "c.zarr", {"bioformats2raw.layout": 3})
    zarr_image(data / "c.zarr" / "0")
    zarr(data / "c.zarr" / "1", {"multiscales": []})
    rows, context = run(tmp_path, "data/c.zarr")
    assert [row.series for row in rows] == ["0", "1"]
    assert "will fail" in context.warnings[0]


def test_urls(tmp_path):
    site = tmp_path / "site"
    tiff(site / "a.tif")
    zarr(site / "c.zarr", {"bioformats2raw.layout": 3})
    zarr_image(site / "c.zarr" / "0")
    zarr_image(site / "c.zarr" / "1")
    zarr_image(site / "one.zarr")
    with serve(site) as web:
        sources = [f"{web.url}/{name}" for name in ("a.tif", "c.zarr", "one.zarr")]
        rows, _ = run(tmp_path, *sources)
    assert [row.source.removeprefix(web.url) for row in rows] == [
        "/a.tif",
        "/c.zarr/0",
        "/c.zarr/1",
        "/one.zarr",
    ]
    assert [row.series for row in rows] == [""] * 4
    assert ids(rows)[0] == "a"
    assert ids(rows)[3] == "one.zarr"
    assert rows[1].name == "c.zarr [0]"


def test_zip_files_of_an_ome_zarr_are_listed_by_their_content(tmp_path, data):
    zarr_image(tmp_path / "made.ome.zarr")
    paths = [path for path in (tmp_path / "made.ome.zarr").rglob("*") if path.is_file()]
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in paths}
    for name in ("a.ome.zarr.zip", "b.ozx", "c.dat"):
        (data / name).write_bytes(zipped(files))
    (data / "notes.zip").write_bytes(zipped({"readme.txt": b"none"}))
    (data / "cut.ozx").write_bytes(zipped(files)[:200])
    rows, context = run(tmp_path, str(data))
    assert [row.name for row in rows] == ["a.ome.zarr.zip", "b.ozx", "c.dat", "cut.ozx"]
    warnings = " ".join(context.warnings)
    assert "cut.ozx" in warnings
    assert "notes.zip" in warnings
    assert "b.ozx" not in warnings
