"""The README's commands and Python work as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def section_of(title: str) -> str:
    """Return the text of a section."""
    return README.split(f"## {title}\n")[1].split("\n## ")[0]


def run_commands(section: str, folder: Path) -> list[str]:
    """Run the commands of a section as they stand there, and return them."""
    commands = re.findall(r"^\$ (.+)$", section, re.MULTILINE)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path}
    for command in commands:
        subprocess.run(command, shell=True, cwd=folder, env=environment, check=True)
    return commands


def test_convert_and_prove(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "scan.ome.tif", ome=True) as writer:
        for size in (40, 50):
            writer.write(np.arange(size * 30, dtype=np.uint16).reshape(size, 30))
    assert len(run_commands(section_of("Convert and prove"), tmp_path)) == 3
    assert (tmp_path / "scan.ome.zarr/1/zarr.json").is_file()
    with tifffile.TiffFile(tmp_path / "one.ome.tiff") as tiff:
        assert tiff.series[0].shape == (50, 30)


def test_one_step_at_a_time(tmp_path: Path) -> None:
    section = section_of("One step at a time")
    (python,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    image = np.random.default_rng(0).poisson(20, (128, 128)).astype(np.uint16)
    image[20:40, 20:40] += 500
    image[70:95, 60:85] += 500
    tifffile.imwrite(tmp_path / "cells.tif", image)
    assert len(run_commands(section, tmp_path)) == 4
    assert (tmp_path / "nuclei.png").read_bytes().startswith(b"\x89PNG")
    table = (tmp_path / "nuclei.tsv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 3
    done = subprocess.run(
        [sys.executable, "-c", python], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("zarr-merkle-sha256:")
