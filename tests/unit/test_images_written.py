"""What else than pixels is in a written OME-Zarr, and how those of others are read."""

from __future__ import annotations

import json

import numpy as np
import ome_zarr_models.v05
import pytest
import zarr
from ome_zarr_models.v04.image import ImageAttrs

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import ZarrOptions, list_images, open_image, write_ome_zarr
from parfocal.models.image import Channel
from written_images import (
    Memory,
    attributes_of,
    describe,
    noise,
)


def test_metadata_come_back(tmp_path):
    pixels = noise(2, 2, 3, 40, 50)
    metadata = describe(
        pixels,
        stage_x_um=-120.5,
        stage_y_um=0.0,
        z_um=0.3,
        y_um=0.11,
        x_um=0.1,
        time_increment_s=2.5,
        channels=(Channel(name="DNA", color="0000FF", emission_nm=461.0), Channel()),
    )
    for ngff in ("0.5", "0.4"):
        path = tmp_path / f"{ngff}.ome.zarr"
        texts = {"METADATA.ome.xml": b"<OME/>"}
        options = ZarrOptions(ngff=ngff)
        write_ome_zarr(path, metadata, Memory(pixels), options, original_metadata=texts)
        with open_image(path) as image:
            assert image.metadata == metadata
            assert image.original_metadata == texts
            assert image.warnings == ()
        assert [entry.metadata for entry in list_images(path)] == [metadata]


def test_rgb_comes_back(tmp_path):
    pixels = noise(1, 3, 1, 40, 50, dtype="uint8")
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="CYX", rgb=True), Memory(pixels))
    with open_image(tmp_path / "a") as image:
        assert image.metadata.rgb
        colors = [c["color"] for c in attributes_of(tmp_path / "a")["ome"]["omero"]["channels"]]
        assert colors == ["FF0000", "00FF00", "0000FF"]


def test_channels_without_a_colour_are_shown_by_their_emission(tmp_path):
    pixels = noise(1, 4, 1, 9, 9)
    emitted = [Channel(emission_nm=nm) for nm in (452, 520, 624)]
    channels = (*emitted, Channel(emission_nm=452, color="FFFFFF"))
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="CYX", channels=channels), Memory(pixels))
    colors = [c["color"] for c in attributes_of(tmp_path / "a")["ome"]["omero"]["channels"]]
    assert colors == ["0000FF", "00FF00", "FF0000", "FFFFFF"]
    with open_image(tmp_path / "a") as image:
        assert image.metadata.channels == channels


def test_scale_and_translation_of_levels(tmp_path):
    pixels = noise(1, 1, 2, 70, 90)
    metadata = describe(pixels, axes="ZYX", z_um=2.0, y_um=0.5, x_um=0.25)
    write_ome_zarr(tmp_path / "a", metadata, Memory(pixels), ZarrOptions(chunk_px=32))
    multiscale = attributes_of(tmp_path / "a")["ome"]["multiscales"][0]
    assert multiscale["axes"][1] == {"name": "y", "type": "space", "unit": "micrometer"}
    transforms = [d["coordinateTransformations"] for d in multiscale["datasets"]]
    assert transforms[0] == [{"type": "scale", "scale": [2.0, 0.5, 0.25]}]
    assert transforms[2] == [
        {"type": "scale", "scale": [2.0, 2.0, 1.0]},
        {"type": "translation", "translation": [0.0, 0.75, 0.375]},
    ]


def test_windows_span_the_values_of_each_channel(tmp_path):
    pixels = noise(1, 2, 1, 9, 9)
    pixels[0, 0], pixels[0, 1] = 7, 3
    pixels[0, 1, 0, 4, 4] = 900
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="CYX"), Memory(pixels))
    windows = [c["window"] for c in attributes_of(tmp_path / "a")["ome"]["omero"]["channels"]]
    assert windows == [
        {"min": 0, "max": 65535, "start": 7, "end": 8},
        {"min": 0, "max": 65535, "start": 3, "end": 900},
    ]


def test_what_is_unknown_has_no_unit(tmp_path):
    pixels = noise(1, 1, 1, 9, 9)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels))
    axes = attributes_of(tmp_path / "a")["ome"]["multiscales"][0]["axes"]
    assert all("unit" not in axis for axis in axes)
    with open_image(tmp_path / "a") as image:
        assert image.metadata.x_um is None


@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "TCZYX"])
def test_others_accept_and_open_it(tmp_path, axes):
    shape = [2 if a in axes else 1 for a in "TCZ"]
    pixels = noise(*shape, 70, 90)
    metadata = describe(pixels, axes=axes, x_um=0.5, y_um=0.5)
    for ngff in ("0.5", "0.4"):
        path = tmp_path / f"{ngff}.ome.zarr"
        write_ome_zarr(path, metadata, Memory(pixels), ZarrOptions(ngff=ngff, chunk_px=32))
        group = zarr.open_group(path, mode="r")
        if ngff == "0.5":
            ome_zarr_models.v05.Image.from_zarr(group)
        else:
            ImageAttrs.model_validate(group.attrs.asdict())
        np.testing.assert_array_equal(group["0"][:].reshape(pixels.shape), pixels)
        assert group["1"].shape[-2:] == (35, 45)


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f8", "|b1"])
def test_arrays_of_others_are_read_in_the_byte_order_and_type_of_this_machine(tmp_path, dtype):
    pixels = noise(40, 50).astype(dtype)
    group = zarr.open_group(tmp_path / "a", mode="w", zarr_format=2)
    array = group.create_array("0", shape=pixels.shape, chunks=(16, 16), dtype=dtype)
    array[:] = pixels
    levels = [{"path": "0"}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": ["y", "x"], "datasets": levels}]
    assert json.loads((tmp_path / "a/0/.zarray").read_text())["dtype"] == dtype
    with open_image(tmp_path / "a") as image:
        found = image.read(whole(image.shape5))[0, 0, 0]
        assert image.metadata.dtype == found.dtype.name
        assert bool(image.warnings) == (dtype == "|b1")
    assert found.dtype == np.dtype("uint8" if dtype == "|b1" else dtype).newbyteorder("=")
    np.testing.assert_array_equal(found, pixels)


def test_levels_halved_along_z_say_where_they_lie(tmp_path):
    pixels = noise(1, 1, 5, 70, 90)
    metadata = describe(pixels, axes="ZYX", z_um=2.0, y_um=0.5, x_um=0.25)
    options = ZarrOptions(chunk_px=16, halve_z=True)
    write_ome_zarr(tmp_path / "a", metadata, Memory(pixels), options)
    ome = attributes_of(tmp_path / "a")["ome"]
    last = ome["multiscales"][0]["datasets"][3]["coordinateTransformations"]
    assert last == [
        {"type": "scale", "scale": [16.0, 4.0, 2.0]},
        {"type": "translation", "translation": [7.0, 1.75, 0.875]},
    ]
    with open_image(tmp_path / "a") as image:
        assert image.halves_z
        assert [image.level(n).shape5[2] for n in range(image.levels)] == [5, 3, 2, 1]
        assert image.metadata.z_um == metadata.z_um


@pytest.mark.parametrize("along_z", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_the_metadata_tell_the_rule_of_the_pyramid(tmp_path, labels, along_z):
    pixels = noise(1, 1, 2, 40, 40)
    options = ZarrOptions(chunk_px=32, halve_z=along_z)
    metadata = describe(pixels, axes="ZYX")
    write_ome_zarr(tmp_path / "a", metadata, Memory(pixels), options, labels=labels)
    multiscale = attributes_of(tmp_path / "a")["ome"]["multiscales"][0]
    rule = multiscale["metadata"]["description"]
    if labels:
        assert multiscale["type"] == "nearest"
        assert rule.startswith("first of 2 by 2 by 2" if along_z else "upper left of 2 by 2")
    else:
        assert multiscale["type"] == "mean"
        assert rule.startswith("mean of 2 by 2 by 2" if along_z else "mean of 2 by 2 pixels")


def write_plate(path, pixels):
    """Write a plate of two wells with one field each."""
    wells = [{"path": f"A/{n}", "rowIndex": 0, "columnIndex": n - 1} for n in (1, 2)]
    path.mkdir()
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text(json.dumps({"plate": {"wells": wells}}))
    for n in (1, 2):
        well = path / "A" / str(n)
        image = {"well": {"images": [{"path": "0"}]}}
        options = ZarrOptions(ngff="0.4")
        write_ome_zarr(well / "0", describe(pixels, axes="YX"), Memory(pixels), options)
        (well / ".zattrs").write_text(json.dumps(image))


def test_the_images_of_a_plate_and_of_a_collection(tmp_path):
    pixels = noise(1, 1, 1, 8, 9)
    write_plate(tmp_path / "plate", pixels)
    assert [entry.series for entry in list_images(tmp_path / "plate")] == ["A/1/0", "A/2/0"]
    with pytest.raises(InputError, match="several images"):
        open_image(tmp_path / "plate")
    with open_image(tmp_path / "plate", "A/2/0") as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels)
    folder = tmp_path / "collection"
    for name in ("0", "1", "10"):
        write_ome_zarr(folder / name, describe(pixels, axes="YX"), Memory(pixels))
    group = {"zarr_format": 3, "node_type": "group"}
    layout = {"attributes": {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}}
    (folder / "zarr.json").write_text(json.dumps(group | layout))
    assert [entry.series for entry in list_images(folder)] == ["0", "1", "10"]


def test_texts_of_an_image_count_before_those_of_its_collection(tmp_path):
    pixels = noise(1, 1, 1, 8, 9)
    texts = {name: name.encode() for name in ("a", "b", "c", "d", "e")}
    write_ome_zarr(
        tmp_path / "0", describe(pixels, axes="YX"), Memory(pixels), original_metadata=texts
    )
    (tmp_path / "OME").mkdir()
    for name in (*texts, "f"):
        (tmp_path / "OME" / name).write_bytes(b"of the collection")
    layout = {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": layout}
    (tmp_path / "zarr.json").write_text(json.dumps(group))
    with open_image(tmp_path, "0") as image:
        assert image.original_metadata == texts | {"f": b"of the collection"}


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_translation_is_told_to_be_lost(tmp_path, everywhere):
    pixels = noise(1, 1, 1, 8, 9)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels))
    document = tmp_path / "a" / "zarr.json"
    content = json.loads(document.read_text())
    multiscale = content["attributes"]["ome"]["multiscales"][0]
    place = multiscale if everywhere else multiscale["datasets"][0]
    moved = {"type": "translation", "translation": [0.0, 12.5]}
    place.setdefault("coordinateTransformations", []).append(moved)
    document.write_text(json.dumps(content))
    with open_image(tmp_path / "a") as image:
        assert any("translation" in warning for warning in image.warnings)
