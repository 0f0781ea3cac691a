"""The step preview-image: pixels of known images, what it tells, and errors."""

from __future__ import annotations

import itertools
import json
import shutil

import imagecodecs
import numpy as np
import pytest
from pydantic import ValidationError

from memory_images import save
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.engine import run_step
from parfocal.errors import InputError
from parfocal.images import ZarrOptions, open_image
from parfocal.images.stores import ZarrLevel
from parfocal.models.image import Channel
from parfocal.report import levels, thumbnail
from parfocal.report.thumbnail import draw_picture
from parfocal.steps.preview_image import STEP, PreviewImageParams

BLUE, GREEN = Channel(name="DAPI", color="0000FF"), Channel(name="GFP", color="00FF00")
YELLOW = (255, 214, 10)
SMALL = ZarrOptions(chunk_px=32)
_numbers = itertools.count()


def run(folder, image, labels=None, threads=1, **params):
    """Run the step, and return its context and the path of the preview."""
    context = Context(scratch=folder, threads=threads)
    path = folder / f"preview{next(_numbers)}.png"
    inputs = {"image": image} | ({} if labels is None else {"labels": labels})
    STEP.run(inputs, {"preview": path}, PreviewImageParams.model_validate(params), context)
    return context, path


def pixels(folder, image, labels=None, **params):
    """Return the pixels of a preview."""
    return imagecodecs.png_decode(run(folder, image, labels, **params)[1].read_bytes())


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


def discs(planes, height=90, width=120):
    """Return labels (Z, Y, X) of two objects, which are largest in the second plane."""
    labels = np.zeros((planes, height, width), np.uint32)
    for z in range(planes):
        side = 40 if z == 1 else 20
        labels[z, 10 : 10 + side, 10 : 10 + side] = 1
        labels[z, 10 : 10 + side, 10 + side : 10 + 2 * side] = 2
    return labels


@pytest.fixture
def stack(tmp_path):
    """A stack of two channels with objects, and its labels."""
    image = noise((2, 5, 90, 120))
    path = save(tmp_path / "image.ome.zarr", image, "CZYX", channels=(BLUE, GREEN))
    return path, save(tmp_path / "labels.ome.zarr", discs(5), "ZYX", labels=True)


def test_each_channel_has_its_colour_and_pixels_stay_squares(tmp_path):
    image = np.array([[[0, 10], [0, 10]], [[7, 7], [9, 9]]], np.uint8)
    path = save(tmp_path / "image.ome.zarr", image, "CYX", channels=(BLUE, GREEN))
    context, preview = run(tmp_path, path, edge_px=17)
    shown = imagecodecs.png_decode(preview.read_bytes())
    expected = np.array([[(0, 0, 0), (0, 0, 255)], [(0, 255, 0), (0, 255, 255)]], np.uint8)
    np.testing.assert_array_equal(shown, expected.repeat(8, axis=0).repeat(8, axis=1))
    assert context.details == {
        "height_px": 16,
        "width_px": 16,
        "channels": ["DAPI", "GFP"],
        "colors": ["0000FF", "00FF00"],
        "plane": None,
        "planes_of_image": 1,
        "time_point": 0,
        "time_points_of_image": 1,
    }
    assert not context.warnings


def test_one_channel_is_grey(tmp_path):
    image = np.array([[[0, 255]], [[40, 20]]], np.uint8)
    path = save(tmp_path / "image.ome.zarr", image, "CYX", channels=(BLUE, GREEN))
    for chosen in (1, "1", "GFP"):
        shown = pixels(tmp_path, path, edge_px=16, channels=[chosen])
        assert shown.shape == (8, 16)
        assert shown[0, 0] == 255
        assert shown[0, -1] == 0


def test_channels_come_in_the_colours_of_their_own(tmp_path):
    image = np.array([[[9, 0]], [[0, 0]], [[0, 9]]], np.uint8)
    red = Channel(name="Cy5", color="FF0000")
    path = save(tmp_path / "image.ome.zarr", image, "CYX", channels=(BLUE, GREEN, red))
    context, preview = run(tmp_path, path, edge_px=16, channels=["Cy5", 0])
    shown = imagecodecs.png_decode(preview.read_bytes())
    assert (tuple(shown[0, 0]), tuple(shown[0, -1])) == ((0, 0, 255), (255, 0, 0))
    assert context.details["channels"] == ["Cy5", "DAPI"]


def test_channels_that_are_not_shown_are_told(tmp_path):
    path = save(tmp_path / "image.ome.zarr", noise((8, 10, 10)), "CYX")
    context, _ = run(tmp_path, path, edge_px=16)
    assert context.warnings == ["The image has 8 channels, and the first 6 are shown"]
    assert len(set(context.details["colors"])) == 6
    assert not run(tmp_path, path, edge_px=16, channels=[7])[0].warnings


@pytest.mark.parametrize("plane", [None, 3])
def test_of_a_stack_the_maximum_or_one_plane_is_drawn(tmp_path, plane):
    image = noise((5, 90, 120))
    flat = image.max(axis=0) if plane is None else image[plane]
    expected = pixels(tmp_path, save(tmp_path / "flat.ome.zarr", flat, "YX"))
    found = pixels(tmp_path, save(tmp_path / "image.ome.zarr", image, "ZYX"), plane=plane)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == (540, 720)


def test_a_plane_is_itself_where_levels_put_planes_together(tmp_path):
    image = noise((6, 300, 300))
    options = ZarrOptions(chunk_px=32, halve_z=True)
    deep = save(tmp_path / "image.ome.zarr", image, "ZYX", options=options)
    flat = save(tmp_path / "flat.ome.zarr", image[4], "YX")
    with open_image(deep) as opened:
        assert opened.halves_z
    first = tmp_path / "first.ome.zarr"
    shutil.copytree(flat, first)
    keep_first_level(first)
    found = pixels(tmp_path, deep, plane=4, edge_px=64)
    np.testing.assert_array_equal(found, pixels(tmp_path, first, edge_px=64))


def test_the_time_point_is_that_which_is_chosen(tmp_path):
    image, labels = noise((3, 2, 40, 40)), np.stack([discs(2, 40, 40)] * 3)
    labels[:2] = 0
    path = save(tmp_path / "image.ome.zarr", image, "TZYX")
    objects = save(tmp_path / "labels.ome.zarr", labels, "TZYX", labels=True)
    flat = save(tmp_path / "flat.ome.zarr", image[2, 1], "YX")
    edges = save(tmp_path / "edges.ome.zarr", labels[2, 1], "YX", labels=True)
    expected = pixels(tmp_path, flat, edges)
    np.testing.assert_array_equal(pixels(tmp_path, path, objects, time_point=2), expected)
    assert (expected == YELLOW).all(axis=-1).any()
    assert not (pixels(tmp_path, path, objects, time_point=1) == YELLOW).all(axis=-1).any()


def test_it_is_what_the_report_shows(tmp_path, stack):
    path, labels = stack
    with open_image(path) as image, open_image(labels) as objects:
        alone = draw_picture(image.metadata, image, None)
        outlined = draw_picture(image.metadata, image, objects)
    shown = pixels(tmp_path, path, edge_px=384)
    np.testing.assert_array_equal(shown, imagecodecs.png_decode(alone.png))
    expected = imagecodecs.png_decode(outlined.png)
    edges = imagecodecs.png_decode(outlined.outlines)[..., 3] > 0
    expected[edges] = YELLOW
    context, preview = run(tmp_path, path, labels, edge_px=384)
    np.testing.assert_array_equal(imagecodecs.png_decode(preview.read_bytes()), expected)
    assert context.details["plane"] == 1


def test_outlines_lie_on_the_edges_of_objects(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.zeros((1, 20, 20), np.uint8), "ZYX")
    objects = np.zeros((1, 20, 20), np.uint16)
    objects[0, 5:15, 5:15] = 3
    labels = save(tmp_path / "labels.ome.zarr", objects, "ZYX", labels=True)
    shown = pixels(tmp_path, image, labels, edge_px=20)
    expected = np.zeros((20, 20, 3), np.uint8)
    expected[5:15, 5:15] = YELLOW
    expected[6:14, 6:14] = 0
    np.testing.assert_array_equal(shown, expected)


def test_a_chosen_plane_has_the_outlines_of_that_plane(tmp_path, stack):
    path, labels = stack
    flat = noise((2, 5, 90, 120))[:, 3]
    one = save(tmp_path / "one.ome.zarr", flat, "CYX", channels=(BLUE, GREEN))
    edges = save(tmp_path / "edges.ome.zarr", discs(5)[3], "YX", labels=True)
    found = pixels(tmp_path, path, labels, plane=3)
    np.testing.assert_array_equal(found, pixels(tmp_path, one, edges))


def test_rgb_is_shown_as_it_is_and_its_channels_have_contrast(tmp_path):
    image = np.empty((3, 32, 32), np.uint8)
    image[:] = np.array([200, 100, 50])[:, None, None]
    image[0, 0] = 190
    path = save(tmp_path / "image.ome.zarr", image, "CYX", rgb=True)
    context, preview = run(tmp_path, path, edge_px=16, high_percentile=60)
    shown = imagecodecs.png_decode(preview.read_bytes())
    assert {tuple(pixel) for pixel in shown[1:].reshape(-1, 3)} == {(200, 100, 50)}
    assert tuple(shown[0, 0]) == (195, 100, 50)
    assert context.details["colors"] == ["FF0000", "00FF00", "0000FF"]
    red = pixels(tmp_path, path, edge_px=32, channels=[0])
    assert red.shape == (32, 32)
    assert (red[0] == 0).all()
    assert (red[1:] == 255).all()


def test_rgb_without_levels_keeps_its_range(tmp_path):
    image = np.empty((3, 100, 100), np.uint8)
    image[:] = np.array([200, 100, 50])[:, None, None]
    path = save(tmp_path / "image.ome.zarr", image, "CYX", rgb=True)
    assert set(map(tuple, pixels(tmp_path, path, edge_px=16).reshape(-1, 3))) == {(200, 100, 50)}


def test_percentiles_are_the_darkest_and_the_brightest(tmp_path):
    image = np.arange(0, 1001, dtype=np.uint16)[None]
    path = save(tmp_path / "image.ome.zarr", image, "YX")
    shown = pixels(tmp_path, path, edge_px=1001, low_percentile=20, high_percentile=60)[0]
    assert (shown[:201] == 0).all()
    assert shown[400] == 128
    assert (shown[600:] == 255).all()


def test_pixels_that_are_not_finite_are_dark_or_bright(tmp_path):
    image = np.array([[np.nan, np.inf], [0.25, 0.75]], np.float32)
    shown = pixels(tmp_path, save(tmp_path / "image.ome.zarr", image, "YX"), edge_px=16)
    assert [shown[0, 0], shown[0, -1], shown[-1, 0], shown[-1, -1]] == [0, 255, 0, 255]
    nothing = save(tmp_path / "nothing.ome.zarr", np.full((4, 4), np.nan), "YX")
    assert not pixels(tmp_path, nothing).any()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float32"])
def test_one_pixel_can_be_drawn(tmp_path, dtype):
    image = save(tmp_path / "image.ome.zarr", np.ones((1, 1), dtype), "YX")
    labels = save(tmp_path / "labels.ome.zarr", np.ones((1, 1), np.uint8), "YX", labels=True)
    assert pixels(tmp_path, image).shape == (768, 768)
    assert not pixels(tmp_path, image, labels).any()


def test_a_long_strip_stays_a_picture(tmp_path):
    image = save(tmp_path / "image.ome.zarr", noise((3, 5000)), "YX")
    assert pixels(tmp_path, image, edge_px=100).shape == (1, 100)


def keep_first_level(path):
    """Take all levels but the first away from an OME-Zarr."""
    file = path / "zarr.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    (multiscale,) = document["attributes"]["ome"]["multiscales"]
    for dataset in multiscale["datasets"][1:]:
        shutil.rmtree(path / dataset["path"])
    del multiscale["datasets"][1:]
    file.write_text(json.dumps(document), encoding="utf-8")


def test_an_image_without_levels_is_drawn_alike(tmp_path):
    y, x = np.mgrid[:300, :400]
    image = (1000 + 800 * np.sin(y / 25) * np.cos(x / 25)).astype(np.uint16)
    path = save(tmp_path / "image.ome.zarr", image, "YX", options=SMALL)
    objects = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((100, 100))).astype(np.uint32)
    labels = save(tmp_path / "labels.ome.zarr", objects, "YX", labels=True, options=SMALL)
    expected = pixels(tmp_path, path, edge_px=64)
    outlined = pixels(tmp_path, path, labels, edge_px=64)
    for one in (path, labels):
        keep_first_level(one)
    with open_image(path) as opened:
        assert opened.levels == 1
    found = pixels(tmp_path, path, edge_px=64)
    assert found.shape == expected.shape == (48, 64)
    assert np.abs(found.astype(int) - expected).max() <= 12
    edges = (pixels(tmp_path, path, labels, edge_px=64) == YELLOW).all(axis=-1)
    assert (edges == (outlined == YELLOW).all(axis=-1)).mean() > 0.9
    assert edges.any()


def test_of_an_image_without_levels_only_tiles_are_read(tmp_path, monkeypatch):
    folder = tmp_path / "one"
    path = save(folder / "image", noise((2, 700, 900)), "ZYX", options=SMALL)
    objects = np.ones((2, 700, 900), np.uint8)
    labels = save(folder / "labels", objects, "ZYX", labels=True, options=SMALL)
    for one in (path, labels):
        keep_first_level(one)
    read, before = [], ZarrLevel.read

    def told(level, region):
        read.append(before(level, region))
        return read[-1]

    monkeypatch.setattr(levels, "_TILE_PX", 100)
    monkeypatch.setattr(ZarrLevel, "read", told)
    assert pixels(folder, path, labels, edge_px=64).shape == (49, 64, 3)
    assert max(block.size for block in read) <= 110**2
    assert sum(block.size for block in read if block.dtype == np.uint16) == 700 * 900


def test_no_byte_depends_on_threads_chunks_or_what_is_read_at_once(tmp_path, monkeypatch):
    image = np.random.default_rng(1).normal(0, 1, (2, 5, 210, 300)).astype(np.float32)
    image[0, :, 7, 9] = np.nan
    objects = np.broadcast_to(np.arange(210 * 300).reshape(210, 300) // 7000, (5, 210, 300))
    found = set()
    for chunk_px, threads, read_bytes, tile_px in (
        (32, 1, 2**25, 1024),
        (64, 3, 1, 1),
        (32, 2, 10**5, 50),
    ):
        monkeypatch.setattr(thumbnail, "READ_BYTES", read_bytes)
        monkeypatch.setattr(levels, "_TILE_PX", tile_px)
        options = ZarrOptions(chunk_px=chunk_px)
        folder = tmp_path / f"{chunk_px}-{threads}"
        path = save(folder / "image", image, "CZYX", options=options)
        labels = save(
            folder / "labels", objects.astype(np.uint32), "ZYX", labels=True, options=options
        )
        chosen = run(folder, path, labels, threads, edge_px=64)[1]
        for one in (path, labels):
            keep_first_level(one)
        shrunk = run(folder, path, labels, threads, edge_px=64)[1]
        found.add((digest_path(chosen), digest_path(shrunk)))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"channels": ["RFP"]}, r"no such channel: image\.ome; expected 0 .*; found 'RFP'"),
        ({"channels": [2]}, "no such channel"),
        ({"channels": ["DAPI", 0]}, r"A channel is chosen twice: channels; found 0\."),
        ({"plane": 5}, r"no such plane: image\.ome, plane; expected 0 to 4; found 5"),
        ({"time_point": 1}, r"no such time point: image\.ome, time_point; expected 0 to 0"),
    ],
)
def test_what_the_image_does_not_have_is_an_error(tmp_path, stack, params, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path, stack[0], **params)


def test_labels_of_another_image_are_an_error(tmp_path, stack):
    other = save(tmp_path / "other.ome.zarr", discs(4), "ZYX", labels=True)
    with pytest.raises(InputError, match=r"not the shape of the image.*\(1, 1, 4, 90, 120\)"):
        run(tmp_path, stack[0], other)
    floats = save(tmp_path / "floats.ome.zarr", discs(5).astype(np.float32), "ZYX")
    with pytest.raises(InputError, match="does not hold labels"):
        run(tmp_path, stack[0], floats)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"edge_px": 15}, "edge_px"),
        ({"edge_px": 2049}, "edge_px"),
        ({"channels": []}, "channels"),
        ({"channels": list(range(7))}, "channels"),
        ({"plane": -1}, "plane"),
        ({"time_point": -1}, "time_point"),
        ({"high_percentile": 101}, "high_percentile"),
        ({"low_percentile": 50, "high_percentile": 50}, r"low_percentile \(50\) must lie below"),
    ],
)
def test_parameters_are_checked(params, message):
    with pytest.raises(ValidationError, match=message):
        PreviewImageParams.model_validate(params)


def test_the_record_tells_what_kind_of_file_it_is(tmp_path, stack):
    made = tmp_path / "made.png"
    result = run_step(STEP, {"image": stack[0]}, {"preview": made}, {"edge_px": 32})
    assert result.digests["preview"] == digest_path(made)
    assert made.read_bytes().startswith(b"\x89PNG")
