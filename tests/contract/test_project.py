"""The project's files agree with each other."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

import parfocal

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_there_is_one_version_number() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == citation["version"] == parfocal.__version__
    assert f"## {parfocal.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_lock_files_hold_names_versions_and_hashes_only() -> None:
    locks = list((ROOT / "envs").glob("*.lock.txt"))
    assert locks
    package = r"[A-Za-z0-9._-]+(?:\[[a-z0-9_,-]+\])?==[^ ;]+(?: ; .+)?"
    line = re.compile(rf"(?:    --hash=sha256:[0-9a-f]{{64}}|{package})(?: \\)?")
    for lock in locks:
        for text in lock.read_text(encoding="utf-8").splitlines():
            assert line.fullmatch(text), f"{lock.name}: {text}"


def test_no_file_names_the_host_of_a_package_registry() -> None:
    hosts = re.compile(
        r"pypi\.org|pythonhosted" + r"\.org|registry\.npm" + r"js|deb\.deb" + r"ian\.org"
    )
    found = [
        path.relative_to(ROOT)
        for path in tracked()
        if hosts.search(path.read_text(encoding="utf-8", errors="replace"))
        and path != Path(__file__)
    ]
    assert not found


def test_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text


def test_every_target_of_the_makefile_is_listed_by_help() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for target in ("demo", "test", "check", "lint", "lock", "bench", "clean"):
        assert re.search(rf"^{target}\s", listed, re.MULTILINE)


def test_links_in_the_documentation_lead_somewhere() -> None:
    pages = [path for path in tracked() if path.suffix == ".md"]
    assert pages
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
