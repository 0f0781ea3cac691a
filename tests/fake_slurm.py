"""Commands of Slurm that write down what they are asked, and answer from files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

NAMES = ("sbatch", "scancel", "sinfo", "squeue")


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the commands in a folder of their own, and return it.

    ``NAME.says`` is what a command prints; with ``NAME.fails`` it fails, and prints that. What
    they are asked is in ``asked``. A file ``NAME.WORD.says`` answers when WORD is an argument.
    """
    folder.mkdir()
    for name in NAMES:
        script = folder / name
        script.write_text(
            f'#!/bin/sh\necho {name} "$@" >> {folder}/asked\n'
            f'for word in "$@"; do if [ -e "{folder}/{name}.$word.says" ]; then\n'
            f'    cat "{folder}/{name}.$word.says"; exit\nfi; done\n'
            f"cat {folder}/{name}.says 2>/dev/null\n"
            f"[ ! -e {folder}/{name}.fails ] || {{ cat {folder}/{name}.fails >&2; exit 1; }}\n"
        )
        script.chmod(stat.S_IRWXU)
    (folder / "sinfo.says").write_text("long\nshort\nshort\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return folder
