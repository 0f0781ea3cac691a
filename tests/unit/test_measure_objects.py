"""The step measure-objects: both tables from real OME-Zarrs."""

from __future__ import annotations

import csv
import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from memory_images import save
from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.models.image import Channel
from parfocal.steps.measure_objects import STEP, MeasureObjectsParams

SIZES = {"y_um": 0.5, "x_um": 0.5}


@pytest.fixture
def inputs(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.zeros((2, 60, 70), np.uint32)
    labels[0, 3:9, 4:12], labels[0, 30:40, 60:], labels[1, 3:9, 5:13] = 2, 1, 7
    image = rng.integers(0, 4000, (2, 2, 60, 70)).astype(np.uint16)
    channels = (Channel(name="DAPI"), Channel(name="GFP 488"))
    return {
        "image": save(tmp_path / "image.ome.zarr", image, "TCYX", channels=channels, **SIZES),
        "labels": save(tmp_path / "nuclei.ome.zarr", labels, "TYX", labels=True, **SIZES),
    }


def run(inputs, folder, threads=1, **params):
    folder.mkdir()
    outputs = {"table": folder / "table.partial", "tsv": folder / "tsv.partial"}
    context = Context(scratch=folder, image_id="a-1", threads=threads)
    STEP.run(inputs, outputs, MeasureObjectsParams(**params), context)
    return outputs, context


def test_both_tables_hold_the_same_rows(inputs, tmp_path):
    outputs, context = run(inputs, tmp_path / "out", label_name="cells")
    table = pq.read_table(outputs["table"])
    assert context.warnings == []
    assert context.details == {"objects": 3}
    assert table["image_id"].to_pylist() == ["a-1"] * 3
    assert table["label_name"].to_pylist() == ["cells"] * 3
    assert table["t"].to_pylist() == [0, 0, 1]
    assert table["label"].to_pylist() == [1, 2, 7]
    assert table["area_um2"].to_pylist() == [25.0, 12.0, 12.0]
    assert table["touches_border"].to_pylist() == [True, False, False]
    assert "intensity_mean_GFP_488" in table.column_names
    with outputs["tsv"].open(newline="") as text:
        rows = list(csv.reader(text, delimiter="\t"))
    assert rows[0] == table.column_names
    for cells, values in zip(rows[1:], table.to_pylist(), strict=True):
        for cell, value in zip(cells, values.values(), strict=True):
            if value is None:
                assert cell == ""
            elif isinstance(value, bool):
                assert cell == str(value).lower()
            else:
                assert type(value)(cell) == value


def test_units_stand_in_the_schema(inputs, tmp_path):
    outputs, _ = run(inputs, tmp_path / "out")
    schema = pq.read_schema(outputs["table"])
    assert schema.field("area_um2").metadata[b"unit"] == b"um2"
    assert b'"centroid_x_um": "um"' in schema.metadata[b"parfocal.units"]
    assert all(schema.field(name).metadata[b"description"] for name in schema.names)


def test_the_bytes_are_always_the_same(inputs, tmp_path):
    found = set()
    for number, threads in enumerate((1, 2, 1)):
        outputs, _ = run(inputs, tmp_path / f"out{number}", threads)
        digest = [hashlib.sha256(path.read_bytes()).hexdigest() for path in outputs.values()]
        found.add(tuple(digest))
    assert len(found) == 1


def test_without_objects_both_tables_have_all_columns(inputs, tmp_path):
    empty = np.zeros((2, 60, 70), np.uint32)
    full, _ = run(inputs, tmp_path / "full")
    inputs["labels"] = save(tmp_path / "empty.ome.zarr", empty, "TYX", labels=True)
    outputs, context = run(inputs, tmp_path / "out")
    assert context.details == {"objects": 0}
    schema = pq.read_schema(outputs["table"])
    assert schema.equals(pq.read_schema(full["table"]), check_metadata=True)
    assert pq.read_table(outputs["table"]).num_rows == 0
    header = full["tsv"].read_text().splitlines()[0]
    assert outputs["tsv"].read_text() == header + "\n"


def test_unknown_sizes_and_nan_are_recorded_once(inputs, tmp_path):
    image = np.ones((2, 2, 60, 70), np.float32)
    image[:, 1, 5, 6] = np.nan
    inputs["image"] = save(tmp_path / "float.ome.zarr", image, "TCYX")
    outputs, context = run(inputs, tmp_path / "out")
    size, nan = context.warnings
    assert "pixel size along Y, X is not known" in size
    assert "2 pixels of objects in channel channel_1 are not finite" in nan
    table = pq.read_table(outputs["table"])
    assert table["area_um2"].null_count == 3
    assert table["area_px"].to_pylist() == [100, 48, 48]
    assert table["intensity_sum_channel_1"].to_pylist() == [100.0, 47.0, 47.0]
    assert outputs["tsv"].read_text().splitlines()[1].split("\t")[5] == ""


def test_labels_of_another_image_leave_no_table(inputs, tmp_path):
    other = np.zeros((2, 60, 71), np.uint32)
    inputs["labels"] = save(tmp_path / "other.ome.zarr", other, "TYX", labels=True)
    with pytest.raises(InputError, match=r"expected .*60, 70.*found .*60, 71"):
        run(inputs, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
