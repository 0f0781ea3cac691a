"""Ice is compiled once and kept for the next environment: the scripts, with tools that stand in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENVS = Path(__file__).parents[2] / "envs"
TIMEOUT_S = 60

PYTHON = f"""#!/usr/bin/env bash
case "$*" in
    *"pip download"*)
        while [ "$1" != --dest ]; do shift; done
        mkdir zeroc-ice-3.6.5 && tar -czf "$2/zeroc-ice-3.6.5.tar.gz" zeroc-ice-3.6.5
        rmdir zeroc-ice-3.6.5 ;;
    *bdist_wheel*)
        sleep 0.5
        echo compiled >> "$TOLD"
        while [ "$1" != --dist-dir ]; do shift; done
        mkdir -p "$2" && touch "$2/zeroc_ice-3.6.5-cp311.whl" ;;
    *"Ice.stringVersion"*) [ -n "$ICE" ] && echo "$ICE" ;; # else it is not installed
    *compileall* | *"Ice.initialize"* | *"import omero"*) ;;
    *) exec {sys.executable} "$@" ;;
esac
"""
UV = """#!/usr/bin/env bash
echo "uv $*" >> "$TOLD"
"""
KEPT = "parfocal/zeroc-ice/cpython-311-linux-x86_64-8b614a5eb7d679aa/zeroc_ice-3.6.5-cp311.whl"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The scripts, and an environment whose programs write down what they are asked for."""
    folder = tmp_path / "project"
    shutil.copytree(ENVS / "zeroc_ice", folder / "envs/zeroc_ice")
    for name in ("omero.sh", "omero.lock.txt", "ice.lock.txt"):
        shutil.copy(ENVS / name, folder / "envs")
    programs = {
        ".venv/bin/python": PYTHON,
        ".venv/bin/uv": UV,
        "bin/g++": "#!/bin/sh\ncat > /dev/null\n",
    }
    for name, text in programs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
        (folder / name).chmod(0o755)
    return folder


def start(project: Path, ice: str = "") -> subprocess.Popen[str]:
    """Start what ``make omero`` runs, with a cache of its own, and where the Ice came from."""
    return subprocess.Popen(
        ["bash", project / "envs/omero.sh"],
        env=os.environ
        | {
            "PATH": f"{project / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(project / "cache"),
            "TOLD": str(project / "told"),
            "ICE": ice,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(project: Path, ice: str = "") -> None:
    process = start(project, ice)
    text, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, text


def told(project: Path) -> list[str]:
    """Return what the programs were asked for so far: to compile, or to install what."""
    lines = (project / "told").read_text("utf-8").splitlines()
    return [line.rpartition("/")[2] for line in lines]


def test_a_second_make_omero_does_nothing(project: Path) -> None:
    run(project)
    first = told(project)
    assert first.count("compiled") == 1
    assert first[-1] == "zeroc_ice-3.6.5-cp311.whl"
    run(project)
    assert told(project) == first


def test_a_new_environment_takes_the_wheel_that_was_kept(project: Path) -> None:
    run(project)
    (stamp,) = (project / ".venv").glob(".omero-*")
    stamp.unlink()
    run(project)
    assert told(project).count("compiled") == 1
    assert told(project).count("zeroc_ice-3.6.5-cp311.whl") == 3  # tried, and installed twice


def test_two_at_once_compile_once(project: Path) -> None:
    both = [start(project), start(project)]
    for process in both:
        text, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, text
    assert told(project).count("compiled") == 1


@pytest.mark.parametrize("changed", ["include/current_frame.h", "wheel.sh"])
def test_other_headers_or_flags_make_another_wheel(project: Path, changed: str) -> None:
    run(project)
    file = project / "envs/zeroc_ice" / changed
    before = file.read_text("utf-8")
    after = before.replace("-O2", "-O1") if changed == "wheel.sh" else f"{before}\n"
    assert after != before
    file.write_text(after, "utf-8")
    run(project)
    assert told(project).count("compiled") == 2


def installed(project: Path) -> list[str]:
    """Return what was installed last into the environment itself, after the packages."""
    lines = told(project)
    return lines[lines.index("omero.lock.txt") + 1 :]


@pytest.mark.parametrize("ice", [f"file:///home/a%20b/.cache/{KEPT}", f"file:///tmp/{KEPT}"])
def test_an_ice_that_was_compiled_in_another_way_is_replaced(project: Path, ice: str) -> None:
    run(project, f'{{"url": "{ice}", "archive_info": {{}}}} is there')
    assert installed(project)[-1] == "zeroc_ice-3.6.5-cp311.whl"
    assert "--reinstall" in (project / "told").read_text("utf-8").splitlines()[-1]


@pytest.mark.parametrize("ice", ["None", '{"url": "https://example.org/zeroc_ice.whl"}'])
def test_an_ice_of_somebody_else_is_kept(project: Path, ice: str) -> None:
    run(project, f"{ice} is there")
    assert installed(project) == []


@pytest.mark.parametrize("changed", ["omero.sh", "zeroc_ice/setup_in_parallel.py"])
def test_what_decides_on_the_ice_is_part_of_the_stamp(project: Path, changed: str) -> None:
    run(project)
    with (project / "envs" / changed).open("a", encoding="utf-8") as script:
        script.write("#\n")
    before = told(project)
    run(project)
    assert told(project) != before
