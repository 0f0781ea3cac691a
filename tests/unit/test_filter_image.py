from __future__ import annotations

import itertools

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from memory_images import MemoryImage, save
from parfocal.core.blocks import whole
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.images import ZarrOptions, open_image, write_ome_zarr
from parfocal.models.image import ImageMetadata
from parfocal.steps.filter_image import STEP, FilterImageParams

_numbers = itertools.count()


def run(folder, image, threads=1, **params):
    """Run the step, and return its context and the path of the filtered image."""
    context = Context(scratch=folder, threads=threads)
    path = folder / f"filtered{next(_numbers)}.ome.zarr"
    chosen = FilterImageParams.model_validate(params)
    STEP.run({"image": image}, {"filtered": path}, chosen, context)
    return context, path


def pixels(path):
    with open_image(path) as image:
        return image.read(whole(image.shape5))


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


def test_gaussian_of_planes_is_rounded_half_up_in_the_same_type(tmp_path):
    stack = noise((3, 40, 50))
    image = save(tmp_path / "image.ome.zarr", stack, "ZYX")
    context, path = run(tmp_path, image, mode="plane", filter={"method": "gaussian", "sigma_px": 2})
    smooth = ndimage.gaussian_filter(stack.astype(np.float64), (0, 2, 2), mode="mirror")
    result = pixels(path)
    assert result.dtype == np.uint16
    assert np.abs(result[0, 0] - smooth).max() <= 0.501
    assert context.details["sigma_px"] == [0.0, 2.0, 2.0]


def test_volumes_follow_the_pixel_sizes(tmp_path):
    image = save(tmp_path / "i.ome.zarr", noise((5, 20, 20)), "ZYX", z_um=1.0, y_um=0.25, x_um=0.25)
    context, _ = run(tmp_path, image, filter={"method": "gaussian", "sigma_um": 0.5})
    assert context.details["sigma_px"] == [0.5, 2.0, 2.0]


def test_differences_are_floats_with_both_signs(tmp_path):
    image = save(tmp_path / "image.ome.zarr", noise((40, 40)), "YX")
    result = pixels(run(tmp_path, image, filter={"method": "difference_of_gaussians"})[1])
    assert result.dtype == np.float32
    assert result.min() < 0 < result.max()


@pytest.mark.parametrize("method", ["median", "subtract_mean", "top_hat"])
def test_a_flat_image_has_no_background_and_is_its_own_median(tmp_path, method):
    image = save(tmp_path / "image.ome.zarr", np.full((30, 30), 9, np.uint8), "YX")
    result = pixels(run(tmp_path, image, filter={"method": method})[1])
    assert (result == (9 if method == "median" else 0)).all()
    assert result.dtype == np.uint8


def test_other_channels_pass_unchanged(tmp_path):
    stack = noise((2, 30, 30))
    image = save(tmp_path / "image.ome.zarr", stack, "CYX")
    result = pixels(run(tmp_path, image, channels=["channel_1"])[1])
    np.testing.assert_array_equal(result[0, 0, 0], stack[0])
    assert (result[0, 1, 0] != stack[1]).any()


def test_levels_along_z_are_as_those_of_the_image(tmp_path):
    source = MemoryImage(noise((1, 1, 5, 600, 20)))
    metadata = ImageMetadata(name="a", axes="ZYX", shape=(5, 600, 20), dtype="uint16")
    write_ome_zarr(tmp_path / "z", metadata, source, ZarrOptions(halve_z=True))
    _, path = run(tmp_path, tmp_path / "z", filter={"method": "gaussian", "sigma_px": 1})
    with open_image(path) as filtered:
        assert [level.shape5[2] for level in filtered.pyramid] == [5, 3]


def test_threads_change_no_byte(tmp_path):
    image = save(tmp_path / "image.ome.zarr", noise((2, 3, 60, 60)), "TZYX")
    assert len({digest_path(run(tmp_path, image, threads=n)[1]) for n in (1, 2)}) == 1


def test_nan_is_told(tmp_path):
    plane = np.ones((20, 20), np.float32)
    plane[10, 10] = np.nan
    image = save(tmp_path / "image.ome.zarr", plane, "YX")
    context, path = run(tmp_path, image, filter={"method": "median"})
    assert context.warnings == ["9 results are NaN since a pixel near them is not finite"]
    assert np.isnan(pixels(path)).sum() == 9


def test_a_single_pixel_works(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.array([[7]], np.uint8), "YX")
    assert pixels(run(tmp_path, image)[1]).ravel().tolist() == [7]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"filter": {"method": "gaussian", "sigma_um": 1.0}}, "pixel size"),
        ({"filter": {"method": "median", "radius_px": 0.3}}, "less than half a pixel"),
        ({"filter": {"method": "difference_of_gaussians", "narrow_px": 9}}, "not narrower"),
        ({"channels": [3]}, "no such channel"),
    ],
)
def test_what_does_not_fit_the_image_is_an_error(tmp_path, params, message):
    image = save(tmp_path / "image.ome.zarr", noise((20, 20)), "YX")
    with pytest.raises(InputError, match=message):
        run(tmp_path, image, **params)


@pytest.mark.parametrize("chosen", [("gaussian", "sigma_um", 81), ("median", "radius_um", 21)])
def test_a_length_is_not_more_pixels_than_may_be_given(tmp_path, chosen):
    method, name, length_um = chosen
    image = save(tmp_path / "image.ome.zarr", noise((20, 20)), "YX", x_um=0.4, y_um=0.4)
    with pytest.raises(InputError, match="too many pixels of this image") as caught:
        run(tmp_path, image, filter={"method": method, name: length_um})
    assert f"at most {(length_um - 1) / 0.4:g} pixels, {length_um - 1} um" in str(caught.value)
    run(tmp_path, image, filter={"method": method, name: 2.0})


@pytest.mark.parametrize(
    "params",
    [
        {"channels": []},
        {"filter": {"method": "magic"}},
        {"filter": {"sigma_px": 1}},
        {"filter": {"method": "gaussian", "sigma_px": -1}},
        {"filter": {"method": "gaussian", "sigma_px": 1e9}},
        {"filter": {"method": "gaussian", "sigma_um": float("inf")}},
        {"filter": {"method": "gaussian", "sigma_px": float("nan")}},
    ],
)
def test_parameters_are_checked(params):
    with pytest.raises(ValidationError):
        FilterImageParams.model_validate(params)
