"""What the machine does to a step: kills, signals, full disks, refused files."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from unit.toy_runs import PROGRAM, batch, make, names, records, run, sheet, start, wait_for

as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="takes root: a mount, or giving up its powers"
)


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


# A tiny disk in a mount namespace of its own, which ends with the command.
ON_A_TINY_DISK = """
set -e
mkdir disk
mount -t tmpfs -o size="$1" tmpfs disk
shift
set +e
"$@"
code=$?
find disk -mindepth 1 -not -type d -print | sort >left.txt
exit $code
"""


def on_a_tiny_disk(folder, size, *args):
    command = ["unshare", "--mount", "sh", "-c", ON_A_TINY_DISK, "sh", size, *PROGRAM]
    return subprocess.run(
        [*command, *map(str, args)], cwd=folder, capture_output=True, text=True, check=False
    )


@as_root
def test_a_full_disk_is_named_and_leaves_nothing(folder) -> None:
    args = ["--source", "a.txt", "--image", "disk/o.ome.zarr", "--notes", "disk/n.json"]
    args += ["--record", "r.json", "--set", "action=fill"]
    done = on_a_tiny_disk(folder, "256k", "make-image", *args)
    assert done.returncode == 2, done.stderr
    assert "disk/o.ome.zarr; found [Errno 28] No space left on device" in done.stderr
    assert "Free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "left.txt").read_text() == ""
    assert json.loads((folder / "r.json").read_text())["error"]["type"] == "StorageError"


@as_root
def test_a_disk_that_fills_in_a_batch_costs_the_images_that_did_not_fit(folder) -> None:
    sheet(folder, [("a", ""), ("b", "fill"), ("c", "")])
    args = ["--sheet", "s.tsv", "--batch", 0, "--batch-size", 9, "--folder", "disk/R"]
    done = on_a_tiny_disk(folder, "512k", "make-image", *args, "--outcome", "o.json")
    assert done.returncode == 0, done.stderr
    images = json.loads((folder / "o.json").read_text())["images"]
    assert [image["status"] for image in images] == ["done", "failed", "done"]
    assert "disk/R/images/b" in images[1]["error"]
    left = (folder / "left.txt").read_text().splitlines()
    assert [name for name in left if "/images/b/" in name] == []


@as_root
def test_a_disk_that_takes_not_even_a_record_is_the_users_fault(folder) -> None:
    sheet(folder, [("a", "")])
    args = ["--sheet", "s.tsv", "--batch", 0, "--batch-size", 9, "--folder", "disk/R"]
    filler = folder / "fill.sh"
    filler.write_text('cat /dev/zero >disk/filler 2>/dev/null\nexec "$@"\n')
    command = ["unshare", "--mount", "sh", "-c", ON_A_TINY_DISK, "sh", "64k", "sh", str(filler)]
    done = subprocess.run(
        [*command, *PROGRAM, *map(str, ["make-image", *args, "--outcome", "disk/R/o/0.json"])],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "disk/" in done.stderr
    assert (folder / "left.txt").read_text() == "disk/filler\n"


def without_powers(folder, *args):
    """Run the program so that permissions hold for root too."""
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *PROGRAM]
    return subprocess.run(
        [*command, *map(str, args)], cwd=folder, capture_output=True, text=True, check=False
    )


@as_root
def test_a_file_that_may_not_be_read_is_named(folder) -> None:
    (folder / "a.txt").chmod(0)
    done = without_powers(folder, *make())
    assert done.returncode == 2, done.stderr
    assert "a.txt" in done.stderr
    assert "read permission" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(folder) == ["a.txt"]


@as_root
def test_a_folder_that_may_not_be_written_is_named(folder) -> None:
    (folder / "locked").mkdir(mode=0o555)
    args = ["--source", "a.txt", "--image", "locked/o.ome.zarr", "--notes", "n.json"]
    done = without_powers(folder, "make-image", *args)
    assert done.returncode == 2, done.stderr
    assert "locked" in done.stderr
    assert "Traceback" not in done.stderr
    assert Path(folder / "locked").exists()
    assert names(folder / "locked") == []
