"""Images of an OMERO server come as their files or as their raw pixels, whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.omero.server.control import Control

from omero_process import OwnServer
from parfocal.core.step import Context
from parfocal.engine import run_step
from parfocal.errors import ConfigurationError, InputError, RemoteError
from parfocal.images import open_image
from parfocal.models.manifest import read_manifest
from parfocal.models.sheet import Row, write_sheet
from parfocal.steps import fetch_image, load_step

SHAPE = (2, 3, 2, 40, 50)
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]

Fetch = Callable[..., Path]


def pixels_of(dtype: str = "uint16", shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return pixels that differ from their neighbours, negative ones too."""
    numbers = np.arange(np.prod(shape)).reshape(shape) % 251
    signed = np.dtype(dtype).kind in "if"
    return (numbers - 100 if signed and dtype != "int8" else numbers % 120).astype(dtype)


@pytest.fixture
def seed(faults: Control, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Import images with files; returns the ids."""

    def make(*arrays: np.ndarray, files: list[Path] | None = None, **series: Any) -> dict[str, Any]:
        told = []
        for number, array in enumerate(arrays):
            path = tmp_path / f"array{number}.npy"
            np.save(path, array)
            told.append({"npy": str(path), "name": f"cells {number} 🧫", **series})
        if files is None:
            files = [tmp_path / "unreadable.xyz"]
            files[0].write_bytes(b"no image")
        names = [str(path) for path in files]
        return faults.seed("import", files=names, series=told, user="alice", group="annotate")

    return make


@pytest.fixture
def fetch(logged_in: str, tmp_path: Path) -> Fetch:
    """Run fetch-image on an image of the server; returns the folder of originals."""

    def run(image: int, **params: Any) -> Path:
        folder = tmp_path / f"original{image}"
        chosen = {"source": f"{logged_in}/image/{image}", **params}
        run_step(load_step("fetch-image"), {}, {"original": folder}, chosen)
        return folder

    return run


def read(folder: Path) -> np.ndarray:
    with open_image(folder / read_manifest(folder).primary) as image:
        return image.read(tuple(slice(0, size) for size in image.shape5))


@pytest.mark.parametrize("dtype", TYPES)
def test_raw_pixels_come_as_they_are(seed: Callable[..., Any], fetch: Fetch, dtype: str) -> None:
    sent = pixels_of(dtype)
    folder = fetch(seed(sent)["images"][0], pixels="raw")
    found = read(folder)
    assert found.dtype == sent.dtype
    np.testing.assert_array_equal(found, sent)


def test_why_the_file_was_not_taken_is_told(
    seed: Callable[..., Any], logged_in: str, tmp_path: Path
) -> None:
    source = f"{logged_in}/image/{seed(pixels_of())['images'][0]}"
    context = Context(scratch=tmp_path, row=Row(image_id="a", source=source))
    params = fetch_image.FetchImageParams()
    fetch_image.STEP.run({}, {"original": tmp_path / "original"}, params, context)
    assert context.details["omero"]["pixels"] == "raw"
    assert "cannot be read here" in context.details["omero"]["why_not_original"]
    assert any("raw pixels are read instead" in warning for warning in context.warnings)
    assert not (tmp_path / "original" / "files").exists()


def test_raw_pixels_are_converted_as_they_are(
    seed: Callable[..., Any], fetch: Fetch, tmp_path: Path
) -> None:
    folder = fetch(seed(pixels_of(), channels=["DAPI", "GFP", "RFP"])["images"][0], pixels="raw")
    outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
    run_step(load_step("convert-image"), {"source": folder}, outputs, {})
    with open_image(outputs["image"]) as image:
        assert [channel.name for channel in image.metadata.channels] == ["DAPI", "GFP", "RFP"]
        found = image.read(tuple(slice(0, size) for size in image.shape5))
    np.testing.assert_array_equal(found, pixels_of())


def test_images_of_a_batch_share_their_logins(
    seed: Callable[..., Any],
    logged_in: str,
    faults: Control,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PARFOCAL_OMERO_CONNECTIONS", "1")
    made = seed(*[pixels_of() + number for number in range(3)])
    sources = [f"{logged_in}/image/{number}" for number in made["images"]]
    rows = [Row(image_id=f"i{number}", source=each) for number, each in enumerate(sources)]
    write_sheet(tmp_path / "samples.tsv", rows)
    since = faults.last()
    options = ["--sheet", "samples.tsv", "--folder", "results", "--outcome", "o.json"]
    command = [sys.executable, "-m", "parfocal", "fetch-image", *options]
    command += ["--batch", "0", "--batch-size", "3"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    outcome = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert [image["status"] for image in outcome["images"]] == 3 * ["done"]
    # One that asks, and one that reads pixels, whatever the number of images.
    assert len(faults.journal("Router", "createSession", since)) == 2


def test_a_large_file_tells_how_much_of_it_has_come(
    seed: Callable[..., Any], logged_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parfocal.omero.files._PIECE_BYTES", 500)
    plane = pixels_of(shape=(1, 1, 1, 30, 40))
    file = a_tiff(tmp_path / "first.tif", plane[0, 0, 0])
    number = seed(plane, files=[file])["images"][0]
    told: list[tuple[int, int]] = []
    run_step(
        load_step("fetch-image"),
        {},
        {"original": tmp_path / "original"},
        {"source": f"{logged_in}/image/{number}"},
        progress=lambda done, total: told.append((done, total)),
    )
    size = file.stat().st_size
    assert told[:2] == [(500, size), (1000, size)]
    assert told[-1] == (size, size)


def test_what_the_server_says_comes_along(seed: Callable[..., Any], fetch: Fetch) -> None:
    made = seed(
        pixels_of(),
        channels=["DAPI", "GFP", "RFP"],
        emission_nm=[461.5, 510, 590],
        colors=[[0, 0, 255, 255], [0, 255, 0, 255], [255, 0, 0, 255]],
        pixel_size_um={"x": 0.25, "y": 0.25, "z": 1.5},
    )
    folder = fetch(made["images"][0])
    with open_image(folder / read_manifest(folder).primary) as image:
        metadata = image.metadata
    assert metadata.name == "cells 0 🧫"
    assert [channel.name for channel in metadata.channels] == ["DAPI", "GFP", "RFP"]
    assert [channel.color for channel in metadata.channels] == ["0000FF", "00FF00", "FF0000"]
    assert (metadata.z_um, metadata.y_um, metadata.x_um) == (1.5, 0.25, 0.25)
    told = json.loads((folder / "omero.json").read_text("utf-8"))
    assert told["owner"] == "alice"
    assert told["group"]["name"] == "annotate"
    assert told["channels"][0]["logical"]["emissionWave"] == {"value": 461.5, "unit": "NANOMETER"}


def test_annotations_and_rois_come_along(
    seed: Callable[..., Any], fetch: Fetch, alice: Any, tmp_path: Path
) -> None:
    import omero
    from omero.gateway import MapAnnotationWrapper, TagAnnotationWrapper
    from omero.rtypes import rdouble, rint

    number = seed(pixels_of())["images"][0]
    image = alice.getObject("Image", number)
    pairs = MapAnnotationWrapper(alice)
    pairs.setNs("here")
    pairs.setValue([["key", "1"], ["key", "ü"]])
    pairs.save()
    image.linkAnnotation(pairs)
    tag = TagAnnotationWrapper(alice)
    tag.setValue("good")
    tag.save()
    image.linkAnnotation(tag)
    attached = tmp_path / "notes.txt"
    attached.write_text("hello")
    image.linkAnnotation(alice.createFileAnnfromLocalFile(str(attached), mimetype="text/plain"))
    roi, box = omero.model.RoiI(), omero.model.RectangleI()
    roi.image = omero.model.ImageI(number, False)
    box.x, box.y, box.width, box.height = (rdouble(value) for value in (1, 2, 3, 4))
    box.theZ = rint(1)
    roi.addShape(box)
    alice.getUpdateService().saveObject(roi)

    told = json.loads((fetch(number) / "omero.json").read_text("utf-8"))
    kinds = {each["kind"]: each for each in told["annotations"]}
    assert kinds["map"]["pairs"] == [["key", "1"], ["key", "ü"]]
    assert kinds["map"]["ns"] == "here"
    assert kinds["tag"]["textValue"] == "good"
    assert kinds["file"]["file"]["name"] == "notes.txt"
    assert kinds["file"]["file"]["size"] == 5
    (shape,) = told["rois"][0]["shapes"]
    assert (shape["kind"], shape["x"], shape["height"], shape["theZ"]) == ("rectangle", 1, 4, 1)


def a_tiff(path: Path, array: np.ndarray) -> Path:
    tifffile.imwrite(path, array)
    return path


def test_the_original_file_is_taken_where_it_holds_this_image_alone(
    seed: Callable[..., Any], fetch: Fetch, tmp_path: Path
) -> None:
    plane = pixels_of(shape=(1, 1, 1, 30, 40))
    file = a_tiff(tmp_path / "first.tif", plane[0, 0, 0])
    folder = fetch(seed(plane, files=[file])["images"][0])
    manifest = read_manifest(folder)
    assert manifest.primary == "files/first.tif"
    assert (folder / manifest.primary).read_bytes() == file.read_bytes()
    assert manifest.series is None


def two_series(path: Path) -> tuple[Path, list[np.ndarray]]:
    arrays = [pixels_of(shape=(1, 1, 1, 30, 40)), pixels_of(shape=(1, 1, 1, 20, 25)) + 7]
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for array in arrays:
            tiff.write(array[0, 0, 0], metadata={"axes": "YX"})
    return path, arrays


def test_of_several_images_in_one_file_the_pixels_are_read(
    seed: Callable[..., Any], fetch: Fetch, tmp_path: Path
) -> None:
    file, arrays = two_series(tmp_path / "both.ome.tif")
    made = seed(*arrays, files=[file])
    folder = fetch(made["images"][1])
    assert read_manifest(folder).primary.endswith(".ome.zarr")
    np.testing.assert_array_equal(read(folder), arrays[1])


def test_or_the_file_and_which_image_of_it(
    seed: Callable[..., Any], fetch: Fetch, tmp_path: Path
) -> None:
    file, arrays = two_series(tmp_path / "both.ome.tif")
    made = seed(*arrays, files=[file])
    folder = fetch(made["images"][1], pixels="original")
    assert read_manifest(folder).series
    outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
    run_step(load_step("convert-image"), {"source": folder}, outputs, {})
    with open_image(outputs["image"]) as image:
        found = image.read(tuple(slice(0, size) for size in image.shape5))
    np.testing.assert_array_equal(found, arrays[1])


@pytest.mark.parametrize("pixels", ["auto", "original"])
def test_a_file_that_is_not_the_image_is_not_taken(
    seed: Callable[..., Any], fetch: Fetch, tmp_path: Path, pixels: str
) -> None:
    file = a_tiff(tmp_path / "other.tif", np.zeros((7, 9), np.uint16))
    number = seed(pixels_of(), files=[file])["images"][0]
    if pixels == "original":
        with pytest.raises(InputError, match="cannot be taken"):
            fetch(number, pixels=pixels)
    else:
        np.testing.assert_array_equal(read(fetch(number)), pixels_of())


def test_a_file_that_may_not_be_downloaded_is_not_asked_for(
    seed: Callable[..., Any], fetch: Fetch, faults: Control, tmp_path: Path
) -> None:
    plane = pixels_of(shape=(1, 1, 1, 30, 40))
    number = seed(plane, files=[a_tiff(tmp_path / "first.tif", plane[0, 0, 0])])["images"][0]
    since = faults.last()
    faults.restrict_download()
    try:
        folder = fetch(number)
    finally:
        faults.restrict_download("+read", "+write", "+image")
    assert read_manifest(folder).primary.endswith(".ome.zarr")
    assert not faults.journal("RawFileStore", "read", since)


def test_a_damaged_original_is_not_taken_for_whole(
    seed: Callable[..., Any], fetch: Fetch, own_server: OwnServer, tmp_path: Path
) -> None:
    plane = pixels_of(shape=(1, 1, 1, 30, 40))
    number = seed(plane, files=[a_tiff(tmp_path / "first.tif", plane[0, 0, 0])])["images"][0]
    kept = max(own_server.folder.glob("**/first.tif"), key=lambda path: path.stat().st_mtime_ns)
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    with pytest.raises(RemoteError, match="not the same"):
        fetch(number)


def test_sources_that_are_no_image_or_not_there(fetch: Fetch, logged_in: str) -> None:
    with pytest.raises(InputError, match="no such image"):
        fetch(987_654)
    with pytest.raises(ConfigurationError, match="one image, not a dataset"):
        fetch(1, source=f"{logged_in}/dataset/1")


def test_an_image_without_pixels_is_refused(fetch: Fetch, alice: Any) -> None:
    import omero
    from omero.rtypes import rstring

    image = omero.model.ImageI()
    image.name = rstring("nothing")
    saved = alice.getUpdateService().saveAndReturnObject(image)
    with pytest.raises(InputError, match="cannot be read from the OMERO server"):
        fetch(saved.id.val)


def test_an_image_of_somebody_else_in_a_private_group_is_not_seen(
    fetch: Fetch, gateway: Callable[..., Any]
) -> None:
    bob = gateway("bob", group="private")
    made = bob.createImageFromNumpySeq(iter([np.zeros((4, 4), np.uint8)]), "hidden")
    with pytest.raises(InputError, match="may not see it"):
        fetch(made.getId())


@pytest.mark.parametrize("fault", ["drop", "kill_at"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_loss_in_the_middle_costs_one_tile(
    seed: Callable[..., Any],
    fetch: Fetch,
    faults: Control,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    when: str,
) -> None:
    monkeypatch.setenv("PARFOCAL_OMERO_CONNECTIONS", "1")
    number = seed(pixels_of())["images"][0]
    since = faults.last()
    getattr(faults, fault)("RawPixelsStore", "getTile", nth=5, when=when)
    np.testing.assert_array_equal(read(fetch(number, pixels="raw")), pixels_of())
    planes = SHAPE[0] * SHAPE[1] * SHAPE[2]
    assert planes <= len(faults.journal("RawPixelsStore", "getTile", since)) <= planes + 2


def test_a_server_that_is_away_for_a_while_is_waited_for(
    seed: Callable[..., Any], fetch: Fetch, faults: Control
) -> None:
    number = seed(pixels_of())["images"][0]
    rule = faults.delay("RawPixelsStore", "getTile", 0.1, times=1000)
    faults.be_away(4)
    np.testing.assert_array_equal(read(fetch(number, pixels="raw")), pixels_of())
    assert faults.seen(rule)


def test_large_planes_come_from_the_full_resolution(alice: Any, fetch: Fetch) -> None:
    plane = (np.arange(3300 * 3200, dtype=np.uint32) % 65_521).astype(np.uint16)
    plane = plane.reshape(3300, 3200)
    query = "select t from PixelsType t where t.value = 'uint16'"
    kind = alice.getQueryService().findByQuery(query, None)
    made = alice.getPixelsService().createImage(3200, 3300, 1, 1, [0], kind, "large", None)
    store = alice.c.sf.createRawPixelsStore()
    store.setPixelsId(alice.getObject("Image", made.val).getPixelsId(), True)
    for start in range(0, 3300, 256):
        rows = plane[start : start + 256]
        store.setTile(rows.astype(">u2").tobytes(), 0, 0, 0, 0, start, 3200, len(rows))
    store.save()
    store.close()
    np.testing.assert_array_equal(read(fetch(made.val))[0, 0, 0], plane)


def test_the_number_of_connections_is_checked(
    seed: Callable[..., Any], fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = seed(pixels_of())["images"][0]
    monkeypatch.setenv("PARFOCAL_OMERO_CONNECTIONS", "none")
    with pytest.raises(ConfigurationError, match="PARFOCAL_OMERO_CONNECTIONS"):
        fetch(number, pixels="raw")
