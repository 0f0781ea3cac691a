"""The suites: folders of tests/, some of which need a real component.

A suite that needs one has a ``setup.sh`` that installs it and starts what outlives a test: exit
code 0 when it is ready, 3 when it cannot be had on this machine, with the reason as its last line.
The tests of a suite whose component is missing are taken out and the suite is named in the
summary; if it is one of ``PARFOCAL_REQUIRE`` (names separated by commas, or ``all``), the run
fails.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("parfocal", deadline=None)  # how long a test takes is no result
settings.load_profile("parfocal")

TESTS = Path(__file__).parent
SETUP_TIMEOUT_S = 1200
_UNAVAILABLE = "PARFOCAL_SUITES_UNAVAILABLE"
APART = {
    "live": "asks archives on the internet; run 'make test-live'",
    "models": "PyTorch, Cellpose and StarDist bring gigabytes; run 'make test-models'",
}
"""Suites that run only where the command line names their folder, and why."""


def suites() -> list[str]:
    """Return the names of all suites: the folders that hold tests."""
    return sorted({path.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")})


def suite_of(path: Path) -> str | None:
    """Return the suite that a test file or folder belongs to."""
    if not path.is_relative_to(TESTS) or path == TESTS:
        return None
    return path.relative_to(TESTS).parts[0]


def asked_for(config: pytest.Config) -> set[str | None]:
    """Return the suites that the command line names; None stands for all that are not apart."""
    return {suite_of(Path(arg.partition("::")[0]).resolve()) for arg in config.args}


def selected(config: pytest.Config) -> list[str]:
    """Return the suites that the command line asks for."""
    asked = asked_for(config)
    return [s for s in suites() if s in asked or (None in asked and s not in APART)]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the suites that are not asked for."""
    suite = suite_of(collection_path)
    return True if suite in APART and suite not in asked_for(config) else None


def required() -> set[str]:
    """Return the suites that must run."""
    names = {name.strip() for name in os.environ.get("PARFOCAL_REQUIRE", "").split(",")} - {""}
    return set(suites()) - set(APART) if "all" in names else names


def set_up(suite: str) -> str | None:
    """Run a suite's ``setup.sh``; return why its component is missing, None when it is ready."""
    script = TESTS / suite / "setup.sh"
    if not script.exists():
        return None
    try:
        done = subprocess.run(
            ["bash", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SETUP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"setup.sh did not end within {SETUP_TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
    broken = "" if done.returncode == 3 else f"setup.sh failed with exit code {done.returncode}: "
    return broken + lines[-1]


def pytest_configure(config: pytest.Config) -> None:
    """Set the components up, once, before any worker starts."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    reasons = {suite: set_up(suite) for suite in selected(config)}
    os.environ[_UNAVAILABLE] = json.dumps({s: why for s, why in reasons.items() if why})


def unavailable() -> dict[str, str]:
    """Return why suites cannot run, by name."""
    return dict(json.loads(os.environ.get(_UNAVAILABLE, "{}")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out the tests of suites that cannot run."""
    missing = unavailable()
    out = [item for item in items if suite_of(item.path) in missing]
    items[:] = [item for item in items if suite_of(item.path) not in missing]
    config.hook.pytest_deselected(items=out)


RAN: Counter[str] = Counter()
"""How many tests ran, by suite."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test."""
    if report.when == "call" and not report.skipped:
        RAN[report.nodeid.split("/")[1]] += 1


def problems(config: pytest.Config) -> list[str]:
    """Return what keeps a run from counting although its tests passed."""
    missing = unavailable()
    wanted = required() & set(selected(config))
    unknown = [f"suite {name}: required, but there is none" for name in required() - set(suites())]
    return unknown + [
        f"suite {suite}: required, and did not run: {missing.get(suite, 'no test was run')}"
        for suite in sorted(wanted)
        if suite in missing or not RAN[suite]
    ]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run in which a required suite did not run."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    if exitstatus in (0, 5) and problems(config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the suites: how many tests ran, and what did not."""
    config = terminalreporter.config
    if config.option.collectonly:
        return
    missing = unavailable()
    terminalreporter.section("suites")
    for suite in selected(config):
        state = f"NOT RUN: {missing[suite]}" if suite in missing else f"{RAN[suite]} run"
        terminalreporter.line(f"{suite}: {state}", red=suite in missing)
    if set(selected(config)) == set(suites()) - set(APART):
        for suite, why in APART.items():
            terminalreporter.line(f"{suite}: NOT RUN: {why}")
    for problem in problems(config):
        terminalreporter.line(problem, red=True)
