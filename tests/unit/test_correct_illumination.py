from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tifffile
from pydantic import ValidationError

from memory_images import MemoryImage, save
from parfocal.core.blocks import whole
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError
from parfocal.images import ZarrOptions, open_image, write_ome_zarr
from parfocal.models.image import ImageMetadata
from parfocal.steps.correct_illumination import STEP, CorrectIlluminationParams

_numbers = itertools.count()
_ALONE = "is estimated from a single plane"


def run(folder, image, fields=None, threads=1, dark_offset=0.0, **illumination):
    """Run the step, and return its context and the path of the corrected image."""
    context = Context(scratch=folder, threads=threads)
    path = folder / f"corrected{next(_numbers)}.ome.zarr"
    values = {"dark_offset": dark_offset}
    if illumination:
        values["illumination"] = illumination
    params = CorrectIlluminationParams.model_validate(values)
    STEP.run({"image": image, **(fields or {})}, {"corrected": path}, params, context)
    return context, path


def pixels(path):
    with open_image(path) as image:
        return image.read(whole(image.shape5))


def light(height=40, width=50):
    """Return an uneven illumination (Y, X) with mean 1."""
    y, x = np.ogrid[:height, :width]
    uneven = 2.0 - ((y - height / 2) / height) ** 2 - ((x - width / 3) / width) ** 2
    return uneven / uneven.mean()


def tiff(path, plane):
    tifffile.imwrite(path, plane)
    return path


def test_a_flat_and_a_dark_field_give_back_what_was_there(tmp_path):
    truth = np.random.default_rng(0).integers(500, 2000, (2, 3, 40, 50))
    dark = np.random.default_rng(1).integers(95, 105, (40, 50))
    seen = (truth * light() + dark + 0.5).astype(np.uint16)
    image = save(tmp_path / "image.ome.zarr", seen, "TZYX")
    fields = {
        "flat_field": tiff(tmp_path / "flat.tif", (30000 * light() + dark + 0.5).astype("u2")),
        "dark_field": tiff(tmp_path / "dark.tif", dark.astype("u2")),
    }
    context, path = run(tmp_path, image, fields, method="profile")
    result = pixels(path)
    assert result.dtype == np.uint16
    assert np.abs(result[:, 0].astype(int) - truth).max() <= 2
    assert not context.warnings
    assert context.details["clipped_below"] == context.details["clipped_above"] == 0
    low, high = context.details["profile_range"]["channel_0"]
    assert low == pytest.approx(light().min(), rel=1e-3)
    assert high == pytest.approx(light().max(), rel=1e-3)
    json.dumps(context.details)


def test_a_computed_profile_is_without_the_offset_of_the_camera(tmp_path):
    truth = np.full((2, 40, 50), 1000)
    image = save(tmp_path / "i.ome.zarr", (truth * light() + 100.5).astype(np.uint16), "CYX")
    profile = save(tmp_path / "profile.ome.zarr", light().astype(np.float32), "YX")
    fields = {"flat_field": profile}
    context, path = run(
        tmp_path, image, fields, dark_offset=100, method="profile", flat_includes_dark=False
    )
    assert np.abs(pixels(path).astype(int)[0, :, 0] - truth).max() <= 2
    assert context.warnings == ["One flat field stands for all 2 channels"]
    with pytest.raises(InputError, match=r"not above 0 everywhere.*flat_includes_dark=false"):
        run(tmp_path, image, fields, dark_offset=100, method="profile")


def test_each_channel_may_have_a_field_of_its_own(tmp_path):
    flat = np.stack([light(), light()[::-1, ::-1]])
    image = save(tmp_path / "image.ome.zarr", (1000 * flat).astype(np.float32), "CYX")
    fields = {"flat_field": save(tmp_path / "flat.ome.zarr", flat, "CYX")}
    context, path = run(tmp_path, image, fields, method="profile")
    np.testing.assert_allclose(pixels(path), 1000, rtol=1e-6)
    assert not context.warnings


def test_the_estimate_evens_out_what_planes_have_in_common(tmp_path):
    rng = np.random.default_rng(2)
    seen = rng.poisson(1000 * light(), (300, 40, 50)).astype(np.uint16)
    image = save(tmp_path / "image.ome.zarr", seen, "TYX")
    context, path = run(tmp_path, image, method="estimate", sigma_px=2)
    result = pixels(path)[:, 0, 0].mean(axis=0)
    assert seen.mean(axis=0).std() > 40
    assert result.std() < 10
    assert context.details["planes"] == 300
    assert context.details["sigma_px"] == [2.0, 2.0]
    assert not context.warnings


def test_a_percentile_is_not_moved_by_few_bright_objects(tmp_path):
    seen = np.full((9, 40, 50), 100, np.uint16)
    for plane in range(4):
        seen[plane, 10:20, 10:20] = 60000
    image = save(tmp_path / "image.ome.zarr", seen, "ZYX")
    np.testing.assert_array_equal(
        pixels(run(tmp_path, image, method="estimate", percentile=50)[1])[0, 0], seen
    )
    assert (pixels(run(tmp_path, image, method="estimate", sigma_px=3)[1])[0, 0] != seen).any()


def test_sigma_follows_the_pixel_sizes(tmp_path):
    image = save(tmp_path / "i.ome.zarr", np.ones((3, 9, 9)), "ZYX", z_um=9.0, y_um=1.0, x_um=0.5)
    context, _ = run(tmp_path, image, method="estimate", sigma_um=10)
    assert context.details["sigma_px"] == [10.0, 20.0]


def test_the_defaults_estimate_and_tell_of_a_single_plane(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.full((30, 30), 9, np.uint8), "YX")
    context, path = run(tmp_path, image)
    assert (pixels(path) == 9).all()
    assert len(context.warnings) == 1
    assert _ALONE in context.warnings[0]


def test_clipped_pixels_are_counted_and_told(tmp_path):
    plane = np.full((2, 40, 50), 200, np.uint8)
    plane[:, 0, 0] = 3
    image = save(tmp_path / "image.ome.zarr", plane, "ZYX")
    flat = np.full((40, 50), 1000, np.float32)
    flat[:, 25:] = 100
    fields = {"flat_field": save(tmp_path / "flat.ome.zarr", flat, "YX")}
    context, path = run(
        tmp_path, image, fields, dark_offset=5, method="profile", flat_includes_dark=False
    )
    assert pixels(path)[0, 0, 0, 0, 0] == 0
    assert pixels(path)[0, 0, 0, 0, 30] == 255
    assert context.details["clipped_below"] == 2
    assert context.details["clipped_above"] == 2 * 40 * 25
    assert any("2 results lie below the range of uint8" in text for text in context.warnings)
    assert any("2000 results lie above the range of uint8" in text for text in context.warnings)


def test_dark_corners_are_told(tmp_path):
    flat = np.ones((40, 50), np.float32)
    flat[0, 0] = 0.01
    image = save(tmp_path / "image.ome.zarr", np.ones((40, 50), np.float32), "YX")
    fields = {"flat_field": save(tmp_path / "flat.ome.zarr", flat, "YX")}
    context, _ = run(tmp_path, image, fields, method="profile")
    assert len(context.warnings) == 1
    assert "of channel channel_0 falls to 0.01 of its mean" in context.warnings[0]


def test_nan_is_told_and_does_not_spread(tmp_path):
    stack = np.full((3, 30, 30), 5, np.float32)
    stack[1, 10, 10] = np.nan
    image = save(tmp_path / "image.ome.zarr", stack, "ZYX")
    context, path = run(tmp_path, image, method="estimate", sigma_px=2)
    assert context.warnings == ["1 results are NaN or infinite, as their pixels are"]
    result = pixels(path)[0, 0]
    assert np.isnan(result[1, 10, 10])
    np.testing.assert_allclose(result[np.isfinite(result)], 5, rtol=1e-6)


def test_all_of_the_image_but_its_pixels_stays(tmp_path):
    metadata = ImageMetadata(
        name="a", axes="ZYX", shape=(5, 600, 20), dtype="uint16", z_um=2.0, y_um=0.5, x_um=0.5
    )
    source = MemoryImage(np.full((1, 1, 5, 600, 20), 7, np.uint16))
    write_ome_zarr(
        tmp_path / "z",
        metadata,
        source,
        ZarrOptions(halve_z=True),
        original_metadata={"a.xml": b"<a/>"},
    )
    with (
        open_image(tmp_path / "z") as before,
        open_image(run(tmp_path, tmp_path / "z")[1]) as image,
    ):
        assert image.metadata == before.metadata
        assert not image.original_metadata  # they tell of the sizes and types of the source
        assert [level.shape5[2] for level in image.pyramid] == [5, 3]


@pytest.mark.parametrize("percentile", [None, 50])
def test_threads_change_no_byte(tmp_path, percentile):
    stack = np.random.default_rng(3).normal(500, 50, (2, 2, 3, 60, 70)).astype(np.float32)
    image = save(tmp_path / "image.ome.zarr", stack, "TCZYX")
    found = {
        digest_path(run(tmp_path, image, threads=n, method="estimate", percentile=percentile)[1])
        for n in (1, 3)
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((40, 49), "YX"),
        ((2, 40, 50), "ZYX"),
        ((2, 40, 50), "TYX"),
        ((3, 40, 50), "CYX"),
    ],
)
def test_fields_of_another_size_are_an_error(tmp_path, shape, axes):
    image = save(tmp_path / "image.ome.zarr", np.ones((2, 40, 50), np.uint8), "CYX")
    field = save(tmp_path / "field.ome.zarr", np.ones(shape, np.float32), axes)
    with pytest.raises(InputError, match=r"flat field does not fit.*expected 1 plane of 40 x 50"):
        run(tmp_path, image, {"flat_field": field}, method="profile")
    with pytest.raises(InputError, match="dark field does not fit the image"):
        run(tmp_path, image, {"dark_field": field}, method="estimate")


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_flat_field_that_cannot_be_divided_by_is_an_error(tmp_path, value):
    flat = np.ones((40, 50), np.float32)
    flat[3, 4] = value
    image = save(tmp_path / "image.ome.zarr", np.ones((40, 50), np.uint8), "YX")
    fields = {"flat_field": save(tmp_path / "flat.ome.zarr", flat, "YX")}
    with pytest.raises(InputError, match="channel_0 is not above 0 everywhere"):
        run(tmp_path, image, fields, method="profile")


def test_an_estimate_that_cannot_be_divided_by_is_an_error(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.full((2, 40, 50), 90, np.uint8), "ZYX")
    with pytest.raises(InputError, match=r"not above 0 everywhere.*Lower the dark offset"):
        run(tmp_path, image, dark_offset=100)


def test_fields_that_do_not_fit_the_method_are_an_error(tmp_path):
    image = save(tmp_path / "image.ome.zarr", np.ones((4, 5), np.uint8), "YX")
    with pytest.raises(ConfigurationError, match="needs a flat field"):
        run(tmp_path, image, method="profile")
    with pytest.raises(ConfigurationError, match="method estimate does not use it"):
        run(tmp_path, image, {"flat_field": image})
    with pytest.raises(ConfigurationError, match="both a dark field and a dark offset"):
        run(tmp_path, image, {"dark_field": image}, dark_offset=1)


@pytest.mark.parametrize(
    "params",
    [
        {"illumination": {"method": "basic"}},
        {"illumination": {"method": "estimate", "sigma_px": 0}},
        {"illumination": {"method": "estimate", "percentile": 101}},
        {"illumination": {"method": "profile", "sigma_px": 3}},
        {"dark_offset": -1},
    ],
)
def test_parameters_are_checked(params):
    with pytest.raises(ValidationError):
        CorrectIlluminationParams.model_validate(params)
