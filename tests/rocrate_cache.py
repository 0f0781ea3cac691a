"""Validates run crates without a network: the validator's cache is filled from files.

The JSON-LD contexts that the profiles name are kept in ``unit/data/rocrate_contexts``.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": "ro-crate-1.1.jsonld",
    "https://w3id.org/ro/terms/workflow-run/context": "workflow-run.json",
}
_FOLDER = Path(__file__).parent / "unit" / "data" / "rocrate_contexts"
# The headers that the validator's JSON-LD loader sends; the cache tells requests apart by them.
_HEADERS = {"Accept": "application/ld+json, application/json, */*;q=0.1"}


class _FromFiles(HTTPAdapter):
    """Answers requests for the contexts from the files."""

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        raw = HTTPResponse(
            body=io.BytesIO((_FOLDER / CONTEXTS[str(request.url)]).read_bytes()),
            headers={"Content-Type": "application/ld+json"},
            status=200,
            preload_content=False,
        )
        return self.build_response(request, raw)


def seed_cache(cache: Path) -> Path:
    """Fill the validator's cache; ``.sqlite`` is appended to its name.

    Returns
    -------
    Path
        The cache, for the validator's ``--cache-path``.
    """
    session = CachedSession(
        cache_name=str(cache),
        backend="sqlite",
        expire_after=-1,
        allowable_methods=("GET",),
        allowable_codes=(200, 302, 404),
    )
    session.mount("https://", _FromFiles())
    with session:
        for url in CONTEXTS:
            session.get(url, headers=_HEADERS).raise_for_status()
    session.cache.close()
    return cache


def findings(crate: Path, cache: Path, severity: str, profile: str) -> list[str]:
    """Return what the validator finds in a crate, one line a finding.

    Parameters
    ----------
    severity : str
        ``REQUIRED`` or ``RECOMMENDED``, which includes the former.
    profile : str
        Such as ``provenance-run-crate``; those that it extends are checked too.
    """
    options = ["--offline", "--cache-path", cache, "--profile-identifier", profile]
    options += ["--requirement-severity", severity, "--output-format", "json"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        program = Path(sys.executable).parent / "rocrate-validator"
        command = [
            program,
            "--no-interactive",
            "validate",
            *options,
            "--output-file",
            report,
            crate,
        ]
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stdout + done.stderr)
        issues = json.loads(report.read_text(encoding="utf-8"))["issues"]
    return sorted(
        f"{issue['severity']} {issue.get('violatingEntity')}: {issue['message']}"
        for issue in issues
    )
