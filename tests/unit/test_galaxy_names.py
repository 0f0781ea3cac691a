"""Files of Galaxy, whose paths say nothing, are seen under the names of their datasets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.cli.galaxy_names import names_of_inputs, read_file_names, told_by_names
from parfocal.engine import run_step
from parfocal.errors import ConfigurationError, InputError
from parfocal.steps.convert_image import STEP as CONVERT
from parfocal.steps.correct_illumination import STEP as CORRECT


def named(folder: Path, text: str) -> str:
    (folder / "name").write_text(text, encoding="utf-8")
    return f"source={folder / 'name'}"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a slide.czi\ndata", "a slide.czi"),
        ("a slide\nsvs\n", "a slide.svs"),
        ("cells 3.5 um\ntiff", "cells 3.5 um.tiff"),
        ("cells.lsm\ntiff", "cells.lsm"),
        ("brain\nnii1.gz", "brain.nii.gz"),
        ("notes\ndata", "notes"),
        ("a/b\\c.tif\ntiff", "a_b\\c.tif"),
        ("it's `$HOME`.nd2", "it's `$HOME`.nd2"),
        ("../../x.tif\nbinary", ".._.._x.tif"),
    ],
)
def test_the_name_is_that_of_the_dataset_with_a_suffix_that_tells(tmp_path, text, name):
    assert read_file_names(CONVERT, [named(tmp_path, text)]) == {"source": name}


def test_a_dataset_that_is_not_given_has_no_name(tmp_path):
    assert read_file_names(CONVERT, [named(tmp_path, "\n\n")]) == {}


@pytest.mark.parametrize("name", [".", "..", "é" * 128, "a\0b"])
def test_what_no_file_can_be_called_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match="Rename the dataset"):
        read_file_names(CONVERT, [named(tmp_path, name)])


@pytest.mark.parametrize("text", ["image=x", "source", "source=", "=x"])
def test_what_names_no_input_is_refused(text):
    with pytest.raises(ConfigurationError, match="PORT=FILE"):
        read_file_names(CONVERT, [text])


def test_the_step_sees_the_name_and_the_record_the_path(tmp_path):
    source = tmp_path / "data" / "dataset_1.dat"
    source.parent.mkdir()
    tifffile.imwrite(source, np.arange(64, dtype="uint8").reshape(8, 8))
    outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
    record = tmp_path / "r.json"
    names = {"source": "it's.tif"}
    run_step(CONVERT, {"source": source}, outputs, record=record, names=names)
    written = json.loads((tmp_path / "i.ome.zarr/zarr.json").read_text())
    assert written["attributes"]["ome"]["multiscales"][0]["name"] == "it's.tif"
    told = json.loads(record.read_text())
    assert [one["uri"] for one in told["inputs"]] == [str(source)]
    assert source.is_file()
    plain = tmp_path / "it's.tif"
    plain.write_bytes(source.read_bytes())
    again = {"image": tmp_path / "j.ome.zarr", "certificate": tmp_path / "d.json"}
    run_step(CONVERT, {"source": plain}, again, record=record)
    digests = {one["role"]: one["digest"] for one in told["outputs"]}
    assert digests == {
        one["role"]: one["digest"] for one in json.loads(record.read_text())["outputs"]
    }


def test_an_error_tells_the_name(tmp_path):
    source = tmp_path / "dataset_1.dat"
    source.write_bytes(b"II*\0 and no more")
    outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
    with pytest.raises(InputError, match=r"cells\.tif"):
        run_step(CONVERT, {"source": source}, outputs, names={"source": "cells.tif"})


def test_each_input_has_a_name_of_its_own(tmp_path):
    (tmp_path / "flat").write_text("a.tif")
    (tmp_path / "dark").write_text("a.tif")
    given = [f"flat_field={tmp_path / 'flat'}", f"dark_field={tmp_path / 'dark'}"]
    assert read_file_names(CORRECT, given) == {"flat_field": "a.tif", "dark_field": "a.tif"}


def test_errors_call_data_by_their_names():
    paths = {"image": "/data/dataset_1_files", "labels": "/data/dataset_1.dat"}
    names = names_of_inputs(paths, {"labels": "its labels"}, None)
    assert names == {"/data/dataset_1.dat": "its labels"}
    where = "/data/dataset_1.dat and '/jobs/7/.x-1/named-labels/a b.tif'"
    with pytest.raises(InputError) as told, told_by_names(names):
        raise InputError("It is wrong", where=where, found=["/jobs/7/input-image/x.zarr"])
    assert str(told.value) == "It is wrong: its labels and 'a b.tif'; found ['x.zarr']"


def test_in_galaxy_an_input_without_a_name_is_called_as_its_field_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = {
        "image": "/data/dataset_1.dat",
        "flat_field": "/data/dataset_2.dat",
        "results": "results",
    }
    assert names_of_inputs(paths, {"image": "cells"}, None) == {"/data/dataset_1.dat": "cells"}
    monkeypatch.setenv("PARFOCAL_ENGINE", "galaxy")
    assert names_of_inputs(paths, {"image": "cells"}, None) == {
        "/data/dataset_1.dat": "cells",
        "/data/dataset_2.dat": "'Flat field'",
    }


def test_the_first_input_is_called_as_the_image_is(tmp_path):
    (tmp_path / "name").write_text("cells ä\nome_zarr\n", encoding="utf-8")
    paths = {"image": "/data/dataset_1_files", "labels": "/data/dataset_1.dat"}
    names = names_of_inputs(paths, {}, tmp_path / "name")
    with pytest.raises(InputError) as told, told_by_names(names):
        raise InputError("It is wrong", where=Path("/data/dataset_1_files/image.ome.zarr"))
    assert str(told.value) == "It is wrong: cells ä/image.ome.zarr"


def test_without_names_errors_stay_as_they_are():
    with pytest.raises(InputError) as told, told_by_names({}):
        raise InputError("It is wrong", where="/data/named-image/a")
    assert str(told.value) == "It is wrong: /data/named-image/a"
