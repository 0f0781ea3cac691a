"""Servers that the user said to trust: certificates, and servers that encrypt nothing.

There is one file a server below the user's configuration folder, so that anybody can look at what
is trusted, and take it back by removing the file. No password or session key is ever kept there.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from parfocal.errors import StorageError
from parfocal.models.omero_server import OmeroServer

__all__ = ["pin", "pin_path"]

_FOLDER_MODE = 0o700


def pin_path(server: OmeroServer) -> Path:
    """Return the file that says that `server` is trusted, which need not exist.

    Returns
    -------
    Path
        The pinned certificate as PEM; of a server that encrypts nothing, an empty file.
    """
    home = os.environ.get("XDG_CONFIG_HOME")
    config = Path(home) if home else Path.home() / ".config"
    suffix = "pem" if server.encrypted else "unencrypted"
    name = f"{server.host}_{server.actual_port}.{suffix}"
    return config.absolute() / "parfocal" / "omero" / name


def pin(server: OmeroServer, pem: str = "") -> Path:
    """Trust `server` from now on, with the certificate `pem` if it encrypts.

    Returns
    -------
    Path
        The file that says so.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    path = pin_path(server)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        partial.write_text(pem, encoding="ascii")
        partial.replace(path)
    except OSError as error:
        what = "What is trusted cannot be written down"
        remedy = "Name a folder that can be written by XDG_CONFIG_HOME."
        raise StorageError(what, where=path, found=error, remedy=remedy) from error
    return path
