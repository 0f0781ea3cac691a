"""Run verify-run on small runs, and see what it found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from parfocal.cli.verify_run import verify_run
from parfocal.errors import VerificationError

__all__ = ["IMAGE", "LABELS", "check", "statuses"]

IMAGE, LABELS = "images/a/image.ome.zarr", "images/a/labels/nuclei.ome.zarr"

Entries = dict[str, dict[str, Any]]


def check(crate: Path, *options: object) -> tuple[int, Entries, dict[str, Any]]:
    """Verify a crate; return the exit code, and what was found by name."""
    report = crate.parent.parent / "report.json"
    command = [str(crate), f"--json={report}", "--threads=2", *map(str, options)]
    try:
        code = verify_run(command)
    except VerificationError as error:
        code = error.exit_code
    found = json.loads(report.read_text())
    return code, {entry["name"]: entry for entry in found["entries"]}, found


def statuses(entries: Entries) -> dict[str, str]:
    """Return the status of each entry by its name."""
    return {name: entry["status"] for name, entry in entries.items()}
