"""Parameters of segment-objects that make no sense are refused before any work."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from memory_images import save
from parfocal.errors import ConfigurationError
from parfocal.steps.segment_objects import SegmentObjectsParams
from segmented import nine_discs, run


@pytest.mark.parametrize(
    "params",
    [
        {"label_name": "../x"},
        {"threshold": {"method": "manual"}},
        {"threshold": {"method": "magic"}},
        {"seeds": {"method": "distance", "prominence": 1}},
        {"edge_fraction": 0},
        {"smoothing_px": -1},
        {"colour": 1},
    ],
)
def test_parameters_are_checked(params):
    with pytest.raises(ValidationError):
        SegmentObjectsParams.model_validate(params)


@pytest.mark.parametrize("name", ["min_diameter_px", "max_diameter_px", "max_diameter_um"])
@pytest.mark.parametrize("value", [float("inf"), 1e200])
def test_absurd_diameters_are_refused_before_any_work(name, value):
    with pytest.raises(ValidationError, match=name):
        SegmentObjectsParams.model_validate({name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"min_diameter_px": 10, "max_diameter_px": 5},
        {"max_diameter_px": 3},  # below the default
        {"min_diameter_um": 2.0, "max_diameter_um": 1.5},
    ],
)
def test_limits_that_keep_nothing_are_refused_before_any_work(values):
    with pytest.raises(ValidationError, match=r"max_diameter_.. .* is below min_diameter_.."):
        SegmentObjectsParams.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"max_diameter_um": 1.0},  # what is in micrometres replaces pixels
        {"max_diameter_px": 3, "max_diameter_um": 20.0},
        {"min_diameter_um": 2.0, "max_diameter_px": 1},  # the image tells
        {"min_diameter_px": 4, "max_diameter_px": 4},
    ],
)
def test_limits_that_may_keep_something_are_taken(values):
    assert SegmentObjectsParams.model_validate(values)


def test_limits_of_different_units_that_keep_nothing_are_refused(tmp_path):
    image = save(tmp_path / "image.ome.zarr", nine_discs(), "YX", y_um=0.5, x_um=0.5)
    with pytest.raises(ConfigurationError, match="smaller than the smallest"):
        run(tmp_path, image, min_diameter_px=10, max_diameter_um=4.9)


@pytest.mark.parametrize(
    "values",
    [
        {"smoothing_px": 1e9},
        {"smoothing_px": float("nan")},
        {"threshold": {"method": "manual", "value": float("inf")}},
        {"threshold": {"method": "local", "offset": float("nan")}},
        {"seeds": {"method": "distance", "prominence": -0.1}},
        {"edge_fraction": 1.5},
        {"whole_mib": 0},
        {"whole_mib": 1 << 60},
    ],
)
def test_other_values_that_are_negative_or_absurd_are_refused(values):
    with pytest.raises(ValidationError):
        SegmentObjectsParams.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"tile_px": -64},
        {"tile_px": 1 << 30},
        {"halo_px": -1},
        {"tile_planes": 0},
        {"halo_planes": 1 << 20},
        {"min_iou": 0},
        {"threshold": 1.0},
        {"pixel_size_um": 0},
        {"low_percentile": 50, "high_percentile": 50},
        {"foreground_channel": -1},
        {"channels": []},
    ],
)
def test_so_are_those_of_models(values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        SegmentObjectsParams.model_validate(
            {"model": {"method": "onnx", "path": "model.onnx"} | values}
        )
