"""Starts `toy_steps` as a program of its own, as an engine would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["PROGRAM", "batch", "make", "names", "records", "run", "sheet", "start", "wait_for"]

# Compiled once for all starts, also where the environment forbids it in the source folders.
_ENVIRONMENT = {
    name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
_ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / "parfocal-tests-bytecode")

PROGRAM = (sys.executable, str(Path(__file__).with_name("toy_steps.py")))


def start(*args: object, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """Start the program in a process group of its own."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, args)],
        cwd=cwd,
        env=_ENVIRONMENT | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(*args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    process = start(*args, cwd=cwd, **env)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def make(*args: object) -> list[object]:
    """Return the arguments that make the image ``o.ome.zarr`` of ``a.txt``."""
    return ["make-image", "--source", "a.txt", "--image", "o.ome.zarr", "--notes", "n.json", *args]


def sheet(folder: Path, rows: Sequence[Sequence[str]], name: str = "s.tsv") -> Path:
    """Write a sheet of (image_id, action); all images come from ``a.txt``."""
    (folder / "a.txt").write_text("hello")
    lines = ["image_id\tname\tsource\taction"]
    lines += [f"{image}\tThe {image}\ta.txt\t{action}" for image, action in rows]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def batch(folder: Path, *args: object, step: str = "make-image", name: str = "s.tsv") -> list[Any]:
    """Return the arguments that run all images of a sheet in one batch."""
    outcome = folder / "R" / "outcomes" / step.replace("-", "_") / "0.json"
    where = ["--sheet", name, "--batch", "0", "--batch-size", "100", "--folder", "R"]
    return [step, *where, "--outcome", outcome, *args]


def records(folder: Path, step: str = "make_image") -> dict[str, list[dict[str, Any]]]:
    """Return all records of a step in ``R``, by image."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((folder / "R" / "records" / step).glob("*/*.json")):
        found.setdefault(path.parent.name, []).append(json.loads(path.read_text()))
    return found


def names(folder: Path) -> list[str]:
    """Return the names of all entries of a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


def wait_for(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
