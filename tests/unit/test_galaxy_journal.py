"""A journal that is a dataset becomes the journals of a results folder, and the other way round."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parfocal.cli.main import main

ONE, TWO = "omero://one.example.org/image/1", "omero://two.example.org:4064/dataset/5"
LINES = [
    {"begin": {"token": "a", "target": ONE, "kind": "tag"}},
    {"begin": {"token": "b", "target": TWO, "kind": "tag"}},
    {"made": "b", "objects": {"TagAnnotation": [[7, 9]]}},
    {"made": "a", "objects": {}},
    {"gone": "b"},
]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def lay_out(journal: Path, folder: Path) -> int:
    return main(["collect-results", "--journal", str(journal), "--folder", str(folder)])


def test_each_server_has_its_own_lines_as_they_were(tmp_path: Path) -> None:
    lines = [json.dumps(line) + "\n" for line in LINES]
    journal = written(tmp_path / "dataset_1.dat", "".join(lines) + '{"gone": "a')
    assert lay_out(journal, tmp_path / "results") == 0
    found = {path.name: path.read_text() for path in (tmp_path / "results/annotations").iterdir()}
    assert len(found) == 2
    (one,) = [text for name, text in found.items() if name.startswith("one.example.org")]
    (two,) = [text for name, text in found.items() if name.startswith("two.example.org")]
    assert one == lines[0] + lines[3]
    assert two == lines[1] + lines[2] + lines[4]


def test_an_empty_journal_is_none(tmp_path: Path) -> None:
    assert lay_out(written(tmp_path / "dataset_1.dat", ""), tmp_path / "results") == 0
    assert not (tmp_path / "results/annotations").exists()


@pytest.mark.parametrize(
    "text",
    [
        "No journal.\n",
        "[1]\n",
        "{}\n",
        '{"made": "a"}\n',
        '{"begin": {"token": "a"}}\n',
        '{"begin": {"token": "a", "target": "/etc/passwd"}}\n',
    ],
)
def test_what_is_no_journal_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str
) -> None:
    assert lay_out(written(tmp_path / "dataset_1.dat", text), tmp_path / "results") == 2
    told = capfd.readouterr().err
    assert "is no journal of annotations, or is damaged" in told
    assert "line 1" in told
    assert not (tmp_path / "results/annotations").exists()


def test_a_journal_that_is_not_there_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert lay_out(tmp_path / "none.dat", tmp_path / "results") == 2
    assert "The journal of annotations cannot be read" in capfd.readouterr().err


@pytest.mark.parametrize("options", [[], ["--listing", "a.txt"], ["--sheet", "a.tsv"]])
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["collect-results", "--folder", str(tmp_path / "results"), *options])
    assert ended.value.code == 2
