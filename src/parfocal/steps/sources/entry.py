"""What a manifest tells of a file that was fetched, or left in place."""

from __future__ import annotations

from pathlib import Path

from parfocal.core.digest import digest_path, size_of
from parfocal.core.step import Context
from parfocal.models.manifest import ManifestFile

__all__ = ["entry_of"]


def entry_of(path: Path, shown: str, context: Context) -> ManifestFile:
    """Return what the manifest tells of a file or an OME-Zarr that is called `shown` there."""
    digest = digest_path(path, context.threads)
    return ManifestFile(path=shown, size_bytes=size_of(path), digest=digest)
