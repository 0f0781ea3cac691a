"""Of an image on an OMERO server a level or a region comes alone, and is certified as that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.omero.server.control import Control

from parfocal.core.step import Context
from parfocal.engine import run_step
from parfocal.errors import ConfigurationError, InputError
from parfocal.images import open_image
from parfocal.models.manifest import read_manifest
from parfocal.steps import fetch_image, load_step

SMALL = (2, 3, 2, 40, 50)
LARGE = (1, 2, 1, 3300, 3201)  # which OMERO keeps as a pyramid
REGION = {"t": [1, 2], "c": [0, 2], "z": [1, 2], "y": [7, 30], "x": [11, 50]}

Fetch = Callable[..., tuple[Path, Context]]


def pixels_of(shape: tuple[int, ...]) -> np.ndarray:
    """Return pixels that differ from their neighbours."""
    numbers = np.arange(np.prod(shape), dtype=np.uint32)
    return (numbers * 7 % 65_521).astype(np.uint16).reshape(shape)


@pytest.fixture
def seed(faults: Control, tmp_path: Path) -> Callable[[np.ndarray], int]:
    """Import an image with pixels of 0.25 x 0.25 x 1.5 µm; return its id."""

    def make(array: np.ndarray) -> int:
        (tmp_path / "a.xyz").write_bytes(b"no image")
        np.save(tmp_path / "a.npy", array)
        sizes = {"x": 0.25, "y": 0.25, "z": 1.5}
        told = {"npy": str(tmp_path / "a.npy"), "name": "cells", "pixel_size_um": sizes}
        names = ["DAPI", "GFP", "RFP"][: array.shape[1]]
        made = faults.seed(
            "import",
            files=[str(tmp_path / "a.xyz")],
            series=[told | {"channels": names}],
            user="alice",
            group="annotate",
        )
        return int(made["images"][0])

    return make


@pytest.fixture
def fetch(logged_in: str, tmp_path: Path) -> Fetch:
    """Run fetch-image on an image of the server."""

    def run(image: int, **params: Any) -> tuple[Path, Context]:
        context = Context(scratch=tmp_path)
        chosen = {"source": f"{logged_in}/image/{image}", **params}
        given = fetch_image.FetchImageParams.model_validate(chosen)
        fetch_image.STEP.run({}, {"original": tmp_path / "original"}, given, context)
        return tmp_path / "original", context

    return run


def read(folder: Path) -> np.ndarray:
    with open_image(folder / read_manifest(folder).primary) as image:
        return image.read(tuple(slice(0, size) for size in image.shape5))


def places(folder: Path) -> list[list[dict[str, Any]]]:
    """Return the transformations of the levels of what was fetched."""
    path = folder / read_manifest(folder).primary / "zarr.json"
    document = json.loads(path.read_text("utf-8"))
    datasets = document["attributes"]["ome"]["multiscales"][0]["datasets"]
    return [dataset["coordinateTransformations"] for dataset in datasets]


def test_a_region_is_that_of_the_image_and_nothing_else_comes(
    seed: Callable[[np.ndarray], int], fetch: Fetch, faults: Control
) -> None:
    array = pixels_of(SMALL)
    number = seed(array)
    since = faults.last()
    folder, context = fetch(number, region=REGION)
    np.testing.assert_array_equal(read(folder), array[1:2, 0:2, 1:2, 7:30, 11:50])
    assert len(faults.journal("RawPixelsStore", "getTile", since)) == 2  # one for each channel
    assert not faults.journal("RawFileStore", "read", since)  # the file is left where it is
    with open_image(folder / read_manifest(folder).primary) as image:
        assert [channel.name for channel in image.metadata.channels] == ["DAPI", "GFP"]
        assert (image.metadata.z_um, image.metadata.x_um) == (1.5, 0.25)
    assert places(folder)[0][1]["translation"] == [1.0, 0.0, 1.5, 7 * 0.25, 11 * 0.25]
    assert context.details["part"] == {"level": 0, "region": REGION}
    assert context.details["omero"]["pixels"] == "raw"
    assert (folder / "omero.json").is_file()


@pytest.mark.parametrize(
    ("params", "level"), [({"level": 3}, 3), ({"max_pixel_um": 1.9}, 2), ({"max_pixel_um": 2}, 3)]
)
def test_a_level_of_a_pyramid_comes_alone(
    seed: Callable[[np.ndarray], int], fetch: Fetch, params: dict[str, Any], level: int
) -> None:
    array, step = pixels_of(LARGE), 2**level
    folder, _ = fetch(seed(array), **params)
    np.testing.assert_array_equal(read(folder), array[..., ::step, ::step])
    with open_image(folder / read_manifest(folder).primary) as image:
        assert (image.metadata.y_um, image.metadata.x_um) == (0.25 * step, 0.25 * step)
    begin = 0.25 * (step - 1) / 2
    assert places(folder)[0][1]["translation"][-2:] == [begin, begin]


def test_a_region_of_a_level_goes_by_the_pixels_of_that(
    seed: Callable[[np.ndarray], int], fetch: Fetch
) -> None:
    array = pixels_of(LARGE)
    folder, _ = fetch(
        seed(array), level=1, region={"c": [1, 2], "y": [100, 140], "x": [1500, 1601]}
    )
    np.testing.assert_array_equal(read(folder), array[:, 1:2, :, 200:280:2, 3000:3201:2])
    begin = (0.25 / 2 + 100 * 0.5, 0.25 / 2 + 1500 * 0.5)
    assert tuple(places(folder)[0][1]["translation"][-2:]) == begin


def test_the_certificate_says_that_it_is_a_part(
    seed: Callable[[np.ndarray], int], fetch: Fetch, tmp_path: Path
) -> None:
    folder, _ = fetch(seed(pixels_of(SMALL)), region=REGION)
    outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
    run_step(load_step("convert-image"), {"source": folder}, outputs, {})
    certificate = json.loads((tmp_path / "c.json").read_text("utf-8"))
    assert certificate["part"] == {"level": 0, "region": REGION}
    assert certificate["verdict"] != "different"
    verified = {"verification": tmp_path / "v.json"}
    given = {"image": tmp_path / "i.ome.zarr", "source": folder}
    run_step(load_step("verify-image"), given, verified, {})
    found = json.loads((tmp_path / "v.json").read_text("utf-8"))
    assert found["part"] == certificate["part"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"level": 1}, "no such level.*the only one"),
        ({"region": {"x": [0, 51]}}, "beyond the level along X"),
        ({"max_pixel_um": 0.1}, "as small"),
        ({"level": 0, "pixels": "original"}, "no part can be fetched"),
    ],
)
def test_parts_that_are_not_there_are_refused(
    seed: Callable[[np.ndarray], int], fetch: Fetch, params: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected) as caught:
        fetch(seed(pixels_of(SMALL)), **params)
    assert "/image/" in str(caught.value)


def test_a_part_of_an_image_without_pixels_is_refused(fetch: Fetch, alice: Any) -> None:
    import omero
    from omero.rtypes import rstring

    image = omero.model.ImageI()
    image.name = rstring("nothing")
    saved = alice.getUpdateService().saveAndReturnObject(image)
    with pytest.raises(InputError, match="cannot be read from the OMERO server"):
        fetch(saved.id.val, level=0)


def test_a_lost_session_reads_the_same_level_on(
    seed: Callable[[np.ndarray], int],
    fetch: Fetch,
    faults: Control,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PARFOCAL_OMERO_CONNECTIONS", "1")
    array = pixels_of(LARGE)
    number = seed(array)
    lost = faults.kill_at("RawPixelsStore", "getTile", nth=2)
    folder, _ = fetch(number, level=2)
    assert faults.seen(lost) > 2
    np.testing.assert_array_equal(read(folder), array[..., ::4, ::4])
