"""What users of a server may not name: files of that server.

In Galaxy a job runs on a machine of others, and may read files that its user may not. There a
source is something remote, and what a user hands in names no file but those beside it.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from parfocal.errors import ConfigurationError, InputError
from parfocal.models.source import LocalSource, parse_source

__all__ = ["from_strangers", "refuse_files_elsewhere", "refuse_local_source"]


def from_strangers() -> bool:
    """Return whether those who hand in sources and files may not read those of this machine."""
    return os.environ.get("PARFOCAL_ENGINE", "").partition(" ")[0] == "galaxy"


def refuse_local_source(text: str) -> None:
    """Let a source be no file of this machine where strangers name it.

    Raises
    ------
    ConfigurationError
        If it is one there, or is not valid.
    """
    if from_strangers() and isinstance(parse_source(text), LocalSource):
        what = "A source in Galaxy is an address, and no path"
        expected = "https://, s3://, omero://, idr: or bia:"
        remedy = "Upload the image, and choose it where a tool asks for a dataset."
        raise ConfigurationError(what, expected=expected, found=repr(text), remedy=remedy)


def refuse_files_elsewhere(paths: tuple[str, ...], where: Path) -> None:
    """Let a list of files name none outside its folder where strangers hand it in.

    Raises
    ------
    InputError
        If it names one there.
    """
    places = [PurePosixPath(path) for path in paths]
    outside = [str(path) for path in places if path.is_absolute() or ".." in path.parts]
    if from_strangers() and outside:
        what = "The manifest names a file outside its folder"
        remedy = "Fetch the source again with 'parfocal fetch-image'."
        raise InputError(what, where=where, found=outside[0], remedy=remedy)
