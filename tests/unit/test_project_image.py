from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from pydantic import ValidationError

from memory_images import MemoryImage, save
from parfocal.core.blocks import whole
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.images import ZarrOptions, open_image, write_ome_zarr
from parfocal.models.image import Channel, ImageMetadata
from parfocal.steps.project_image import STEP, ProjectImageParams

_numbers = itertools.count()


def run(folder, image, threads=1, **params):
    """Run the step, and return its context and the path of the projected image."""
    context = Context(scratch=folder, threads=threads)
    path = folder / f"projected{next(_numbers)}.ome.zarr"
    STEP.run(
        {"image": image}, {"projected": path}, ProjectImageParams.model_validate(params), context
    )
    return context, path


def pixels(path):
    with open_image(path) as image:
        return image.read(whole(image.shape5))


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


def test_the_maximum_along_z_is_the_default(tmp_path):
    stack = noise((2, 3, 5, 40, 50))
    image = save(tmp_path / "image.ome.zarr", stack, "TCZYX")
    context, path = run(tmp_path, image)
    np.testing.assert_array_equal(pixels(path)[:, :, 0], stack.max(axis=2))
    assert context.details == {
        "method": "max",
        "axis": "Z",
        "first": 0,
        "last": 4,
        "planes_of_image": 5,
        "dtype": "uint16",
    }
    assert not context.warnings


def test_the_axis_goes_and_all_else_stays(tmp_path):
    metadata = ImageMetadata(
        name="a name",
        axes="TCZYX",
        shape=(2, 2, 5, 6, 7),
        dtype="uint16",
        z_um=2.0,
        y_um=0.5,
        x_um=0.25,
        time_increment_s=30.0,
        stage_z_um=1.0,
        stage_y_um=2.0,
        stage_x_um=3.0,
        channels=(Channel(name="DAPI", color="0000FF", emission_nm=460.0), Channel(name="GFP")),
    )
    source = MemoryImage(noise((2, 2, 5, 6, 7)))
    write_ome_zarr(
        tmp_path / "image.ome.zarr", metadata, source, original_metadata={"a.xml": b"<a/>"}
    )
    _, along_z = run(tmp_path, tmp_path / "image.ome.zarr", first=1, last=3)
    with open_image(along_z) as image:
        gone = {"axes": "TCYX", "shape": (2, 2, 6, 7), "z_um": None}
        assert image.metadata == metadata.model_copy(update=gone)
        assert not image.original_metadata  # they tell of the sizes and types of the source
        assert image.attributes["parfocal"]["projection"] == {
            "method": "max",
            "axis": "Z",
            "first": 1,
            "last": 3,
            "planes_of_image": 5,
        }
    _, along_t = run(tmp_path, tmp_path / "image.ome.zarr", axis="T", method="std")
    with open_image(along_t) as image:
        gone = {"axes": "CZYX", "shape": (2, 5, 6, 7), "time_increment_s": None}
        gone["dtype"] = "float32"
        assert image.metadata == metadata.model_copy(update=gone)


@pytest.mark.parametrize(
    ("params", "dtype", "expected"),
    [
        ({"method": "sum"}, "uint32", lambda stack: stack.sum(axis=0)),
        ({"method": "mean"}, "uint16", lambda stack: np.floor(stack.mean(axis=0) + 0.5)),
        (
            {"method": "mean", "as_float": True},
            "float32",
            lambda stack: stack.mean(axis=0).astype(np.float32),
        ),
        ({"method": "median"}, "uint16", lambda stack: np.median(stack, axis=0)),
        ({"method": "min", "first": 2}, "uint16", lambda stack: stack[2:].min(axis=0)),
        ({"method": "max", "first": 1, "last": 1}, "uint16", lambda stack: stack[1]),
    ],
)
def test_methods(tmp_path, params, dtype, expected):
    stack = noise((5, 600, 20))
    image = save(tmp_path / "image.ome.zarr", stack, "ZYX")
    context, path = run(tmp_path, image, **params)
    result = pixels(path)
    assert result.dtype == dtype == context.details["dtype"]
    np.testing.assert_array_equal(result[0, 0, 0], expected(stack))


def test_levels_along_z_are_as_those_of_the_image(tmp_path):
    metadata = ImageMetadata(name="a", axes="TZYX", shape=(2, 5, 600, 20), dtype="uint16")
    source = MemoryImage(noise((2, 1, 5, 600, 20)))
    write_ome_zarr(tmp_path / "z", metadata, source, ZarrOptions(halve_z=True))
    with open_image(run(tmp_path, tmp_path / "z", axis="T")[1]) as image:
        assert [level.shape5[2] for level in image.pyramid] == [5, 3]
    with open_image(run(tmp_path, tmp_path / "z")[1]) as image:
        assert [level.shape5[2] for level in image.pyramid] == [1, 1]


@pytest.mark.parametrize("axis", ["Z", "T"])
def test_a_plane_is_projected_to_itself_and_it_is_told(tmp_path, axis):
    image = save(tmp_path / "image.ome.zarr", noise((20, 30)), "YX")
    context, path = run(tmp_path, image, axis=axis)
    np.testing.assert_array_equal(pixels(path)[0, 0, 0], noise((20, 30)))
    assert context.warnings == [
        f"The image has one plane along {axis} to project: it is taken alone"
    ]


def test_threads_change_no_byte(tmp_path):
    stack = noise((2, 9, 60, 60)).astype(np.float32)
    image = save(tmp_path / "image.ome.zarr", stack, "TZYX")
    found = {digest_path(run(tmp_path, image, threads=n, method="std")[1]) for n in (1, 3)}
    assert len(found) == 1


def test_nan_is_told(tmp_path):
    stack = np.ones((3, 20, 20), np.float32)
    stack[1, 10, 10] = np.nan
    context, path = run(tmp_path, save(tmp_path / "image.ome.zarr", stack, "ZYX"))
    assert len(context.warnings) == 1
    assert context.warnings[0].startswith("1 results are NaN or infinite")
    assert np.isnan(pixels(path)).sum() == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"first": 3}, r"no such plane along Z: image\.ome, first; expected 0 to 2; found 3"),
        ({"last": 7}, r"no such plane along Z: image\.ome, last; expected 0 to 2; found 7"),
        ({"axis": "T", "last": 1}, "no such plane along T"),
    ],
)
def test_planes_that_are_not_there_are_an_error(tmp_path, params, message):
    image = save(tmp_path / "image.ome.zarr", noise((3, 20, 20)), "ZYX")
    with pytest.raises(InputError, match=message):
        run(tmp_path, image, **params)


def test_a_sum_that_does_not_fit_is_an_error(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.full((2, 5, 5), 2**63, np.uint64), "ZYX")
    with pytest.raises(InputError, match="does not fit into 64 bits"):
        run(tmp_path, image, method="sum")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"first": 3, "last": 2}, "last"),
        ({"first": -1}, "first"),
        ({"method": "max", "as_float": True}, "as_float is for mean and median"),
        ({"method": "best"}, "method"),
        ({"axis": "C"}, "axis"),
    ],
)
def test_parameters_are_checked(params, message):
    with pytest.raises(ValidationError, match=message):
        ProjectImageParams.model_validate(params)


def test_the_record_can_be_written(tmp_path):
    image = save(tmp_path / "image.ome.zarr", noise((3, 9, 9)), "ZYX")
    assert json.loads(json.dumps(run(tmp_path, image)[0].details))["last"] == 2
