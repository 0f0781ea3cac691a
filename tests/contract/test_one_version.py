"""`make release-check` names each place that has another version."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import parfocal

ROOT = Path(__file__).parents[2]
PLACES = (
    "src/parfocal/__init__.py",
    "CITATION.cff",
    "CHANGELOG.md",
    "galaxy_tools/macros/macros.xml",
    "rules/convert.smk",
    "rules/single/fetch.smk",
    "workflows/analyse_images/analyse_images.gxwf.yml",
    "docs/howto/containers.md",
    "docs/howto/galaxy.md",
    "pyproject.toml",
)


def one_version(source: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "envs/one_version.py", source]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("source")
    for name in PLACES:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    return copy


def test_the_project_has_one_version() -> None:
    done = one_version(ROOT)
    assert (done.returncode, done.stdout) == (0, f"{parfocal.__version__}\n"), done.stderr


@pytest.mark.parametrize("name", PLACES)
def test_the_place_that_was_forgotten_is_named(source: Path, name: str) -> None:
    path = source / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(parfocal.__version__, "9.8.7", 1), encoding="utf-8")
    try:
        done = one_version(source)
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode == 1
    assert "9.8.7" in done.stderr
    assert f"{name}:" in done.stderr or name == "pyproject.toml"
    assert one_version(source).returncode == 0


@pytest.mark.parametrize("name", ["CITATION.cff", "galaxy_tools/macros/macros.xml"])
def test_a_place_without_a_version_is_named(source: Path, name: str) -> None:
    path = source / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(parfocal.__version__, ""), encoding="utf-8")
    try:
        assert f"{name} has none" in one_version(source).stderr
    finally:
        path.write_text(text, encoding="utf-8")
