"""What tells that a file was changed, without reading it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["file_state"]


def file_state(path: str | None) -> str:
    """Return a text that differs when the file at `path` was changed, came or went."""
    if not path:
        return "none"
    try:
        stat = Path(path).stat()
    except OSError as error:
        return f"{path} {os.strerror(error.errno or 0)}"
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"
