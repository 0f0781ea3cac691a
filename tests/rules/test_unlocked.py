"""A real run in an environment that is not the one of its lock file."""

from __future__ import annotations

import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from parfocal.core.digest import digest_path
from parfocal.provenance.records import iter_records
from rules.runs import ROOT, SNAKEFILE, Run

ONE_STEP = ("--until", "fetch_image")
TOLD = "Packages are installed in other versions than the lock file names"


class Clone(Run):
    """A run by a workflow of its own, beside which another lock file lies."""

    def __init__(self, folder: Path, **versions: str) -> None:
        super().__init__(folder / "work")
        self.home = folder / "clone"
        for name in ("workflows/analyse_images", "rules", "config"):
            shutil.copytree(ROOT / name, self.home / name)
        (self.home / "envs").mkdir()
        shutil.copy(ROOT / "envs/parfocal.yaml", self.home / "envs")
        self.lock = self.home / "envs/workflow.lock.txt"
        text = (ROOT / "envs/workflow.lock.txt").read_text(encoding="utf-8")
        for name, version in versions.items():
            text, count = re.subn(rf"(?m)^{name}==\S+", f"{name}=={version}", text)
            assert count
        self.lock.write_text(text, encoding="utf-8")
        self.add_image("a")

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of Snakemake with this workflow."""
        own = str(self.home / SNAKEFILE.relative_to(ROOT))
        return [own if part == str(SNAKEFILE) else part for part in super().command(*arguments)]


@pytest.mark.parametrize("quiet", [["--quiet", "host", "reason", "rules"], []])
def test_what_is_not_as_locked_is_told_once_and_recorded(tmp_path: Path, quiet: list[str]) -> None:
    run = Clone(tmp_path, pillow="1.2.3", numpy="0.1")
    done = run.snakemake(*quiet, *ONE_STEP)
    assert done.returncode == 0, done.stderr
    here = {name: metadata.version(name) for name in ("numpy", "pillow")}
    told = f"{TOLD}: {run.lock}; found numpy {here['numpy']}, pillow {here['pillow']}. "
    (log,) = (run.folder / ".snakemake/log").iterdir()
    for text in (done.stdout + done.stderr, log.read_text(encoding="utf-8")):
        assert text.count(told) == 1
        assert "'make workflow-env'" in text
    (record,) = iter_records(run.results)
    assert record.unlocked == here
    assert record.lock_digest == digest_path(run.lock)


def test_where_all_is_as_locked_nothing_is_told(tmp_path: Path) -> None:
    run = Clone(tmp_path)
    done = run.snakemake(*ONE_STEP)
    assert done.returncode == 0, done.stderr
    assert TOLD not in done.stdout + done.stderr
    (path,) = (run.results / "records/fetch_image/a").iterdir()
    assert json.loads(path.read_text(encoding="utf-8"))["unlocked"] == {}
