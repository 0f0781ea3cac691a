import json
import logging
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import parfocal
import parfocal.steps
from parfocal.cli.commands import COMMANDS
from parfocal.cli.log import progress_to_stderr
from parfocal.cli.main import main
from parfocal.core.publish import write_json
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.sheet import batch_count, batch_of
from unit.toy_runs import batch, make, names, run, sheet
from unit.toy_steps import STEPS, SUMMARIES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working folder with toy steps; logging and signals are put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARFOCAL_ENGINE", "restored afterwards")
    monkeypatch.delenv("PARFOCAL_ENGINE")
    monkeypatch.setattr(parfocal.steps, "SUMMARIES", SUMMARIES)
    monkeypatch.setattr(parfocal.steps, "load_step", STEPS.__getitem__)
    (tmp_path / "a.txt").write_text("hello")
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root, ours = logging.getLogger(), logging.getLogger("parfocal")
    before = list(root.handlers), root.level, ours.level
    yield tmp_path
    root.handlers, root.level = before[:2]
    ours.setLevel(before[2])
    logging.captureWarnings(capture=False)
    for number, handler in signals.items():
        signal.signal(number, handler)


def ended(*args):
    """Run the command line in this process and return its exit code."""
    try:
        return main([str(arg) for arg in args])
    except SystemExit as stop:
        return stop.code


def error_line(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line]
    return line


def test_one_image(folder) -> None:
    assert ended(*make("--record", "r.json", "--set", "repeat=2")) == 0
    assert (folder / "o.ome.zarr/c/0/0").read_text() == "hellohello"
    record = json.loads((folder / "r.json").read_text())
    assert record["status"] == "done"
    assert record["engine"]["name"] == "shell"


@pytest.mark.parametrize(("action", "code"), [("input", 2), ("remote", 3), ("verify", 4)])
def test_exit_codes_say_whose_fault_it_is(folder, capsys, action, code) -> None:
    assert ended(*make("--set", f"action={action}")) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert names(folder) == ["a.txt"]


def test_an_error_is_one_line_that_says_all(folder, capsys) -> None:
    ended(*make("--set", "action=input"))
    assert capsys.readouterr().err == (
        "parfocal: ERROR: The toy is broken: toy; expected a toy; found pieces. Glue it.\n"
    )


def test_a_bug_is_exit_code_1_with_a_traceback(folder) -> None:
    done = run(*make("--set", "action=bug"), cwd=folder)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert "KeyError: 'a slip'" in done.stderr
    assert names(folder) == ["a.txt"]


def test_an_output_that_exists_is_refused_and_may_be_replaced(folder, capsys) -> None:
    assert ended(*make()) == 0
    assert ended(*make()) == 2
    assert "o.ome.zarr; expected nothing there" in error_line(capsys)
    assert ended(*make("--replace", "--set", "repeat=3")) == 0
    assert (folder / "o.ome.zarr/c/0/0").read_text() == "hello" * 3


def test_input_and_output_in_one_place_are_refused(folder, capsys) -> None:
    args = ["--source", "a.txt", "--image", "a.txt", "--notes", "n.json"]
    assert ended("make-image", *args) == 2
    assert "never writes into its inputs" in error_line(capsys)


def test_a_missing_input_is_refused_by_name(folder, capsys) -> None:
    (folder / "a.txt").unlink()
    assert ended(*make()) == 2
    assert "a.txt" in error_line(capsys)


@pytest.mark.parametrize(
    "name", ["a b.txt", "[x] {y}.txt", "$HOME.txt", "q'\"`.txt", "üµ\u2028.txt"]
)
def test_odd_names_go_through(folder, name) -> None:
    (folder / "a.txt").rename(folder / name)
    image = f"out {name}.ome.zarr"
    assert ended("make-image", "--source", name, "--image", image, "--notes", f"n {name}") == 0
    assert (folder / image / "zarr.json").exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["make-image"], "--source, --image, --notes missing"),
        (make("--thraeds", "1"), "--thraeds"),
        (make("--threads", "0"), "--threads is at least 1"),
        (make("--thr", "1"), "--thr"),
        (["make-image", "--sheet", "s.tsv"], "a batch needs --batch, --batch-size"),
        (["schema"], "STEP"),
    ],
)
def test_a_wrong_command_line_is_told_with_its_usage(folder, capsys, args, told) -> None:
    assert ended(*args) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "usage: parfocal" in err


def test_an_unknown_command_is_told_the_nearest(folder, capsys) -> None:
    assert ended("make-imgae") == 2
    assert "Did you mean 'make-image'?" in error_line(capsys)
    assert ended("qqq") == 2
    assert "--help" in error_line(capsys)


def test_help_lists_every_command(folder, capsys) -> None:
    for args in (["--help"], ["-h"], ["help"]):
        assert ended(*args) == 0
        out = capsys.readouterr().out
        for name in ("make-image", "measure-image", "summarize-run", "schema", "check-outcomes"):
            assert f"  {name} " in out
    assert ended() == 2


def test_the_help_of_a_step_lists_its_ports(folder, capsys) -> None:
    assert ended("measure-image", "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--image PATH the image" in out
    assert "--extra PATH more (optional)" in out
    assert "--sheet" in out
    ended("summarize-run", "--help")
    assert "--sheet" not in capsys.readouterr().out


def test_version(capsys) -> None:
    assert ended("--version") == 0
    assert capsys.readouterr().out == f"parfocal {parfocal.__version__}\n"


def test_schema_prints_json_and_refuses_unknown_steps(folder, capsys) -> None:
    assert ended("schema", "make-image") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "make-image"
    assert ended("schema", "mak-image") == 2
    assert "make-image, measure-image" in error_line(capsys)


def test_a_batch_that_does_not_exist_is_refused(folder, capsys) -> None:
    sheet(folder, [("a", ""), ("b", "")])
    args = batch(folder)
    args[args.index("--batch") + 1] = "1"
    assert ended(*args) == 2
    assert "--batch below 1, for 2 images; found 1" in error_line(capsys)


def test_a_bad_sheet_is_refused_before_anything_runs(folder, capsys) -> None:
    sheet(folder, [("a", ""), ("a", "")])
    assert ended(*batch(folder)) == 2
    assert "s.tsv, row 3, column image_id" in error_line(capsys)
    assert not (folder / "R").exists()


def test_all_batches_together_do_each_image_once(folder) -> None:
    rows = [(f"i{number}", "") for number in range(5)]
    sheet(folder, rows)
    batches = batch_count(5, 2)
    done = []
    for number in range(batches):
        args = batch(folder)
        args[args.index("--batch") + 1] = number
        args[args.index("--batch-size") + 1] = 2
        args[args.index("--outcome") + 1] = folder / f"{number}.json"
        assert run(*args, cwd=folder).returncode == 0
        images = json.loads((folder / f"{number}.json").read_text())["images"]
        assert all(batch_of(image["image_id"], batches) == number for image in images)
        done += [image["image_id"] for image in images]
    assert sorted(done) == [name for name, _ in rows]


def put(folder, step, **images):
    error = "The file is damaged.\nGet it again."
    found = tuple(
        ImageOutcome(image_id=n, status=s, failed_step=step, error=error) for n, s in images.items()
    )
    outcome = Outcome(step=step, images=found).model_dump(mode="json")
    write_json(folder / "R" / "outcomes" / step / "0.json", outcome)


def check(folder, *args):
    return ended("check-outcomes", "--sheet", folder / "s.tsv", "--results", folder / "R", *args)


def test_outcomes_are_green_when_all_images_are_done(folder, capsys) -> None:
    sheet(folder, [("a", ""), ("b", "")])
    put(folder, "make", a="done", b="done", gone="failed")
    assert check(folder) == 0
    assert capsys.readouterr().out == "2 images done\n"


def test_outcomes_are_red_with_a_line_for_each_failed_image(folder, capsys) -> None:
    sheet(folder, [("a", ""), ("b", "")])
    put(folder, "make", a="failed", b="failed")
    put(folder, "measure", a="skipped", b="skipped")
    assert check(folder) == 4
    first, second, verdict = capsys.readouterr().err.splitlines()
    assert first == "parfocal: ERROR: a (make): The file is damaged. Get it again."
    assert second == "parfocal: ERROR: b (make): The file is damaged. Get it again."
    assert verdict.startswith(f"parfocal: ERROR: 2 of 2 images failed: {folder / 'R'}. Mend the")


def test_outcomes_are_red_when_an_image_has_none(folder, capsys) -> None:
    sheet(folder, [("a", ""), ("b", "")])
    put(folder, "make", a="done")
    assert check(folder) == 4
    assert "b" in error_line(capsys)


HEAVY = {
    *("numpy", "yaml", "tifffile", "zarr", "tensorstore", "scipy", "skimage", "cv2", "cc3d"),
    *("pyarrow", "jinja2", "rocrate", "ome_zarr", "imagecodecs", "obstore"),
    *("tqdm", "PIL", "multiprocessing", "asyncio", "ssl"),
}


HELP_OF_EACH_STEP = """
from parfocal.cli.step_command import make_parser
from parfocal.steps import STEPS
for step in STEPS:
    make_parser(step).format_help()
"""


@pytest.mark.parametrize(
    ("program", "deny"),
    [
        ("import parfocal.cli.main as m; m.main(['--help'])", HEAVY | {"pydantic"}),
        (HELP_OF_EACH_STEP, HEAVY),
    ],
    ids=["help", "help of each step"],
)
def test_help_imports_nothing_heavy(program, deny) -> None:
    program += f"\nimport sys; print('HEAVY', sorted(set(sys.modules) & {deny}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_progress_is_plain_lines_where_there_is_no_terminal(monkeypatch, caplog) -> None:
    times = iter([0.0, 5.0, 11.0, 11.0, 12.0])
    monkeypatch.setattr("parfocal.cli.log.time.monotonic", lambda: next(times))
    show = progress_to_stderr("make-image")
    with caplog.at_level(logging.INFO, logger="parfocal"):
        for done in (1, 2, 3):
            show(done, 3)
    assert caplog.messages == ["make-image: 66 % done"]


def test_the_reference_page_tells_the_exit_codes_and_commands() -> None:
    text = PAGE.read_text()
    assert re.findall(r"^\| ([0-9]+) \|", text, re.MULTILINE) == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "130",
        "143",
    ]
    for name in COMMANDS:
        assert f"`parfocal {name}" in text
