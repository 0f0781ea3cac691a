"""The script that makes .venv: it does nothing again, unless a package was exchanged since."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "python": f'exec "{sys.executable}" "$@"\n',
    "pip": "echo pip >> calls\n",
    "uv": "echo uv >> calls\n",
}


@pytest.fixture
def venv(tmp_path):
    """Return a function that calls the script, and tells how often it installed something."""
    for name in ("bootstrap", "alone", "workflow"):
        (tmp_path / f"envs/{name}.lock.txt").parent.mkdir(exist_ok=True)
        (tmp_path / f"envs/{name}.lock.txt").write_text(f"numpy=={metadata.version('numpy')}\n")
    shutil.copy(ROOT / "envs/venv.sh", tmp_path / "envs")
    (tmp_path / "pyproject.toml").touch()
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}")
        (programs / name).chmod(0o755)

    def call(**more):
        (tmp_path / "calls").write_text("")
        command = ["bash", str(tmp_path / "envs/venv.sh"), "workflow"]
        subprocess.run(command, check=True, env=os.environ | more, capture_output=True)
        return (tmp_path / "calls").read_text().split()

    return call


def test_an_environment_is_made_once(venv):
    assert venv() == ["pip", "uv", "uv"]
    assert venv() == []


def test_a_package_that_was_exchanged_is_put_back(venv, tmp_path):
    venv()
    (tmp_path / "site/numpy-0.1.dist-info").mkdir(parents=True)
    assert venv(PYTHONPATH=str(tmp_path / "site")) == ["pip", "uv", "uv"]
    assert venv() == []
