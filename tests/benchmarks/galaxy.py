"""What Galaxy adds to a step: its command line and its job beside the bare command."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.benchmarks.race import Entrant, race
from tests.benchmarks.stack import write_stack
from tests.galaxy.configuration import PARFOCAL
from tests.galaxy.history import History, Job
from tests.galaxy.server import running, start

SIZE = (4, 512, 512)
JOBS: dict[str, dict[str, str]] = {
    "convert_image": {"source": "stack"},
    "verify_image": {"image": "image", "certificate": "certificate"},
    "filter_image": {"image": "image"},
    "project_image": {"image": "image"},
    "segment_objects": {"image": "image"},
    "measure_objects": {"image": "image", "labels": "labels"},
    "score_objects": {"labels": "labels", "ground_truth": "labels"},
    "assess_quality": {"image": "image"},
    "preview_image": {"image": "image", "labels": "labels"},
    "assemble_image": {"image": "image", "labels": "labels"},
}
"""The datasets that each tool is given, by inputs, called as the outputs that they come from."""
WHOLE_RUN = ("render_report", "record_run")
"""Tools that are given the records of all others, and lay out a results folder before."""
HANDED_OVER = ("--galaxy-params", "--image-id-file", "--name-file", "--row-file", "--images")
"""Options that only Galaxy gives."""


def measure_galaxy(folder: Path) -> None:
    """Run each tool in Galaxy, then what it ran and the bare command in turn; print the table."""
    rounds = int(os.environ.get("PARFOCAL_BENCH_ROUNDS", "5"))
    with _galaxy(folder) as galaxy:
        run = Run(History(galaxy, "benchmark", galaxy.admin_key), folder)
        for tool in (*JOBS, *WHOLE_RUN):
            in_galaxy = run.time(tool)
            there, bare = run.entrants(tool)
            race([there, bare], rounds)
            added = there.median_s - bare.median_s
            value = f"{in_galaxy:.1f} s, its command {there.median_s:.2f} s, "
            value += f"the bare one {bare.median_s:.2f} s: {added:+.2f} s, "
            value += f"of processors {there.median_cpu_s - bare.median_cpu_s:+.2f} s"
            print(f"| `{tool}`, a job in Galaxy | {value} | < 1 s more |", flush=True)


@contextmanager
def _galaxy(folder: Path) -> Any:
    """Give the Galaxy that is named, or one for this time."""
    given = os.environ.get("PARFOCAL_TEST_GALAXY")
    found = running(Path(given)) if given else start(folder / "galaxy", os.getpid())
    if found is None:
        raise RuntimeError(f"no Galaxy runs in {given}")
    try:
        yield found
    finally:
        if not given:
            found.stop()


@dataclass
class Run:
    """Jobs of the administrator, whose folders are kept.

    `made` are the datasets by the outputs that they come from, first ones first, `last` is the last
    job of each tool, and `records` are those of all.
    """

    history: History
    folder: Path
    made: dict[str, str] = field(default_factory=dict)
    last: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source = self.folder / "stack.ome.tif"
        write_stack(self.source, *SIZE)
        self.made["stack"] = self.history.upload(self.source, "ome.tiff")

    def time(self, tool: str) -> float:
        """Run a tool, and return the seconds that a user waits for its results."""
        inputs = self.inputs(tool)
        start_s = time.perf_counter()
        job = self.history.run(f"parfocal_{tool}", inputs)
        took_s = time.perf_counter() - start_s
        if job.state != "ok":
            raise RuntimeError(f"{tool}: {job.stderr}")
        self.last[tool] = job
        for name, dataset in job.outputs.items():
            self.made.setdefault(name, dataset)
        return took_s

    def inputs(self, tool: str) -> dict[str, Any]:
        """Return what a tool is given."""
        if tool not in WHOLE_RUN:
            return {port: _dataset(self.made[name]) for port, name in JOBS[tool].items()}
        records = [self.last[one].outputs["record"] for one in JOBS]
        return {"records": {"batch": False, "values": [_dataset(one) for one in records]}}

    def entrants(self, tool: str) -> tuple[Entrant, Entrant]:
        """Return the command line of the last job of a tool, and the bare command of the step."""
        script, record = self._kept(self.last[tool])
        there, alone = (self.folder / f"{tool}-{name}" for name in ("there", "alone"))
        anew = self.folder / f"{tool}.sh"
        # Its output goes into the folder of a dataset, where that of the job lies already.
        text = script.read_text(encoding="utf-8")
        for place in re.findall(r"mkdir -p '([^']*_files)'", text):
            text = text.replace(place, "dataset_files")
        anew.write_text(text, encoding="utf-8")
        command = self._bare(text, record)
        galaxys = Entrant(f"{tool} there", _within(there, ["bash", str(anew)]), (there,))
        if tool not in WHOLE_RUN:
            return galaxys, Entrant(f"{tool} alone", _within(alone, command), (alone,))
        subprocess.run(_within(alone, ["bash", str(anew)]), check=True, stdout=subprocess.DEVNULL)
        outputs = [path for path in alone.iterdir() if path.name not in ("results", "samples.tsv")]
        for path in outputs:
            path.unlink()
        return galaxys, Entrant(f"{tool} alone", _in(alone, command), tuple(outputs))

    def _kept(self, job: Job) -> tuple[Path, dict[str, Any]]:
        """Return the script that a job ran, and its record."""
        shown = self.history.api.jobs.show_job(job.id, full_details=True)
        config = re.search(r"'(/[^']*)/configs/[^']*'", shown["command_line"])
        if config is None:
            raise RuntimeError(f"no folder of a job stands in {shown['command_line']}")
        record = json.loads(self.history.text(job.outputs["record"]))
        return Path(config[1]) / "tool_script.sh", record

    def _bare(self, script: str, record: dict[str, Any]) -> list[str]:
        """Return the command of the step, with the same parameters, as a user types it."""
        words = shlex.split(script[script.rindex(f"parfocal {record['step']}") :])
        words = words[: words.index("&&") if "&&" in words else None]
        command = [str(PARFOCAL), words[1], "--params", json.dumps(record["parameters"])]
        for option, following in pairwise([*words[2:], "--"]):
            if option == "--source":
                command += [option, str(self.source)]  # Galaxy calls it dataset_1.dat
            elif option == "--threads":
                command += [option, "1"]
            elif option.startswith("--") and option not in HANDED_OVER:
                command += [option] if following.startswith("--") else [option, following]
        return command


def _dataset(id_: str) -> dict[str, str]:
    return {"src": "hda", "id": id_}


def _within(folder: Path, command: Sequence[str]) -> list[str]:
    """Return the command line that makes a folder and runs a command in it."""
    return ["bash", "-c", 'mkdir "$0" && cd "$0" && exec "$@"', str(folder), *command]


def _in(folder: Path, command: Sequence[str]) -> list[str]:
    return ["bash", "-c", 'cd "$0" && exec "$@"', str(folder), *command]
