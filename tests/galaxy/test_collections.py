"""Tools that are mapped over collections: each image for itself, under its own name."""

from __future__ import annotations

import json
from pathlib import Path

import bioblend
import pytest
from tests.galaxy.configuration import ROOT
from tests.galaxy.history import History
from tests.galaxy.mapped_runs import elements, list_of, mapped, without_failed
from tests.galaxy.server import Galaxy

from parfocal.models.naming import image_id_of

DATA = ROOT / "galaxy_tools/segment_objects/test-data"
SEGMENT, MEASURE = "parfocal_segment_objects", "parfocal_measure_objects"
ODD_NAMES = [
    "$(touch parfocal-was-here)",
    "`touch parfocal-was-here`; 'x' \"y\"",
    "Zellkerne ä 核 & <b>.ome.zarr",
]


@pytest.fixture
def cells(history: History) -> str:
    """An image of six cells."""
    return history.upload(DATA / "cells.ome.zarr.zip", "ome_zarr.zip")


@pytest.fixture
def broken(history: History) -> str:
    """A Zarr that is no image."""
    return history.upload(DATA / "bare.ome.zarr.zip", "ome_zarr.zip")


def stderr(history: History, dataset: str) -> str:
    """Return what the job that made a dataset wrote to stderr."""
    job = history.api.datasets.show_dataset(dataset)["creating_job"]
    return str(history.api.jobs.show_job(job, full_details=True)["tool_stderr"] or "")


def test_a_broken_image_fails_alone(history: History, cells: str, broken: str) -> None:
    images = list_of(history, {"well A1": cells, "well A2": broken, "well A3": cells})
    segmented = mapped(history, SEGMENT, {"image": images})
    labels = elements(history, segmented["labels"])
    assert [(each.name, each.state) for each in labels] == [
        ("well A1", "ok"),
        ("well A2", "error"),
        ("well A3", "ok"),
    ]
    (line,) = stderr(history, labels[1].id).splitlines()
    assert line.startswith("parfocal: ERROR: The Zarr holds no image")
    assert not any(stderr(history, labels[place].id) for place in (0, 2))

    with pytest.raises(bioblend.ConnectionError, match="has entered an unusable state"):
        mapped(history, MEASURE, {"image": images, "labels": segmented["labels"]})
    whole = {
        "image": list_of(history, {"well A1": cells, "well A3": cells}),
        "labels": without_failed(history, segmented["labels"]),
    }
    tables = elements(history, mapped(history, MEASURE, whole)["tsv"])
    assert [(each.name, each.state) for each in tables] == [("well A1", "ok"), ("well A3", "ok")]
    for each in tables:
        rows = [line.split("\t") for line in history.text(each.id).splitlines()[1:]]
        assert [row[2] for row in rows] == list("123456")
        assert {row[0] for row in rows} == {image_id_of(each.name, each.name)}


def test_odd_names_are_harmless_and_kept(galaxy: Galaxy, history: History, cells: str) -> None:
    images = list_of(history, dict.fromkeys(ODD_NAMES, cells))
    segmented = mapped(history, SEGMENT, {"image": images})
    labels = elements(history, segmented["labels"])
    assert [(each.name, each.state) for each in labels] == [(name, "ok") for name in ODD_NAMES]
    records = elements(history, segmented["record"])
    assert [each.name for each in records] == ODD_NAMES
    ids = [json.loads(history.text(each.id))["image_id"] for each in records]
    assert ids == [image_id_of(name, name) for name in ODD_NAMES]
    assert len(set(ids)) == len(ids)
    assert not list(Path(galaxy.folder).rglob("parfocal-was-here"))


def test_an_empty_collection_gives_empty_collections(history: History) -> None:
    segmented = mapped(history, SEGMENT, {"image": list_of(history, {})})
    assert set(segmented) == {"labels", "record"}
    assert elements(history, segmented["labels"]) == []
    assert elements(history, segmented["record"]) == []
