"""Every step gives the same bytes on processors that can do less."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from memory_images import save

FEWER = {
    "OPENCV_CPU_DISABLE": "AVX2,FP16,AVX,FMA3",
    "OPENCV_IPP": "disabled",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Prescott",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX,-FMA4",
}
"""How OpenCV, NumPy, BLAS and the C library are told to do without newer instructions."""


def blobs(*shape):
    rng = np.random.default_rng(7)
    grid = np.indices(shape)
    image = rng.normal(100, 3, shape)
    for _ in range(3 * shape[0]):
        centre = [rng.uniform(0, size) for size in shape]
        parts = zip(grid, centre, (1.5, 5.0, 5.0), strict=True)
        image += 300 * np.exp(-sum((g - m) ** 2 / (2 * w**2) for g, m, w in parts))
    return image


@pytest.fixture
def folder(tmp_path):
    """Return a folder with images of all data types that are computed with in another way."""
    images = {
        "narrow": np.rint(blobs(6, 61, 150)).astype(np.uint16),
        "wide": np.rint(blobs(3, 61, 150) * 1000).astype(np.int32),
        "single": blobs(3, 61, 150).astype(np.float32) / 7,
        "double": blobs(3, 61, 150) / 7,
    }
    for name, pixels in images.items():
        path = tmp_path / "images" / f"{name}.ome.zarr"
        save(path, pixels, "ZYX", z_um=1.5, y_um=0.5, x_um=0.5)
    return tmp_path


def run(folder, where, told):
    """Compute all in a process of its own, and return the digests."""
    work = folder / where
    work.mkdir()
    (work / "images").symlink_to(folder / "images")
    script = Path(__file__).with_name("processor_work.py")
    tests = str(script.parents[1])
    done = subprocess.run(
        [sys.executable, script, work],
        env=os.environ | {"PYTHONPATH": tests} | told,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_byte_depends_on_what_the_processor_can_do(folder):
    with ThreadPoolExecutor(2) as both:
        all_, fewer = both.map(run, [folder] * 2, ["all", "fewer"], [{}, FEWER])
    differing = [name for name in all_ if all_[name] != fewer[name]]
    witness = {"witness"} if " fma " in Path("/proc/cpuinfo").read_text() else set()
    assert differing == sorted(witness)
    assert len(all_) > 60
