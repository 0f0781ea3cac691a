"""Keys with which the processes of a run know each other: TLS, made for the run alone."""

from __future__ import annotations

import os
from pathlib import Path

from distributed.security import Security

__all__ = ["make_keys", "read_keys"]

CERTIFICATE, KEY = "certificate.pem", "key.pem"


def make_keys(folder: Path) -> Security:
    """Make a certificate and its key in a folder, readable by the user alone."""
    made = Security.temporary()
    for name, text in ((CERTIFICATE, made.tls_ca_file), (KEY, made.tls_client_key)):
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(text)
    return read_keys(folder)


def read_keys(folder: Path) -> Security:
    """Return the security of all roles from the files in a folder."""
    certificate, key = str(folder / CERTIFICATE), str(folder / KEY)
    roles = ("client", "scheduler", "worker")
    files = {f"tls_{role}_cert": certificate for role in roles}
    files |= {f"tls_{role}_key": key for role in roles}
    return Security(tls_ca_file=certificate, require_encryption=True, **files)
