"""Runs ezomero's own tests against the test server: ``python -m tests.omero_suites``.

The source of ezomero, in the version that is installed, is had from the package index by pip, and
its tests are run as they are, with a server and a home folder of their own; the program ``omero``,
by which one of their fixtures imports a file, is `tests/omero_import.py`. Each test is to pass or
to fail as `FAILING` says; anything else is exit code 1.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parent))  # as pytest does

from omero_process import OwnServer

__all__ = ["FAILING", "main"]

IMPORTER = Path(__file__).with_name("omero_import.py")

_WEB = "asks OMERO.web, which is another program"
_IMPORT = (
    "imports a file by the Java client of OMERO, which is downloaded from OME at its first use"
)
_IMPORTED = "looks at an image that its fixture imports by the Java client"

FAILING = {
    "test_connect::test_store_conn_params": _WEB,
    "test_json_api::test_connect_params": _WEB,
    "test_json_api::test_connect_env": _WEB,
    "test_json_api::test_connect_config": _WEB,
    "test_json_api::test_store_conn_params": _WEB,
    "test_json_api::test_get_rendered_jpegs": _WEB,
    "test_ezimport::test_ezimport": _IMPORT,
    "test_gets::test_get_original_filepaths_and_series_index": _IMPORT,
}
"""The tests that cannot pass on the test server, and why."""

_DOWNLOAD = ("pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
_TIMEOUT_S = 1200


def main() -> int:
    """Run the tests; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="parfocal-omero-suites-") as made:
        folder = Path(made)
        found = _run(_source(folder), folder)
    counts = Counter(found.values())
    unexpected = sorted(
        f"{name}: {state}, and not expected to"
        for name, state in found.items()
        if (state == "failed") != (name in FAILING)
    )
    gone = sorted(f"{name}: expected to fail, and there is none" for name in FAILING.keys() - found)
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    lines = [f"{name}: failed, since it {why}" for name, why in FAILING.items() if name in found]
    print(*lines, *unexpected, *gone, f"ezomero {version('ezomero')}: {told}", sep="\n")
    return 1 if unexpected or gone or not found else 0


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
    server = OwnServer(folder / "server")
    server.start()
    try:
        subprocess.run(
            [*command, "-q", "--tb=line", f"--junitxml={report}"],
            cwd=source,
            env=_environment(folder, server),
            timeout=_TIMEOUT_S,
            check=False,
        )
    finally:
        server.stop()
    return _ended(report)


def _environment(folder: Path, server: OwnServer) -> dict[str, str]:
    """Return an environment in which only the server of the tests is known.

    In the place of ``omero`` is what imports a file without Java.
    """
    program = folder / "bin" / "omero"
    program.parent.mkdir()
    told = shlex.join([sys.executable, str(IMPORTER), str(server.faults)])
    program.write_text(f'#!/bin/sh\nexec {told} "$@"\n', "utf-8")
    program.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMERO", "PYTEST", "ICE_"))}
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    own = {"HOME": str(folder / "home"), "PATH": path}
    return kept | own | {"OMERO_HOST": server.host, "OMERO_PORT": str(server.ssl)}


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
