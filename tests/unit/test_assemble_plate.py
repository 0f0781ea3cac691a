"""Fields in one plate: valid, readable, sharing their files, and nothing left out in silence."""

import errno
import json
import os

import numpy as np
import ome_zarr.io
import ome_zarr.reader
import pytest
import zarr
from yaozarrs import validate_zarr_store

from memory_images import MemoryImage
from ngff_models import open_ome_zarr
from parfocal.core.digest import digest_path
from parfocal.core.publish import write_json
from parfocal.core.step import Context
from parfocal.engine import run_step
from parfocal.errors import ConfigurationError, InputError
from parfocal.images import ZarrOptions, list_images, open_image, write_ome_zarr
from parfocal.images.writers.plate import parse_well
from parfocal.models.image import Channel, ImageMetadata
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.sheet import Row, write_sheet
from parfocal.steps.assemble_plate import STEP, AssemblePlateParams


def convert(folder, image_id, value=0, ngff="0.5", size=24, name="image", channel="DAPI"):
    """Write an image as convert-image leaves it."""
    pixels = np.full((1, 1, 1, size, 30), value, np.uint16)
    pixels[..., 0, 0] = 7
    metadata = ImageMetadata(
        name=image_id,
        axes="CYX",
        shape=(1, size, 30),
        dtype="uint16",
        y_um=0.5,
        x_um=0.5,
        channels=(Channel(name=channel),),
    )
    path = folder / "images" / image_id / f"{name}.ome.zarr"
    write_ome_zarr(path, metadata, MemoryImage(pixels), ZarrOptions(ngff=ngff, chunk_px=16))
    return path


PLACES = [("B02", "1"), ("B02", "2"), ("B03", "1"), ("B03", "2"), ("D11", "1"), ("D11", "2")]


def plate(folder, places=PLACES, ngff="0.5", **options):
    rows = []
    for number, (well, field) in enumerate(places):
        image_id = f"i{number}"
        convert(folder / "results", image_id, 10 + number, ngff, **options)
        source = {"source": "x.tif", "plate": "P 1", "well": well, "field": field}
        rows.append(Row(image_id=image_id, **source))
    write_sheet(folder / "samples.tsv", rows)
    return rows


def assemble(folder, **params):
    target = folder / "plate.ome.zarr"
    context = Context(scratch=folder)
    inputs = {"results": folder / "results", "sheet": folder / "samples.tsv"}
    STEP.run(inputs, {"plate": target}, AssemblePlateParams(**params), context)
    return target, context


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_plate_is_valid_and_read_as_one(tmp_path, ngff):
    plate(tmp_path, ngff=ngff)
    target, context = assemble(tmp_path)
    open_ome_zarr(zarr.open_group(target, mode="r"))
    validate_zarr_store(str(target))
    (reader,) = [n for n in ome_zarr.reader.Reader(ome_zarr.io.parse_url(target))() if n.data][:1]
    assert reader.data[0].shape[-2] >= 24
    entries = list_images(target)
    assert [entry.series for entry in entries] == [
        f"{row}/{column}/{field}" for row, column in ("B2", "B3", ("D", "11")) for field in "12"
    ]
    for number, entry in enumerate(entries):
        with open_image(target, entry.series) as image:
            block = image.read((slice(0, 1),) * 3 + (slice(5, 6), slice(0, 30)))
            assert (block == 10 + number).all()
            assert image.metadata.channels[0].name == "DAPI"
    assert context.details["wells"] == 3
    assert context.details["fields"] == 6
    assert context.warnings == []


def test_rows_and_columns_go_from_the_corner(tmp_path):
    plate(tmp_path)
    target, _ = assemble(tmp_path)
    ngff = json.loads((target / "zarr.json").read_text())["attributes"]["ome"]["plate"]
    assert [row["name"] for row in ngff["rows"]] == list("ABCD")
    assert [column["name"] for column in ngff["columns"]] == [str(n) for n in range(1, 12)]
    assert ngff["wells"][-1] == {"path": "D/11", "rowIndex": 3, "columnIndex": 10}
    assert ngff["name"] == "P 1"
    assert ngff["field_count"] == 2


def test_files_are_shared_and_images_stay_as_they_are(tmp_path):
    plate(tmp_path)
    image = tmp_path / "results/images/i4/image.ome.zarr"
    before = digest_path(image)
    target, context = assemble(tmp_path)
    assert digest_path(image) == before == digest_path(target / "D/11/1")
    key = next(path for path in sorted(image.glob("0/c/**/*")) if path.is_file())
    assert (target / "D/11/1" / key.relative_to(image)).samefile(key)
    assert context.details["copied"] == 0


def test_where_links_cannot_be_it_copies_and_tells(tmp_path, monkeypatch):
    plate(tmp_path, PLACES[:1])

    def refuse(*_):
        raise OSError(errno.EXDEV, "no")

    monkeypatch.setattr(os, "link", refuse)
    _, context = assemble(tmp_path)
    assert context.details["linked"] == 0
    if context.details["copied"]:
        assert "take up their space twice" in context.warnings[0]


def test_the_same_fields_in_any_order_give_the_same_bytes(tmp_path):
    rows = plate(tmp_path)
    first, _ = assemble(tmp_path)
    digest = digest_path(first)
    first.rename(tmp_path / "first")
    write_sheet(tmp_path / "samples.tsv", rows[::-1])
    second, _ = assemble(tmp_path)
    assert digest_path(second) == digest


def test_images_that_are_not_there_or_failed_are_named(tmp_path):
    rows = plate(tmp_path)
    (tmp_path / "results/images/i0/image.ome.zarr").rename(tmp_path / "away")
    states = ["failed" if number == 3 else "done" for number in range(len(rows))]
    images = [
        ImageOutcome(image_id=row.image_id, status=state)
        for row, state in zip(rows, states, strict=True)
    ]
    outcome = Outcome(step="convert-image", images=tuple(images))
    write_json(tmp_path / "results/outcomes/convert_image/0.json", outcome.model_dump())
    target, context = assemble(tmp_path)
    assert context.details["missing"] == ["i0", "i3"]
    assert "2 of 6 images of plate P 1 are not there and are left out: i0, i3" in context.warnings
    assert any("2 wells have fewer than 2 fields: B2 (1), B3 (1)" in w for w in context.warnings)
    assert len(list_images(target)) == 4


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"ngff": "0.4"}, "versions of NGFF"),
        ({"size": 25}, "sizes"),
        ({"channel": "GFP"}, "channels"),
    ],
)
def test_fields_that_differ_are_refused(tmp_path, other, told):
    plate(tmp_path, PLACES[:2])
    (tmp_path / "results/images/i1/image.ome.zarr").rename(tmp_path / "away")
    convert(tmp_path / "results", "i1", **other)
    with pytest.raises(InputError, match=f"The {told} of the fields of a plate differ") as caught:
        assemble(tmp_path)
    assert "i0 and i1" in str(caught.value)


@pytest.mark.parametrize("wells", [("B02", "B2"), ("B02", "b/2"), ("B02", "B02")])
def test_a_field_twice_is_refused(tmp_path, wells):
    plate(tmp_path, [(well, "1") for well in wells])
    with pytest.raises(InputError, match="has a field twice") as caught:
        assemble(tmp_path)
    assert "i0, i1" in str(caught.value)


def test_without_an_image_there_is_no_plate(tmp_path):
    write_sheet(tmp_path / "samples.tsv", [Row(image_id="a", source="x", plate="P", well="A1")])
    (tmp_path / "results").mkdir()
    with pytest.raises(InputError, match="None of the images"):
        assemble(tmp_path)


def test_the_plate_is_named_where_there_are_several(tmp_path):
    rows = plate(tmp_path, PLACES[:2])
    two = [rows[0], rows[1].model_copy(update={"plate": "P 2"})]
    write_sheet(tmp_path / "samples.tsv", two)
    with pytest.raises(ConfigurationError, match="not said which plate") as caught:
        assemble(tmp_path)
    assert "'P 1', 'P 2'" in str(caught.value)
    with pytest.raises(ConfigurationError, match="no such plate"):
        assemble(tmp_path, plate="P 3")
    _, context = assemble(tmp_path, plate="P 2")
    assert list(context.details["images"]) == ["i1"]


def test_with_labels_takes_what_assemble_image_made(tmp_path):
    plate(tmp_path, PLACES[:1])
    with pytest.raises(InputError, match="None of the images"):
        assemble(tmp_path, with_labels=True)
    convert(tmp_path / "results", "i0", 99, name="assembled")
    target, _ = assemble(tmp_path, with_labels=True)
    with open_image(target) as image:
        assert image.read((slice(0, 1),) * 3 + (slice(5, 6), slice(0, 1))).item() == 99


def test_run_as_a_step_it_leaves_a_record(tmp_path):
    plate(tmp_path, PLACES[:2])
    inputs = {"results": tmp_path / "results", "sheet": tmp_path / "samples.tsv"}
    target = tmp_path / "results/plates/P_1.ome.zarr"
    result = run_step(STEP, inputs, {"plate": target})
    assert result.digests["plate"] == digest_path(target)
    (record,) = (tmp_path / "results/records/assemble_plate/_run").glob("*.json")
    assert json.loads(record.read_text())["status"] == "done"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B02", ("B", 2)),
        ("b2", ("B", 2)),
        ("AF48", ("AF", 48)),
        ("B - 2", ("B", 2)),
        ("C/10", ("C", 10)),
    ],
)
def test_wells(text, expected):
    assert parse_well(text) == expected


@pytest.mark.parametrize("text", ["", "2B", "B", "B0", "ABC1", "B 2 3x"])
def test_what_is_no_well(text):
    with pytest.raises(InputError, match="well"):
        parse_well(text)
