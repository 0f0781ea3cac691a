"""Jobs on Slurm have logins from their environment alone: not from their script or its options."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fake_slurm import put_on_path
from parfocal.core.secrets import SECRET_VARIABLES
from rules.runs import ROOT, Run, environment

SECRET = "correct-horse-battery-staple"


def test_what_is_submitted_holds_no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put_on_path(tmp_path / "bin", monkeypatch)
    (folder / "sbatch").write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/submitted\n'
        f'for file in "$@"; do [ ! -f "$file" ] || cat "$file" >> {folder}/submitted; done\n'
        f"[ -t 0 ] || timeout 1 cat >> {folder}/submitted\n"
        'case "$*" in *--test-only*) exit 0;; esac\necho refused >&2\nexit 1\n'
    )
    (folder / "sbatch").chmod(stat.S_IRWXU)
    run = Run(tmp_path)
    run.add_image("a")
    profile = ("--profile", str(ROOT / "config/profiles/slurm"), "--retries", "0")
    path = {"PATH": f"{folder}{os.pathsep}{environment()['PATH']}"}
    done = run.snakemake(*profile, **dict.fromkeys(SECRET_VARIABLES, SECRET), **path)
    assert done.returncode != 0
    submitted = (folder / "submitted").read_text("utf-8")
    assert "fetch_image" in submitted
    assert SECRET not in submitted + done.stdout + done.stderr
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert not [each for each in files if SECRET.encode() in each.read_bytes()]
