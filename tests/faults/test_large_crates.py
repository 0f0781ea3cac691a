"""Run crates of a million entities, and of more than are taken."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.large_crates import write_large_crate

MILLION = 1_000_000
CHANGED = "plate-7_well-000005"
MOST_BYTES = 1 << 30
# The most memory that this process ever had: what the system tells of children counts their parent.
MEASURED = """
import sys
from pathlib import Path
from parfocal.cli.main import main
code = main(sys.argv[1:])
(line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x[:6] == "VmHWM:"]
sys.stderr.write(f"{int(line.split()[1]) * 1024}")
sys.exit(code)
"""


@dataclass
class Done:
    """How a command ended, what it told, and the most memory that it had."""

    code: int
    lines: list[str]
    told: str
    peak_bytes: int


def parfocal(*arguments: object) -> Done:
    command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    told, _, peak = done.stderr.rstrip().rpartition("\n")
    assert "Traceback" not in done.stderr
    return Done(done.returncode, done.stdout.splitlines(), told, int(peak))


@pytest.fixture(scope="module")
def crate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a crate of a million entities, all of whose data but one file lie elsewhere."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "a.tif").write_bytes(b"pixels")
    return write_large_crate(folder / "crate", MILLION, folder / "a.tif")


def test_a_crate_of_a_million_entities_is_verified(crate: Path) -> None:
    done = parfocal("verify-run", crate)
    assert done.code == 0, done.told
    assert done.lines[-1] == "310346 remote, 1 unchanged"
    assert done.peak_bytes < MOST_BYTES


def test_runs_of_a_million_entities_are_compared(crate: Path) -> None:
    source = crate.parent / "a.tif"
    other = write_large_crate(crate.parent / "other", MILLION, source, changed=CHANGED)
    done = parfocal("compare-runs", crate, other)
    assert done.code == 4
    assert done.lines[-1] == "137931 results are the same, 1 differ"
    assert [line.endswith(f"({CHANGED})") for line in done.lines[:-1]] == [True]
    assert done.peak_bytes < MOST_BYTES


def test_more_entities_than_are_taken_are_refused(tmp_path: Path) -> None:
    crate = tmp_path / "crate"
    crate.mkdir()
    with (crate / "ro-crate-metadata.json").open("w", encoding="utf-8") as stream:
        stream.write('{"@graph": [{"@id": "#0"}')
        stream.writelines(f',{{"@id":"#{number}"}}' for number in range(1, 2_000_001))
        stream.write("]}")
    done = parfocal("verify-run", crate)
    assert (done.code, done.lines) == (2, [])
    assert "too many entities" in done.told
    assert "at most 2000000" in done.told
    assert done.peak_bytes < MOST_BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["crate"]
