"""Runs ezomero's own tests against the test server: ``python -m tests.omero_suites``.

The source of ezomero, in the version that is installed, and OMERO.web are had from the package
index by pip, and its tests are run as they are, with a server and a home folder of their own. The
programs ``omero`` and ``java``, by which files are imported, are `tests/omero_import.py`. Each test
is to pass, and all are to be found that this version has; anything else is exit code 1.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parent))  # as pytest does

from omero_process import OwnServer
from omero_web import OwnWeb

__all__ = ["main"]

TESTS = 62
"""How many tests the source of ezomero has, in the version that is locked."""

IMPORTER = Path(__file__).with_name("omero_import.py")

_DOWNLOAD = ("pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
_TIMEOUT_S = 1200


def main() -> int:
    """Run the tests; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="parfocal-omero-suites-") as made:
        folder = Path(made)
        found = _run(_source(folder), folder)
    told, code = _judged(found)
    print(told)
    return code


def _judged(found: Mapping[str, str]) -> tuple[str, int]:
    """Return what is to be said of how each test ended, and the exit code."""
    counts = Counter(found.values())
    failed = sorted(f"{name}: {state}" for name, state in found.items() if state != "passed")
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    lines = [*failed, f"ezomero {version('ezomero')}: {told or 'no test'}"]
    if len(found) != TESTS:
        what = f"expected {TESTS} tests, found {len(found)}"
        lines.append(f"{what}: some were not run, or ezomero is of another version (see TESTS)")
    return "\n".join(lines), 1 if failed or len(found) != TESTS else 0


def _source(folder: Path) -> Path:
    """Download the source of ezomero; return its folder."""
    wanted = f"ezomero=={version('ezomero')}"
    command = [sys.executable, "-m", *_DOWNLOAD, "--no-binary", "ezomero", "--dest", str(folder)]
    subprocess.run([*command, wanted], check=True, timeout=_TIMEOUT_S)
    (archive,) = folder.glob("ezomero-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def _run(source: Path, folder: Path) -> dict[str, str]:
    """Run the tests of a source against a server of their own; return how each ended."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:napari", "tests"]
    (folder / "home").mkdir()
    with ExitStack() as ending:
        server = OwnServer(folder / "server")
        server.start()
        ending.callback(server.stop)
        web = OwnWeb(folder / "web", server)
        web.start()
        ending.callback(web.stop)
        subprocess.run(
            [*command, "-q", "--tb=line", f"--junitxml={report}"],
            cwd=source,
            env=_environment(folder, server, web),
            timeout=_TIMEOUT_S,
            check=False,
        )
    return _ended(report)


def _environment(folder: Path, server: OwnServer, web: OwnWeb) -> dict[str, str]:
    """Return an environment in which only the server of the tests is known.

    In the place of ``omero`` and ``java`` is what imports a file without Java.
    """
    home, programs = folder / "home", folder / "bin"
    programs.mkdir()
    told = shlex.join([sys.executable, str(IMPORTER), str(server.faults)])
    for name in ("omero", "java"):
        (programs / name).write_text(f'#!/bin/sh\nexec {told} "$@"\n', "utf-8")
        (programs / name).chmod(0o755)
    _pretend_jars(home / "omero" / "cache" / "jars")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMERO", "PYTEST", "ICE_"))}
    own = {"HOME": str(home), "OMERO_USERDIR": str(home / "omero")}
    own |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    told_of = {"OMERO_HOST": server.host, "OMERO_PORT": str(server.ssl), "OMERO_WEB_HOST": web.url}
    return kept | own | told_of


def _pretend_jars(folder: Path) -> None:
    """Let omero-py find its Java client, so that it does not download one."""
    (folder / "none" / "libs").mkdir(parents=True)
    (folder / "none" / "libs" / "none.jar").touch()
    (folder / "OMERO.java.txt").write_text("none", "utf-8")


def _ended(report: Path) -> dict[str, str]:
    """Return how each test of a report ended, by ``file::test``."""
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.attrib['classname'].rpartition('.')[2]}::{case.attrib['name']}"
        states = {child.tag for child in case}
        failed = states & {"failure", "error"}
        found[name] = "failed" if failed else "skipped" if "skipped" in states else "passed"
    return found


if __name__ == "__main__":
    sys.exit(main())
