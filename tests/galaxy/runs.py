"""Run the tests that stand in the XML of a tool, in a running Galaxy.

``python -m tests.galaxy.runs --folder DIR TOOL...`` does so in the Galaxy that
``python -m tests.galaxy.server`` keeps in that folder; a TOOL is a folder of galaxy_tools.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tests.galaxy.configuration import tool_files
from tests.galaxy.server import Galaxy, apart, running

__all__ = ["Outcome", "lint", "lint_workflow", "run_tool_tests", "run_workflow_tests", "tool_id"]

WAIT_S = 300
"""How long a test waits for a job."""
RUN_TIMEOUT_S = 560
OFFLINE = ("BioToolsValid",)
"""Checks that ask the internet: whether bio.tools knows the name of a cross-reference."""


@dataclass(frozen=True)
class Outcome:
    """How one test of a tool ended.

    Attributes
    ----------
    name : str
        The tool and the number of the test.
    status : str
        ``success``, ``failure``, ``error`` or ``skip``.
    problems : list of str
        What is not as it should be.
    job : dict
        What Galaxy tells of the job, its streams and dependencies among it.
    seconds : float
        How long it took, with the upload of its inputs.
    """

    name: str
    status: str
    problems: list[str]
    job: dict[str, Any]
    seconds: float

    def told(self) -> str:
        """Return what a developer wants to see of a test that does not pass."""
        streams = [
            f"{name}:\n{self.job[name]}"
            for name in ("command_line", "tool_stdout", "tool_stderr", "job_messages")
            if self.job.get(name)
        ]
        return "\n".join([f"{self.name}: {self.status}", *self.problems, *streams])


def tool_id(path: Path) -> str:
    """Return the id of the tool in an XML file."""
    return ET.parse(path).getroot().attrib["id"]


def run_tool_tests(galaxy: Galaxy, tool: str, key: str = "") -> list[Outcome]:
    """Run all tests of a tool, as the user or the owner of another key.

    They run two at a time, but for those with logins: Galaxy keeps one by the name of the tool.

    Raises
    ------
    RuntimeError
        A test could not be run at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        where = ["-u", galaxy.url, "-k", key or galaxy.key, "-a", galaxy.bootstrap_key]
        how = ["--parallel-tests", "1" if _logins(tool) > 1 else "2", "--history-per-test-case"]
        how += ["--output-json", str(report)]
        done = _apart("galaxy", "galaxy-tool-test", *where, *how, "-t", tool, home=folder)
        tests = json.loads(report.read_text("utf-8"))["tests"] if report.exists() else []
    outcomes = [_outcome(each) for each in tests]
    if done.returncode and all(each.status == "success" for each in outcomes):
        raise RuntimeError(f"galaxy-tool-test {tool}: {done.stdout}{done.stderr}")
    return outcomes


def _logins(tool: str) -> int:
    """Return how many tests of a tool have a login."""
    files = [path for path in tool_files() if tool_id(path) == tool]
    return sum(len(ET.parse(path).findall("tests/test/credentials")) for path in files)


def _outcome(test: dict[str, Any]) -> Outcome:
    data = test["data"]
    problems = [str(each) for each in data.get("output_problems") or []]
    problems += [str(data[name]) for name in ("execution_problem", "problem_log") if name in data]
    seconds = float(data.get("time_seconds", 0))
    return Outcome(test["id"], data["status"], problems, data.get("job") or {}, seconds)


def lint(paths: Sequence[Path]) -> dict[Path, str]:
    """Return what planemo finds wrong with each of these tools; nothing where all is right.

    It looks at all of them at once, as its start takes longer than a tool, and at each alone only
    where something is wrong.
    """
    said = _lint(paths)
    if said and len(paths) > 1:
        return {path: _lint([path]) for path in paths}
    return dict.fromkeys(paths, said)


def _lint(paths: Sequence[Path]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        how = ["--fail_level", "warn", "--skip", ",".join(OFFLINE)]
        done = _apart("planemo", "planemo", "lint", *how, *map(str, paths), home=folder)
    return done.stdout + done.stderr if done.returncode else ""


def lint_workflow(path: Path) -> str:
    """Return what planemo finds wrong with a workflow and its tests; nothing where all is right."""
    with tempfile.TemporaryDirectory() as folder:
        how = ["--fail_level", "warn", str(path)]
        done = _apart("planemo", "planemo", "workflow_lint", *how, home=folder)
    return done.stdout + done.stderr if done.returncode else ""


def run_workflow_tests(galaxy: Galaxy, path: Path) -> list[Outcome]:
    """Run the tests beside a workflow, as planemo does and so as the IWC will.

    Raises
    ------
    RuntimeError
        They could not be run at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        where = ["--engine", "external_galaxy", "--galaxy_url", galaxy.url]
        where += ["--galaxy_user_key", galaxy.key, "--galaxy_admin_key", galaxy.bootstrap_key]
        how = ["--no_shed_install", "--test_output_json", str(report)]
        how += ["--test_output", str(Path(folder) / "report.html")]
        done = _apart("planemo", "planemo", "test", *where, *how, str(path), home=folder)
        tests = json.loads(report.read_text("utf-8"))["tests"] if report.exists() else []
    if not tests:
        raise RuntimeError(f"planemo test {path}: {done.stdout}{done.stderr}")
    return [_outcome(each) for each in tests]


def _apart(
    environment: str, program: str, *arguments: str, home: str
) -> subprocess.CompletedProcess[str]:
    programs = apart(environment) / "bin"
    return subprocess.run(
        [programs / program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
        cwd=home,
        env={
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": home,
            "LANG": "C.UTF-8",
            "GALAXY_TEST_DEFAULT_WAIT": str(WAIT_S),
        },
    )


def main() -> None:
    """Run the tests of some tools and tell how they ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=os.environ.get("PARFOCAL_TEST_GALAXY"))
    parser.add_argument("tools", nargs="+")
    given = parser.parse_args()
    galaxy = running(given.folder.resolve()) if given.folder else None
    if galaxy is None:
        parser.exit(2, f"no Galaxy runs in {given.folder}\n")
    galaxy.reload_tools()
    paths = [path for path in tool_files() if path.parent.name in given.tools]
    wrong = lint(paths)
    passed = not any(wrong.values())
    for path in paths:
        print(wrong[path])
        for outcome in run_tool_tests(galaxy, tool_id(path)):
            well = outcome.status == "success"
            passed = passed and well
            print(f"{outcome.name}: {outcome.status}, {outcome.seconds:.0f} s")
            print("" if well else outcome.told())
    sys.exit(not passed)


if __name__ == "__main__":
    main()
