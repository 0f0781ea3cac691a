"""Original files of an OMERO server, read and written in pieces that outlive a lost connection."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from parfocal.core.rate import shared_rate
from parfocal.errors import InputError, RemoteError, StorageError
from parfocal.models.transfer import TransferLimits
from parfocal.omero.connection import Connection
from parfocal.omero.faults import what_omero_raises

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["download_file", "first_difference", "upload_file"]

logger = logging.getLogger(__name__)

_PIECE_BYTES = 4 << 20
_SHA1 = "SHA1-160"


def download_file(
    connection: Connection,
    file_id: int,
    path: Path,
    *,
    size_bytes: int,
    sha1: str | None,
    progress: Callable[[int], None] | None = None,
    resume: bool = False,
) -> None:
    """Write an original file of the server to `path`.

    Parameters
    ----------
    connection : Connection
        To the server.
    file_id : int
        Id of the original file.
    path : Path
        Where to write it.
    size_bytes : int
        Its size.
    sha1 : str or None
        Its checksum in hex digits, compared if given.
    progress : callable, optional
        Called with how many bytes have come so far.
    resume : bool
        Whether to go on with what an interrupted download left at `path`, where the checksum
        will tell whether that was of the same file.

    Raises
    ------
    RemoteError
        If what comes differs in size or checksum.
    InputError
        If the user may not read it.
    StorageError
        If `path` cannot be written.
    ConfigurationError
        If the environment sets a limit that is none.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        resumed = _take_up(path, digest, size_bytes) if resume and sha1 else 0
        with path.open("ab" if resumed else "wb") as target:

            def take(piece: bytes) -> None:
                target.write(piece)
                digest.update(piece)

            done = _receive(connection, file_id, take, range(resumed, size_bytes), progress)
    except OSError as error:
        what = "The file from the OMERO server cannot be written"
        raise StorageError(what, where=path, found=error.strerror) from error
    where = f"{connection.server.uri}, OriginalFile {file_id}"
    if sha1 and digest.hexdigest() != sha1:
        path.unlink()
        if resumed:
            logger.info("%s: what was left of it is of another file; it comes anew", where)
            download_file(
                connection, file_id, path, size_bytes=size_bytes, sha1=sha1, progress=progress
            )
            return
    _compare(where, size_bytes, done)
    if sha1:
        _compare(where, sha1, digest.hexdigest())


def first_difference(
    connection: Connection, file_id: int, path: Path, size_bytes: int
) -> int | None:
    """Return where an original file of the server begins to differ from `path`.

    Both are read a piece after the other.

    Parameters
    ----------
    connection : Connection
        To the server.
    file_id : int
        Id of the original file.
    path : Path
        The file here.
    size_bytes : int
        The size of both.

    Returns
    -------
    int or None
        The number of the first byte that differs, or that the server does not give; None where
        all are the same.

    Raises
    ------
    RemoteError
        If the server fails.
    InputError
        If the user may not read the file, or `path` cannot be read.
    ConfigurationError
        If the environment sets a limit that is none.
    """
    found: int | None = None

    def compare(piece: bytes) -> None:
        nonlocal found
        start = here.tell()
        expected = here.read(len(piece))
        if found is None and piece != expected:
            pairs = enumerate(zip(piece, expected, strict=False))
            same = min(len(piece), len(expected))
            found = start + next((at for at, (one, other) in pairs if one != other), same)

    try:
        with path.open("rb") as here:
            done = _receive(connection, file_id, compare, range(size_bytes), None)
    except OSError as error:
        what = "The file to compare with the OMERO server cannot be read"
        raise InputError(what, where=path, found=error.strerror) from error
    return done if found is None and done < size_bytes else found


def _receive(
    connection: Connection,
    file_id: int,
    take: Callable[[bytes], None],
    wanted: range,
    progress: Callable[[int], None] | None,
) -> int:
    """Hand the wanted bytes of a file to `take`; return where they ended."""
    done = wanted.start
    rate_mb = TransferLimits.from_environment().mb_per_s
    rate = shared_rate(rate_mb * 1e6) if rate_mb else None

    def go_on(gateway: BlitzGateway) -> None:
        nonlocal done
        store = gateway.createRawFileStore()
        try:
            store.setFileId(file_id, gateway.SERVICE_OPTS)
            while done < wanted.stop:
                piece = store.read(done, min(_PIECE_BYTES, wanted.stop - done))
                if not piece:
                    return
                take(piece)
                done += len(piece)
                if progress:
                    progress(done)
                if rate:
                    time.sleep(rate.take(len(piece)))
        finally:
            _close(store)

    connection.call(go_on)
    return done


def _take_up(path: Path, digest: Any, size_bytes: int) -> int:
    """Return how much of a file is there, which is added to `digest`; 0 if it is too much."""
    if not path.is_file() or path.stat().st_size > size_bytes:
        return 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
        return file.tell()


def upload_file(connection: Connection, path: Path, name: str, folder: str, mimetype: str) -> int:
    """Write a file to the server, in the group of the connection, and return its id.

    Parameters
    ----------
    connection : Connection
        To the server.
    path : Path
        The file.
    name : str
        Its name on the server.
    folder : str
        Its path there; unique, since the file is known by it when an answer was lost.
    mimetype : str
        Its kind.

    Raises
    ------
    RemoteError
        If what the server has differs in size or checksum, or its disk is full.
    InputError
        If the user may not write, or `path` cannot be read.
    """
    try:
        with path.open("rb") as source:
            sha1 = hashlib.file_digest(source, "sha1").hexdigest()
            size = source.tell()
            file_id = connection.call(
                lambda gateway: _created(gateway, name, folder, mimetype, size)
            )
            there = _write(connection, file_id, source, size)
    except OSError as error:
        what = "The file for the OMERO server cannot be read"
        raise InputError(what, where=path, found=error.strerror) from error
    _compare(f"{connection.server.uri}, OriginalFile {file_id}", (size, sha1), there)
    return file_id


def _created(gateway: BlitzGateway, name: str, folder: str, mimetype: str, size: int) -> int:
    """Return the id of a new original file, or of the one that an earlier call has made."""
    import omero
    from omero.rtypes import rlong, rstring, unwrap
    from omero.sys import ParametersI

    parameters = ParametersI()
    parameters.add("path", rstring(folder))
    query = "select f.id from OriginalFile f where f.path = :path"
    rows = gateway.getQueryService().projection(query, parameters, gateway.SERVICE_OPTS)
    if rows:
        return int(unwrap(rows[0])[0])
    file = omero.model.OriginalFileI()
    file.name, file.path = rstring(name), rstring(folder)
    file.mimetype, file.size = rstring(mimetype), rlong(size)
    file.hasher = omero.model.ChecksumAlgorithmI()
    file.hasher.value = rstring(_SHA1)
    if size == 0:  # nothing will be written, and what is not written need not be saved
        file.hash = rstring(hashlib.sha1(usedforsecurity=False).hexdigest())
    saved = gateway.getUpdateService().saveAndReturnObject(file, gateway.SERVICE_OPTS)
    return int(saved.id.val)


def _write(
    connection: Connection, file_id: int, source: BinaryIO, size: int
) -> tuple[int, str | None]:
    """Write the bytes of a file; return the size and the checksum that the server then states."""
    done = 0

    def go_on(gateway: BlitzGateway) -> tuple[int, str | None]:
        nonlocal done
        # What was written before a loss need not have been saved, and only what writes saves.
        done = max(0, done - _PIECE_BYTES)
        store = gateway.createRawFileStore()
        try:
            store.setFileId(file_id, gateway.SERVICE_OPTS)
            while done < size:
                source.seek(done)
                piece = source.read(_PIECE_BYTES)
                if not piece:
                    break  # it was cut off meanwhile, which the comparison finds
                store.write(piece, done, len(piece))
                done += len(piece)
            store.save()
        finally:
            _close(store)
        return _saved(gateway, file_id)

    return connection.call(go_on)


def _saved(gateway: BlitzGateway, file_id: int) -> tuple[int, str | None]:
    from omero.rtypes import unwrap
    from omero.sys import ParametersI

    parameters = ParametersI()
    parameters.addId(file_id)
    query = "select f.size, f.hash from OriginalFile f where f.id = :id"
    (row,) = gateway.getQueryService().projection(query, parameters, gateway.SERVICE_OPTS)
    size, sha1 = unwrap(row)
    return size, sha1


def _close(store: Any) -> None:
    """Close a service, also where its session was lost."""
    with suppress(*what_omero_raises()):
        store.close()


def _compare(where: str, expected: object, found: object) -> None:
    if expected != found:
        what = "A file is not the same on the OMERO server and here"
        remedy = "Run again; if it happens again, the file on the server may be damaged."
        raise RemoteError(what, where=where, expected=expected, found=found, remedy=remedy)
