"""A step on a full disk, and on files that it may not read or write: the engine's part."""

import json
import subprocess
from pathlib import Path

import pytest

from unit.toy_runs import PROGRAM, make, names, sheet


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    return tmp_path


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


def test_a_file_that_may_not_be_read_is_named(folder) -> None:
    (folder / "a.txt").chmod(0)
    done = without_powers(folder, *make())
    assert done.returncode == 2, done.stderr
    assert "a.txt" in done.stderr
    assert "read permission" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(folder) == ["a.txt"]


def test_a_folder_that_may_not_be_written_is_named(folder) -> None:
    (folder / "locked").mkdir(mode=0o555)
    args = ["--source", "a.txt", "--image", "locked/o.ome.zarr", "--notes", "n.json"]
    done = without_powers(folder, "make-image", *args)
    assert done.returncode == 2, done.stderr
    assert "locked" in done.stderr
    assert "Traceback" not in done.stderr
    assert Path(folder / "locked").exists()
    assert names(folder / "locked") == []
