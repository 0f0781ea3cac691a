"""What the machine does to a step: kills, signals, full disks, refused files."""

import json
import os
import signal

import pytest

from unit.toy_runs import batch, make, names, records, run, sheet, start, wait_for


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    return tmp_path


def visible(folder):
    return [name for name in names(folder) if not name.startswith(".")]


def hang(folder, *args):
    """Start a step that hangs in the middle, with half of its output written."""
    flag = folder / "flag"
    process = start(*args, cwd=folder, TOY_FLAG=str(flag))
    wait_for(flag.exists)
    flag.unlink()
    return process


def test_kill_9_leaves_nothing_under_a_final_name_and_the_next_run_mends_it(folder) -> None:
    process = hang(folder, *make("--set", "action=hang"))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert visible(folder) == ["a.txt"]
    assert any(".partial" in name for name in names(folder))
    done = run(*make(), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert names(folder) == [".o.ome.zarr.stamp.json", "a.txt", "n.json", "o.ome.zarr"]


def test_kill_9_of_a_batch_costs_nothing_that_was_done(folder) -> None:
    sheet(folder, [("a", ""), ("b", "hang"), ("c", "")])
    process = hang(folder, *batch(folder))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (folder / "R/outcomes").exists()
    assert visible(folder / "R/images/b") == []
    assert (folder / "R/images/a/image.ome.zarr").exists()
    assert records(folder)["b"][0]["status"] == "started"
    sheet(folder, [("a", ""), ("b", ""), ("c", "")])
    assert run(*batch(folder), cwd=folder).returncode == 0
    outcome = json.loads((folder / "R/outcomes/make_image/0.json").read_text())
    assert [image["status"] for image in outcome["images"]] == ["done"] * 3
    assert [len(found) for found in records(folder).values()] == [1, 2, 1]
    broken, whole = records(folder)["b"]
    assert (broken["status"], broken["ended"], whole["status"]) == ("failed", None, "done")
    told = f"The attempt was broken off: b; found process {process.pid} was killed"
    assert broken["error"]["message"] == told
    assert names(folder / "R/images/b") == [
        ".image.ome.zarr.stamp.json",
        "image.ome.zarr",
        "notes.json",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_cleans_up_and_is_recorded(folder, number) -> None:
    process = hang(folder, *make("--set", "action=hang", "--record", "r.json"))
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert names(folder) == ["a.txt", "r.json"]
    record = json.loads((folder / "r.json").read_text())
    assert record["status"] == "failed"
    assert record["error"]["exit_code"] == 128 + number
    assert number.name in record["error"]["message"]


@pytest.mark.parametrize("whole_group", [True, False])
def test_a_batch_that_is_stopped_cleans_up_and_is_recorded(folder, whole_group) -> None:
    sheet(folder, [("a", "hang"), ("b", "")])
    process = hang(folder, *batch(folder))
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert names(folder / "R/images/a") == []
    assert not (folder / "R/outcomes").exists()
    (record,) = records(folder)["a"]
    assert (record["status"], record["error"]["exit_code"]) == ("failed", 143)
    assert list(records(folder)) == ["a"]
