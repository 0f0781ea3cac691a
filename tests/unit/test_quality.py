"""Quality of planes and channels: known answers, and the same numbers for any blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from memory_images import MemoryImage, five
from parfocal.analysis import quality
from parfocal.analysis.quality import Survey, assess_image
from parfocal.core.scheduler import Threads
from parfocal.errors import InputError

BLOCK = (1, 1, 1, 64, 64)


def assess(image, *, block=BLOCK, saturation=None, threads=1):
    names = tuple(f"c{number}" for number in range(image.shape5[1]))
    return assess_image(Survey(image, names, block, saturation, Threads(threads)))


def noisy(dtype, shape=(2, 2, 2, 140, 271), seed=0):
    """Return a smooth image with noise of deviation 10."""
    rng = np.random.default_rng(seed)
    smooth = 100 + 20 * np.sin(np.arange(shape[-1]) / 40)
    return MemoryImage((smooth + rng.normal(0, 10, shape)).astype(dtype))


@pytest.mark.parametrize("dtype", ["u2", "u8", "f4", "f8"])
@pytest.mark.parametrize(
    ("block", "threads"), [((1, 1, 1, 64, 64), 2), ((1, 1, 2, 30, 400), 1), ((1, 2, 3, 256, 1), 3)]
)
def test_any_blocks_and_threads_give_the_same_numbers(dtype, block, threads, monkeypatch):
    image = noisy(dtype)
    if np.dtype(dtype).kind == "f":
        image.pixels[0, 0, 1, 127:130, 3] = np.nan, np.inf, np.nan
        image.pixels[1, 1, 0] = np.nan
    whole = assess(image)
    monkeypatch.setattr(quality, "_TARGET_PIXELS", 1 << 14)
    assert assess(image, block=block, threads=threads) == whole


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_planes_agree_with_plain_formulas(dtype):
    image = noisy(dtype)
    planes, channels, skipped = assess(image)
    assert [(p["t"], p["c"], p["z"]) for p in planes] == list(np.ndindex(2, 2, 2))
    assert skipped == [0, 0]
    for plane in planes:
        pixels = image.pixels[plane["t"], plane["c"], plane["z"]].astype(float)
        inner = np.s_[1:-1, 1:-1]
        laplacian = ndimage.laplace(pixels)[inner]
        mask = np.outer([1, -2, 1], [1, -2, 1])
        noise = np.abs(ndimage.convolve(pixels, mask))[inner].mean() * math.sqrt(math.pi / 2) / 6
        expected = {
            "focus_laplacian_variance": laplacian.var(),
            "noise": noise,
            "mean": pixels.mean(),
            "minimum": pixels.min(),
            "maximum": pixels.max(),
        }
        assert {name: plane[name] for name in expected} == pytest.approx(expected)
        for name, percent in {"p01": 1, "background": 10, "p50": 50, "p99": 99}.items():
            assert plane[name] == np.percentile(pixels, percent, method="inverted_cdf")
        signal = (plane["p99"] - plane["background"]) / plane["noise"]
        assert plane["signal_to_noise"] == signal
    for c, channel in enumerate(channels):
        own = [plane for plane in planes if plane["c"] == c]
        pixels = image.pixels[:, c]
        assert channel["channel"] == f"c{c}"
        assert channel["mean"] == pytest.approx(pixels.mean(dtype=float))
        assert channel["p75"] == np.percentile(pixels, 75, method="inverted_cdf")
        assert channel["noise"] == np.median([plane["noise"] for plane in own])
        for name in ("focus_laplacian_variance", "focus_power_slope"):
            assert channel[name] == max(plane[name] for plane in own)
        assert set(channel) == set(own[0]) - {"t", "z"}


def test_noise_is_found_and_structure_is_not_noise():
    assert assess(noisy("f4"))[0][0]["noise"] == pytest.approx(10, rel=0.03)
    ramp = np.add.outer(np.arange(50), 2 * np.arange(60))
    (plane,), _, _ = assess(five(ramp, "u2"))
    assert plane["noise"] == 0
    assert plane["signal_to_noise"] is None
    assert plane["focus_laplacian_variance"] == 0


@pytest.mark.parametrize("side", [40, 200, 300])
def test_blurring_lowers_both_measures_of_focus(side):
    rng = np.random.default_rng(1)
    sharp = ndimage.gaussian_filter((rng.random((side, side)) < 0.02) * 3000.0, 1)
    focus = []
    for sigma in (0, 1, 1.5, 2):
        plane = ndimage.gaussian_filter(sharp, sigma) + 100
        focus.append(assess(five(plane, "f8"))[0][0])
    for name in ("focus_laplacian_variance", "focus_power_slope"):
        found = [plane[name] for plane in focus]
        assert found == sorted(found, reverse=True)


def test_power_slope_is_that_of_the_image_for_any_size():
    rng = np.random.default_rng(2)
    for side in (128, 400):
        white = rng.normal(0, 1, (side, side))
        assert assess(five(white, "f8"))[0][0]["focus_power_slope"] == pytest.approx(0, abs=0.15)
        frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
        frequency[0, 0] = 1
        red = np.fft.irfft2(np.fft.rfft2(white) / frequency, s=white.shape)
        assert assess(five(red, "f8"))[0][0]["focus_power_slope"] == pytest.approx(-2, abs=0.2)


@pytest.mark.parametrize(
    ("pixels", "dtype", "level", "expected"),
    [
        ([[255, 254], [0, 255]], "u1", None, 0.5),
        ([[127, 127], [0, 126]], "i1", None, 0.5),
        ([[4095, 4096], [4094, 0]], "u2", 4095.0, 0.5),
        ([[1.0, 0.5]], "f4", None, None),
        ([[1.0, 0.5]], "f4", 1.0, 0.5),
        ([[1.0, 0.5]], "f2", 1e6, 0.0),
        ([[1, 0]], "i1", 1e6, 0.0),
        ([[True, False]], "bool", None, None),
    ],
)
def test_saturation(pixels, dtype, level, expected):
    (plane,), (channel,), _ = assess(five(pixels, dtype), saturation=level)
    assert plane["saturated_fraction"] == channel["saturated_fraction"] == expected


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (20, 2)])
def test_planes_that_are_too_small_have_no_focus(shape):
    (plane,), _, _ = assess(five(np.full(shape, 7), "u1"))
    for name in ("focus_laplacian_variance", "focus_power_slope", "noise", "signal_to_noise"):
        assert plane[name] is None
    assert [plane[name] for name in ("minimum", "p50", "maximum", "mean")] == [7] * 4


def test_constant_planes_have_no_slope():
    (plane,), _, _ = assess(five(np.full((40, 40), 3), "u2"))
    assert (plane["focus_power_slope"], plane["noise"]) == (None, 0)


def test_pixels_that_are_not_finite_are_left_out():
    pixels = np.full((1, 1, 2, 20, 20), 5.0, "f4")
    pixels[0, 0, 0, 4, 4:6] = np.nan, -np.inf
    pixels[0, 0, 1] = np.nan
    planes, (channel,), skipped = assess(MemoryImage(pixels))
    assert skipped == [402]
    assert [plane["mean"] for plane in planes] == [5, None]
    assert [plane["noise"] for plane in planes] == [0, None]
    assert channel["maximum"] == 5
    assert {value for key, value in planes[1].items() if key not in {"t", "c", "z", "channel"}} == {
        None
    }


def test_complex_pixels_are_an_error():
    with pytest.raises(InputError, match="complex64"):
        assess(five(np.zeros((3, 3)), "c8"))
