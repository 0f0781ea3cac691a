"""The rules are in form: complete, formatted, lint-free, and planned as expected."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import parfocal
from parfocal.models.sheet import read_sheet
from rules.runs import ROOT, SNAKEFILE, Run, program

RULE_FILES = sorted((ROOT / "rules").glob("**/*.smk"))
SECTIONS = ("log", "benchmark", "threads", "resources", "conda", "container", "shell")


def rule_texts() -> list[tuple[str, str]]:
    found = []
    for path in RULE_FILES:
        parts = re.split(r"^rule (\w+):\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        name = path.relative_to(ROOT).as_posix()
        found += [
            (f"{name}:{rule}", text) for rule, text in zip(parts[1::2], parts[2::2], strict=True)
        ]
    return found


@pytest.mark.parametrize(("name", "text"), rule_texts(), ids=[name for name, _ in rule_texts()])
def test_each_rule_has_all_sections(name: str, text: str) -> None:
    sections = re.findall(r"^    (\w+):", text, re.MULTILINE)
    assert not set(SECTIONS) - set(sections)
    assert "directory(" not in text
    assert f'"docker://localhost/parfocal:{parfocal.__version__}"' in text
    assert re.search(r"\bmem_mb=", text)
    assert re.search(r"\bruntime=", text)


@pytest.mark.parametrize("path", RULE_FILES, ids=[path.name for path in RULE_FILES])
def test_rules_import_nothing_of_ours(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"import parfocal|from parfocal|^\s+(run|script):", text, re.MULTILINE)
    environment = (
        "../../envs/parfocal.yaml" if path.parent.name == "single" else "../envs/parfocal.yaml"
    )
    assert (path.parent / environment).exists()


def test_snakefmt_has_nothing_to_change() -> None:
    subprocess.run([program("snakefmt"), "--check", "rules", "workflows"], cwd=ROOT, check=True)


def test_lint_finds_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.add_image("a")
    done = run.snakemake("--lint")
    assert done.returncode == 0, done.stderr
    assert "Congratulations" in done.stdout + done.stderr


def test_the_configuration_of_the_demo_plans_it(tmp_path: Path) -> None:
    (tmp_path / "config").symlink_to(ROOT / "config")
    for row in read_sheet(ROOT / "config/demo.tsv"):  # planning looks whether they are there
        for name in filter(None, (row.source, row.free.get("ground_truth"))):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    command = [program("snakemake"), "--snakefile", SNAKEFILE, "--cores", "2", "--dry-run"]
    command += ["--forceall", "--configfile", "config/analyse_images.yaml", "config/demo.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for rule in ("fetch_image", "segment_objects", "score_objects", "record_run"):
        assert re.search(rf"^{rule} +1$", done.stdout, re.MULTILINE)
    assert not re.search(r"^filter_image ", done.stdout, re.MULTILINE)
