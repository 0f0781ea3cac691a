"""Objects measured block by block: known answers, agreement with scikit-image, no seams."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from skimage.measure import label as connected
from skimage.measure import regionprops

from memory_images import MemoryImage, five
from parfocal.analysis import scan
from parfocal.analysis.columns import object_columns
from parfocal.analysis.measure import Task, measure_objects
from parfocal.core.scheduler import Threads
from parfocal.errors import InputError

UNIT = (1.0, 1.0, 1.0)


def measure(image, labels, *, spacing=UNIT, block=(1, 1, 1, 64, 64), threads=1, channels=None):
    names = channels or tuple(f"c{number}" for number in range(image.shape5[1]))
    return list(measure_objects(Task(image, labels, names, spacing, block, Threads(threads))))


def one(labels, image=None, **options):
    image = image if image is not None else five(np.zeros(labels.shape5, np.uint8))
    (objects,) = measure(image, labels, **options)
    return objects.columns


@st.composite
def labelled(draw, dtypes):
    shape = draw(npst.array_shapes(min_dims=3, max_dims=3, max_side=7))
    times, channels = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    labels = draw(npst.arrays(np.uint16, (times, 1, *shape), elements=st.integers(0, 4)))
    dtype = draw(st.sampled_from(dtypes))
    elements = None
    if np.dtype(dtype).kind == "f":
        width = 8 * np.dtype(dtype).itemsize
        elements = st.floats(width=width, allow_nan=True, allow_infinity=True)
    image = draw(npst.arrays(dtype, (times, channels, *shape), elements=elements))
    return MemoryImage(image), MemoryImage(labels)


ALL_TYPES = ["bool", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


@settings(max_examples=70)
@given(
    pair=labelled(ALL_TYPES),
    block=st.tuples(*[st.integers(1, 7)] * 3),
    pixels=st.integers(1, 60),
    threads=st.integers(1, 3),
)
def test_any_blocks_and_threads_give_the_same_bits(pair, block, pixels, threads):
    whole = measure(*pair)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "TARGET_PIXELS", pixels)
        parts = measure(*pair, block=(1, 1, *block), threads=threads)
    assert len(whole) == len(parts) == pair[0].shape5[0]
    for expected, found in zip(whole, parts, strict=True):
        assert (found.t, found.skipped) == (expected.t, expected.skipped)
        assert list(found.columns) == list(expected.columns)
        for name, values in expected.columns.items():
            assert found.columns[name].dtype == values.dtype, name
            assert found.columns[name].tobytes() == values.tobytes(), name


@settings(max_examples=80)
@given(
    labels=npst.arrays(
        np.uint8, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.integers(0, 3)
    ),
    seed=st.integers(0, 1000),
)
def test_planes_agree_with_scikit_image(labels, seed):
    image = np.random.default_rng(seed).integers(0, 60000, labels.shape).astype(np.uint16)
    found = one(five(labels), five(image))
    expected = regionprops(labels, image)
    assert found["label"].tolist() == [region.label for region in expected]
    for row, region in enumerate(expected):
        exact = {
            "area_px": region.area,
            "bbox_y0": region.bbox[0],
            "bbox_x0": region.bbox[1],
            "bbox_y1": region.bbox[2],
            "bbox_x1": region.bbox[3],
            "intensity_min_c0": region.intensity_min,
            "intensity_max_c0": region.intensity_max,
            "intensity_sum_c0": region.image_intensity.sum(dtype=np.int64),
        }
        assert {name: found[name][row] for name in exact} == exact
        close = {
            "centroid_y_px": region.centroid[0],
            "centroid_x_px": region.centroid[1],
            "extent": region.extent,
            "perimeter_px": region.perimeter_crofton,
            "equivalent_diameter_px": region.equivalent_diameter_area,
            "intensity_mean_c0": region.intensity_mean,
            "intensity_std_c0": region.intensity_std,
        }
        assert {name: found[name][row] for name in close} == pytest.approx(close, abs=1e-9)
        major, minor = region.axis_major_length, region.axis_minor_length
        assert found["major_axis_px"][row] == pytest.approx(major, abs=1e-6)
        assert found["minor_axis_px"][row] == pytest.approx(minor, abs=1e-6)
        if major > 0:
            assert found["eccentricity"][row] == pytest.approx(region.eccentricity, abs=1e-6)


@settings(max_examples=40)
@given(
    labels=npst.arrays(np.uint8, st.tuples(*[st.integers(2, 6)] * 3), elements=st.integers(0, 2)),
    spacing=st.tuples(*[st.sampled_from([0.25, 1.0, 2.0])] * 3),
)
def test_stacks_agree_with_scikit_image(labels, spacing):
    found = one(five(labels), spacing=spacing)
    for row, region in enumerate(regionprops(labels, spacing=spacing)):
        assert found["volume_um3"][row] == pytest.approx(region.area)
        centroid = [found[f"centroid_{axis}_um"][row] for axis in "zyx"]
        assert centroid == pytest.approx(region.centroid, abs=1e-9)
        eigenvalues = np.sort(np.linalg.eigvalsh(region.inertia_tensor))
        longest = math.sqrt(max(0, 10 * (eigenvalues[1:].sum() - eigenvalues[0])))
        assert found["major_axis_um"][row] == pytest.approx(longest, abs=1e-6)


def ball(spacing, radius):
    half = [math.ceil(radius / size) + 1 for size in spacing]
    z, y, x = np.meshgrid(
        *[np.arange(-h, h + 1) * s for h, s in zip(half, spacing, strict=True)], indexing="ij"
    )
    return five((z**2 + y**2 + x**2 <= radius**2).astype(np.uint8))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5), (0.7, 0.3, 0.5)])
def test_a_ball_has_the_surface_and_axes_of_a_ball(spacing):
    found = one(ball(spacing, 12.0), spacing=spacing)
    assert found["surface_area_um2"][0] == pytest.approx(4 * math.pi * 144, rel=0.02)
    assert found["volume_um3"][0] == pytest.approx(4 / 3 * math.pi * 1728, rel=0.02)
    for name in ("major_axis_um", "middle_axis_um", "minor_axis_um", "equivalent_diameter_um"):
        assert found[name][0] == pytest.approx(24, rel=0.02)


def test_an_ellipse_on_oblong_pixels_is_measured_in_micrometres():
    y, x = np.mgrid[-60:61, -60:61]
    tilted = ((x * 0.25 + y * 0.5) / 12) ** 2 + ((x * 0.25 - y * 0.5) / 6) ** 2 <= 2
    found = one(five(tilted.astype(np.uint8)), spacing=(None, 0.5, 0.25))
    assert found["major_axis_um"][0] == pytest.approx(24, rel=0.01)
    assert found["minor_axis_um"][0] == pytest.approx(12, rel=0.01)
    assert found["orientation_deg"][0] == pytest.approx(45, abs=0.5)
    assert found["eccentricity"][0] == pytest.approx(math.sqrt(0.75), abs=0.01)
    assert found["elongation"][0] == pytest.approx(0.5, abs=0.01)
    around = math.pi * (3 * 18 - math.sqrt((3 * 12 + 6) * (12 + 3 * 6)))
    assert found["perimeter_um"][0] == pytest.approx(around, rel=0.03)
    assert math.isnan(found["centroid_z_um"][0])


def test_unknown_pixel_size_leaves_micrometres_empty():
    found = one(five(np.ones((2, 3, 3), np.uint8)), spacing=(None, 0.5, 0.5))
    assert found["volume_px"].tolist() == [18]
    empty = {
        name for name, values in found.items() if values.dtype == float and np.isnan(values).all()
    }
    assert empty == {
        "volume_um3",
        "centroid_z_um",
        "equivalent_diameter_um",
        "major_axis_um",
        "middle_axis_um",
        "minor_axis_um",
        "surface_area_um2",
    }
    assert found["centroid_y_um"].tolist() == [0.5]


def test_one_pixel():
    found = one(five([[7]], "u4"), five([[9]], "u1"))
    expected = {
        "label": 7,
        "area_px": 1,
        "area_um2": 1,
        "centroid_x_um": 0,
        "bbox_x1": 1,
        "extent": 1,
        "major_axis_um": 0,
        "touches_border": True,
        "intensity_std_c0": 0,
        "intensity_sum_c0": 9,
    }
    assert {name: found[name][0] for name in expected} == expected
    for name in ("eccentricity", "elongation", "orientation_deg"):
        assert math.isnan(found[name][0])


def test_border_is_that_of_the_image_in_the_dimensions_of_objects():
    labels = np.zeros((5, 5), np.uint8)
    labels[2, 2], labels[4, 1] = 1, 2
    assert one(five(labels))["touches_border"].tolist() == [False, True]
    stack = np.zeros((3, 5, 5), np.uint8)
    stack[1, 2, 2], stack[2, 2, 2] = 1, 2
    assert one(five(stack))["touches_border"].tolist() == [False, True]


def test_sums_lose_nothing():
    labels = five(np.ones((1, 4), np.uint8))
    found = one(labels, five([[1e16, 1.0, -1e16, 0.0]], "f8"))
    assert found["intensity_sum_c0"].tolist() == [1.0]
    assert found["intensity_mean_c0"].tolist() == [0.25]
    large = 2**63
    found = one(labels, five([[large, large + 2, large, large + 2]], "u8"))
    assert found["intensity_std_c0"].tolist() == [1.0]
    assert found["intensity_max_c0"].tolist() == [large + 2]
    found = one(labels, five([[1e9, 1e9 + 1, 1e9, 1e9 + 1]], "f8"))
    assert found["intensity_std_c0"].tolist() == [0.5]
    found = one(labels, five([[1e200, -1e200, 1e200, -1e200]], "f8"))
    assert found["intensity_std_c0"].tolist() == [1e200]


def test_pixels_that_are_not_finite_are_left_out_and_counted():
    image = five([[np.nan, 2.0, 4.0, np.inf, np.nan]], "f4")
    (objects,) = measure(image, five([[1, 1, 1, 1, 2]], "u1"))
    assert objects.skipped == (3,)
    columns = objects.columns
    assert columns["area_px"].tolist() == [4, 1]
    for name, value in {"mean": 3, "min": 2, "max": 4, "sum": 6, "std": 1}.items():
        assert columns[f"intensity_{name}_c0"][0] == value
        assert math.isnan(columns[f"intensity_{name}_c0"][1])


def test_a_label_in_two_time_points_is_two_objects():
    labels = np.zeros((2, 1, 1, 2, 2), np.uint8)
    labels[0, ..., 0, 0] = labels[1] = 5
    found = measure(five(np.zeros(labels.shape, np.uint8)), MemoryImage(labels))
    assert [(o.t, o.columns["label"].tolist(), o.columns["area_px"].tolist()) for o in found] == [
        (0, [5], [1]),
        (1, [5], [4]),
    ]


@pytest.mark.parametrize("dtype", ["u1", "u8", "f4"])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_without_objects_all_columns_are_there(shape, dtype):
    image = five(np.ones(shape), dtype)
    found = one(five(np.zeros(shape, np.uint16)), image)
    names = [column.name for column in object_columns(len(shape), ("c0",), image.dtype)]
    assert set(found) == set(names) - {"image_id", "label_name", "t"}
    assert all(values.shape == (0,) for values in found.values())


def test_many_objects_are_all_found():
    rng = np.random.default_rng(3)
    labels = connected(rng.random((300, 400)) < 0.4, connectivity=1).astype(np.uint32)
    found = one(five(labels), block=(1, 1, 1, 50, 60))
    assert found["label"].tolist() == list(range(1, labels.max() + 1))
    assert found["area_px"].tolist() == np.bincount(labels.ravel())[1:].tolist()


@pytest.mark.parametrize(
    ("image", "labels", "says"),
    [
        (five(np.zeros((3, 3), "u1")), five(np.zeros((3, 4), "u1")), "(1, 1, 1, 3, 4)"),
        (five(np.zeros((3, 3), "u1")), five(np.zeros((2, 1, 3, 3), "u1")), "(1, 2, 1, 3, 3)"),
        (five(np.zeros((3, 3), "u1")), five(np.zeros((3, 3), "f4")), "float32"),
        (five(np.zeros((3, 3), "c8")), five(np.zeros((3, 3), "u1")), "complex64"),
        (five(np.zeros((3, 3), "u1")), five(np.full((3, 3), -1, "i4")), "-1"),
        (five(np.zeros((3, 3), "u1")), five(np.full((3, 3), 2**63, "u8")), str(2**63)),
    ],
)
def test_what_cannot_be_measured_is_an_error(image, labels, says):
    if labels.shape5[1] == 2:
        labels = MemoryImage(labels.pixels[:1])
    with pytest.raises(InputError) as caught:
        measure(image, labels)
    assert says in str(caught.value)


def test_labels_far_apart_measure_like_labels_side_by_side():
    labels = np.random.default_rng(5).integers(0, 4, (30, 30)).astype(np.uint64)
    near, far = one(five(labels)), one(five(labels * 10**12))
    assert far["label"].tolist() == [10**12, 2 * 10**12, 3 * 10**12]
    for name, values in near.items():
        if name != "label":
            assert far[name].tolist() == values.tolist(), name
