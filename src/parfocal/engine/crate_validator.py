"""Ask rocrate-validator, where it is installed, what it finds in a crate."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which

from parfocal.core.zipped_zarr import is_zip, zipped_files
from parfocal.errors import ConfigurationError
from parfocal.provenance.read_crate_files import root_of

__all__ = ["validate_crate"]

_PROFILE = "process-run-crate"  # that of all our crates
_AWAY = "Unable to retrieve the JSON-LD context"
_TIMEOUT_S = 3600
_MOST = 20


def validate_crate(crate: Path, cache: Path) -> list[str]:
    """Return what the validator finds that is REQUIRED, a line each.

    Parameters
    ----------
    crate : Path
        Folder or zip file.
    cache : Path
        The validator's cache of contexts, filled before; no network is used.

    Raises
    ------
    ConfigurationError
        If it is not installed, does not run, or its cache lacks what it needs.
    InputError
        If a zip file holds no crate, or cannot be unpacked safely.
    """
    beside = Path(sys.executable).with_name("rocrate-validator")
    program = str(beside) if beside.exists() else which("rocrate-validator")
    if program is None:
        what = "rocrate-validator is not installed"
        raise ConfigurationError(what, remedy="pip install roc-validator")
    name = cache.with_suffix("") if cache.suffix == ".sqlite" else cache
    with tempfile.TemporaryDirectory() as folder:
        # Of a zip file the validator cannot write its report, nor find a crate in a folder of it.
        if is_zip(crate):
            files = zipped_files(crate)
            crate = files.unpack(Path(folder)) / root_of(files)
        report = Path(folder) / "report.json"
        command = [program, "--no-interactive", "validate", "--offline", "--cache-path", str(name)]
        command += ["--profile-identifier", _PROFILE, "--requirement-severity", "REQUIRED"]
        command += ["--output-format", "json", "--output-file", str(report), str(crate)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
            )
            issues = json.loads(report.read_text(encoding="utf-8"))["issues"]
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            what = "rocrate-validator did not run"
            remedy = "Check the cache: docs/reference/run-crate.md tells how to fill it."
            raise ConfigurationError(what, where=crate, found=error, remedy=remedy) from error
    if done.returncode not in (0, 1):
        what = "rocrate-validator did not run"
        raise ConfigurationError(what, where=crate, found=" ".join(done.stderr.split())[-500:])
    if away := [i for i in issues if _AWAY in i["message"]]:
        what = "rocrate-validator lacks a context in its cache"
        remedy = "Fill the cache where there is a network: docs/reference/run-crate.md tells how."
        found = away[0]["message"]
        raise ConfigurationError(what, where=cache, found=found, remedy=remedy)
    return sorted(f"{i.get('violatingEntity')}: {i['message']}" for i in issues)[:_MOST]
