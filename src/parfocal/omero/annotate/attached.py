"""Files of the results as originals on the server, folders packed in one."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

from parfocal.errors import StorageError
from parfocal.models.annotation_entries import FileAttachment
from parfocal.omero.annotate.deletion import mark_of
from parfocal.omero.connection import Connection
from parfocal.omero.files import upload_file

__all__ = ["folder_of", "new_file_annotation", "pack_folder", "sha1_of", "upload_entry"]

_EPOCH = (1980, 1, 1, 0, 0, 0)


def folder_of(token: str) -> str:
    """Return the path on the server of the files of a token."""
    return f"parfocal/{token}/"


def upload_entry(
    connection: Connection, entry: FileAttachment, path: Path, token: str, scratch: Path
) -> int:
    """Upload the file of an entry, a folder as one zip file, and return its id.

    A run crate may be one zip file already: that is uploaded as it is.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    StorageError
        If there is no room to pack a folder.
    """
    if entry.packed and path.is_dir():
        packed = scratch / f"{token}.zip"
        pack_folder(path, packed)
        path = packed
    return upload_file(connection, path, entry.name, folder_of(token), entry.mimetype)


def pack_folder(folder: Path, target: Path) -> None:
    """Pack a folder in a zip file: the same bytes for the same files, on each machine.

    Nothing is compressed: what comes of that depends on the version of the library that does it.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as pack:
            for path in files:
                info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
                with path.open("rb") as source, pack.open(info, "w", force_zip64=True) as sink:
                    while block := source.read(1 << 20):
                        sink.write(block)
    except OSError as error:
        what = "A folder cannot be packed to be attached"
        remedy = "Free some space in the folder of temporary files (TMPDIR)."
        raise StorageError(what, where=folder, found=error, remedy=remedy) from error


def new_file_annotation(file_id: int, namespace: str, token: str) -> Any:
    """Return a new annotation that holds an original file."""
    import omero
    from omero.rtypes import rstring

    annotation = omero.model.FileAnnotationI()
    annotation.file = omero.model.OriginalFileI(file_id, False)
    annotation.ns = rstring(namespace)
    annotation.description = rstring(mark_of(token))
    return annotation


def sha1_of(path: Path) -> str:
    """Return the SHA-1 of a file in hex digits, by which OMERO knows it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()
