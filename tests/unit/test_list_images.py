"""The step list-images: every image a row, none lost, and names that stay."""

import json

import pytest
from pydantic import ValidationError

from aperio_slide import write_slide
from listed import ids, run, tiff, zarr, zarr_image
from ome_tiff_set import write_set
from parfocal.errors import ConfigurationError, InputError
from parfocal.steps.list_images import ListImagesParams
from plate_files import write_cellvoyager, write_harmony, write_imagexpress


@pytest.fixture(autouse=True)
def _working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_a_folder_in_order_with_relative_sources(tmp_path, data):
    for name in ("b.tif", "a.tif", "Zähler (1).tif"):
        tiff(data / name)
    rows, context = run(tmp_path, "data")
    assert [row.source for row in rows] == ["data/Zähler (1).tif", "data/a.tif", "data/b.tif"]
    assert ids(rows)[1:] == ["a", "b"]
    assert rows[0].image_id.startswith("Zahler_1-")
    assert rows[0].name == "Zähler (1).tif"
    assert [row.series for row in rows] == ["", "", ""]
    assert context.warnings == []
    assert context.details["images"] == 3


def test_one_source_may_be_given_without_a_list():
    assert ListImagesParams(source="data").source == ("data",)
    with pytest.raises(ValidationError, match="at least 1"):
        ListImagesParams(source=())


def test_absolute_sources_stay_absolute(tmp_path, data):
    tiff(data / "a.tif")
    rows, _ = run(tmp_path, str(data))
    assert rows[0].source == str(data / "a.tif")
    rows, _ = run(tmp_path, f"file://{data}/a.tif")
    assert rows[0].source == str(data / "a.tif")


def test_more_files_change_no_other_image_id(tmp_path, data):
    tiff(data / "a.tif")
    tiff(data / "sub" / "a.tif")
    tiff(data / "scenes.tif", series=2)
    before = {
        row.source + row.series: row.image_id for row in run(tmp_path, "data", recursive=True)[0]
    }
    for name in ("0.tif", "a.tiff", "a.ome.tif", "A.tif", "sub/sub/a.tif", "aa/a.tif", "sub_a.tif"):
        tiff(data / name)
    rows, _ = run(tmp_path, "data", recursive=True)
    after = {row.source + row.series: row.image_id for row in rows}
    assert after.items() > before.items()
    assert len(set(after.values())) == len(after) == 11


def test_other_files_are_passed_over_and_told(tmp_path, data):
    tiff(data / "a.tif")
    tiff(data / "disguised.dat")
    tiff(data / "sub" / "b.tif")
    for name in ("notes.txt", "table.csv", "index-of-all.xml"):
        (data / name).write_bytes(b"text")
    rows, context = run(tmp_path, "data")
    assert [row.source for row in rows] == ["data/a.tif", "data/disguised.dat"]
    ignored, unsearched = context.warnings
    assert "3 file(s)" in ignored
    assert "data/index-of-all.xml" in ignored
    assert "data/sub" in unsearched


def test_linked_folders_are_not_searched_and_told(tmp_path, data):
    tiff(data / "a.tif")
    (data / "loop").symlink_to(data)
    rows, context = run(tmp_path, "data", recursive=True)
    assert ids(rows) == ["a"]
    assert "data/loop" in context.warnings[0]


@pytest.mark.parametrize("source", ["data", "data/**/*"])
def test_what_parfocal_leaves_behind_is_no_image(tmp_path, data, source):
    tiff(data / "a.tif")
    tiff(data / ".a.tif.0f.partial" / "a.tif")
    tiff(data / "._a.tif")
    zarr_image(data / ".b.zarr")
    zarr_image(data / "i" / "image.zarr")
    zarr_image(data / "i" / "image.zarr" / "labels" / "cells")
    for name in (".a.tif.stamp.json", ".a.tif.lease"):
        (data / name).write_text("{}")
    for name, mark in (("nuclei", {"image-label": {}}), ("cells", {"parfocal": {"source": {}}})):
        path = data / "i" / f"{name}.zarr"
        zarr_image(path)
        attributes = json.loads((path / ".zattrs").read_text()) | mark
        (path / ".zattrs").write_text(json.dumps(attributes))
    rows, context = run(tmp_path, source, recursive=True)
    assert [row.source for row in rows] == ["data/a.tif", "data/i/image.zarr"]
    (told,) = [one for one in context.warnings if "not searched" not in one]
    assert told.startswith("2 label image(s)")
    assert "data/i/cells.zarr, data/i/nuclei.zarr" in told
    (row,) = run(tmp_path, "data/i/nuclei.zarr")[0]  # by its very name it is what is wanted
    assert row.source == "data/i/nuclei.zarr"


def test_the_pictures_beside_a_slide_are_left_out_and_told(tmp_path, data):
    write_slide(data / "s.svs")
    rows, context = run(tmp_path, "data")
    assert [(row.source, row.series) for row in rows] == [("data/s.svs", "")]
    assert "3 picture(s)" in context.warnings[0]
    assert "s.svs: Label" in context.warnings[0]


def test_suffixes_in_capitals(tmp_path, data):
    for name in ("UPPER.TIFF", "a.TIF", "a.tif", "b.tiff", "b.TIFF", "-dash.tif"):
        tiff(data / name)
    found = {row.source.removeprefix("data/"): row.image_id for row in run(tmp_path, "data")[0]}
    assert found.pop("-dash.tif").startswith("dash-")
    assert found == {
        "UPPER.TIFF": "UPPER",
        "a.TIF": "a.TIF",
        "a.tif": "a",
        "b.tiff": "b",
        "b.TIFF": "b.TIFF",
    }


def test_the_number_of_rows_is_logged(tmp_path, data, caplog):
    tiff(data / "a.tif")
    tiff(data / "b.tif")
    with caplog.at_level("INFO", "parfocal"):
        run(tmp_path, "data")
    assert caplog.messages == ["2 rows in out.tsv"]


def test_damaged_images_keep_their_row(tmp_path, data):
    tiff(data / "good.tif")
    whole = (data / "good.tif").read_bytes()
    (data / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (data / "empty.tif").write_bytes(b"")
    (data / "text.tif").write_text("no image")
    (data / "later.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    zarr(data / "broken.zarr", {})
    rows, context = run(tmp_path, "data")
    assert ids(rows) == ["broken.zarr", "cut", "empty", "good", "later.png", "text"]
    assert len(context.warnings) == 5
    assert all("will fail" in warning for warning in context.warnings)


def test_a_file_of_several_images_has_a_row_for_each(tmp_path, data):
    tiff(data / "scenes.tif", series=3)
    rows, _ = run(tmp_path, "data/scenes.tif")
    assert [row.series for row in rows] == ["0", "1", "2"]
    assert {row.source for row in rows} == {"data/scenes.tif"}
    assert len(set(ids(rows))) == 3
    assert all(row.name.startswith("scenes.tif [") for row in rows)


@pytest.mark.parametrize("sources", [["data"], ["data/z0.ome.tif", "data/z1.ome.tif"]])
def test_the_files_of_a_set_are_one_image(tmp_path, data, sources):
    write_set(data)
    rows, context = run(tmp_path, *sources)
    assert [row.source for row in rows] == ["data/z0.ome.tif"]
    assert "data/z1.ome.tif" in context.warnings[0]


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("write", [write_imagexpress, write_harmony, write_cellvoyager])
def test_a_plate_of_files_has_a_row_for_each_field(tmp_path, data, write, recursive):
    index = write(data)
    tiff(data / "Notes.tif")
    rows, context = run(tmp_path, "data", recursive=recursive)
    assert {row.source for row in rows} == {"data/Notes.tif", f"data/{index.name}"}
    fields = [row for row in rows if row.plate]
    assert len(rows) == 5
    assert len(set(ids(rows))) == 5
    assert [(row.series, row.well, row.field) for row in fields] == [
        ("B02/1", "B02", "1"),
        ("B02/2", "B02", "2"),
        ("B03/1", "B03", "1"),
        ("B03/2", "B03", "2"),
    ]
    assert not any("not searched" in warning for warning in context.warnings)
    assert not any("will fail" in warning for warning in context.warnings)


def test_copies_of_an_index_are_parts_of_the_plate(tmp_path, data):
    index = write_imagexpress(data / "z" / "plate", steps=2)
    (index.parent / "TimePoint_1" / index.name).write_bytes(index.read_bytes())
    (index.parent / "TimePoint_1" / "ZStep_1" / index.name).write_bytes(index.read_bytes())
    rows, _ = run(tmp_path, "data", recursive=True)
    assert {row.source for row in rows} == {"data/z/plate/plate.HTD"}
    assert len(rows) == 4


def test_a_plate_that_is_not_whole_keeps_its_rows(tmp_path, data):
    index = write_imagexpress(data)
    (data / "TimePoint_1" / "plate_B03_s2_w1.TIF").unlink()
    rows, context = run(tmp_path, str(index))
    assert len(rows) == 4
    (told,) = context.warnings
    assert "will fail" in told
    assert "plate_B03_s2_w1.TIF" in told


def test_plates_of_one_name_are_told_apart(tmp_path, data):
    for name in ("one", "two"):
        write_imagexpress(data / name, waves=1, fields=1)
    rows, context = run(tmp_path, "data", recursive=True)
    assert {row.plate for row in rows} == {"plate one", "plate two"}
    assert len(set(ids(rows))) == len(rows) == 4
    assert any("several plates" in warning for warning in context.warnings)


def test_one_field_alone_is_on_its_plate(tmp_path, data):
    index = write_imagexpress(data, waves=1, fields=1)
    text = index.read_text()
    index.write_text(text.replace("FALSE, TRUE, TRUE", "FALSE, TRUE, FALSE"))
    for file in (data / "TimePoint_1").glob("plate_B03*"):
        file.unlink()
    (row,) = run(tmp_path, str(index))[0]
    assert (row.series, row.plate, row.well, row.field) == ("", "plate", "B02", "1")


def test_a_file_set_is_listed_by_its_description(tmp_path, data):
    for well in ("A1", "A2"):
        tiff(data / f"{well}.tif")
    (data / "my.fileset.yaml").write_text('pattern: "{well}.tif"\n')
    rows, _ = run(tmp_path, "data")
    assert [(row.source, row.series) for row in rows] == [
        ("data/my.fileset.yaml", "A01"),
        ("data/my.fileset.yaml", "A02"),
    ]


def test_globs_and_names_that_look_like_globs(tmp_path, data):
    for name in ("a1.tif", "a2.tif", "b.tif", "c[1].tif"):
        tiff(data / name)
    assert ids(run(tmp_path, "data/a?.tif")[0]) == ["a1", "a2"]
    assert len(run(tmp_path, "**/*.tif")[0]) == 4
    (row,) = run(tmp_path, "data/c[1].tif")[0]
    assert row.source == "data/c[1].tif"


def test_what_was_asked_for_is_told_where_nothing_is_so(tmp_path, data):
    tiff(data / "a.tif")
    with pytest.raises(InputError, match=r"expected a name like 'b\*'\. List another folder"):
        run(tmp_path, "data", pattern="b*")
    with pytest.raises(InputError, match=r"expected .*, tag 'good'; found 1 image\(s\) without"):
        run(tmp_path, "data", tags=["good"])


def test_a_pattern_chooses_in_folders(tmp_path, data):
    for name in ("a_w1.tif", "a_w2.tif", "mask.tif"):
        tiff(data / name)
    assert ids(run(tmp_path, "data", pattern="*_w?.tif")[0]) == ["a_w1", "a_w2"]


def test_several_sources_and_one_named_twice(tmp_path, data):
    tiff(data / "a.tif")
    tiff(tmp_path / "more" / "a.tif")
    rows, context = run(tmp_path, "data", "more", "data/a.tif")
    assert [row.source for row in rows] == ["data/a.tif", "more/a.tif"]
    assert rows[0].image_id == "a"
    assert rows[1].image_id.startswith("a-")
    assert "data/a.tif" in context.warnings[0]


def test_a_sheet_keeps_its_rows_and_free_columns(tmp_path, data):
    tiff(data / "a.tif")
    tiff(data / "s.tif", series=2)
    lines = ["image_id\tsource\tseries\tdose", "one\tdata/a.tif\t\t5", "two\tdata/s.tif\t\t7"]
    lines += ["three\tdata/s.tif\t1\t9", "gone\tdata/gone.tif\t\t1"]
    (tmp_path / "in.tsv").write_text("\n".join(lines) + "\n")
    rows, context = run(tmp_path, "in.tsv")
    assert [row.free["dose"] for row in rows] == ["5", "7", "7", "9", "1"]
    assert ids(rows)[0] == "one"
    assert ids(rows)[1].startswith("two_0-")
    assert [row.series for row in rows] == ["", "0", "1", "1", ""]
    assert "data/gone.tif" in context.warnings[0]


def test_one_image_id_for_two_images_is_refused(tmp_path, data):
    tiff(data / "a.tif")
    tiff(data / "b.tif")
    (tmp_path / "in.tsv").write_text("image_id\tsource\na\tdata/b.tif\n")
    with pytest.raises(ConfigurationError, match=r"data/a\.tif.*data/b\.tif"):
        run(tmp_path, "data/a.tif", "in.tsv")


def test_names_that_look_like_uris(tmp_path):
    tiff(tmp_path / "idr:1.tif")
    assert run(tmp_path, "*.tif")[0][0].source == "./idr:1.tif"


def test_names_that_a_sheet_cannot_hold_are_left_out_and_all_told(tmp_path, data):
    tiff(data / "good.tif")
    strange = [f"tab{number}\t.tif" for number in range(11)]
    strange += ["line\n.tif", b"caf\xe9.tif".decode(errors="surrogateescape")]
    for name in strange:
        tiff(data / name)
    rows, context = run(tmp_path, "data")
    assert ids(rows) == ["good"]
    (told,) = context.warnings
    assert told.startswith("13 file(s)")
    assert "rename" in told
    assert all(repr(f"data/{name}") in told for name in strange)


@pytest.mark.parametrize("source", ["nowhere", "data", "data/*.tif", "nowhere.tsv"])
def test_a_source_without_images_is_an_error(tmp_path, data, source):
    with pytest.raises(InputError) as caught:
        run(tmp_path, source)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
