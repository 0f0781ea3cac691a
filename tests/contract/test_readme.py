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


def test_one_step_at_a_time(tmp_path: Path) -> None:
    section = README.split("## One step at a time")[1].split("\n## ")[0]
    commands = re.findall(r"^\$ (.+)$", section, re.MULTILINE)
    (python,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(commands) == 3
    image = np.random.default_rng(0).poisson(20, (128, 128)).astype(np.uint16)
    image[20:40, 20:40] += 500
    image[70:95, 60:85] += 500
    tifffile.imwrite(tmp_path / "cells.tif", image)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in commands:
        subprocess.run(
            command, shell=True, cwd=tmp_path, env=os.environ | {"PATH": path}, check=True
        )
    table = (tmp_path / "nuclei.tsv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 3
    done = subprocess.run(
        [sys.executable, "-c", python], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("zarr-merkle-sha256:")
