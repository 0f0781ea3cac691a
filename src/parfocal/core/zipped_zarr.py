"""An OME-Zarr or other files in a zip file: digest, and unpacking without trusting the file.

A file is taken for one by its content, never by its name, since Galaxy calls all files ``.dat``.
Source: OME-NGFF RFC-9, "Zipped OME-Zarr", and the ``ome_zarr.zip`` of Galaxy, whose OME-Zarr
may lie in a folder.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from parfocal.core.digest import ROOTS, is_zarr_key
from parfocal.core.stopping import end_if_asked
from parfocal.errors import InputError, StorageError

__all__ = ["ZippedFiles", "ZippedZarr", "find_zipped_zarr", "is_zip", "zipped_files"]

_MAGIC = b"PK\x03\x04"
_DOCUMENTS = (*ROOTS, ".zmetadata")
_CHUNK = 1 << 20
_REMEDY = "Pack its folder again with an ordinary zip program."
_BROKEN = (BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError)
_BROKEN_INSIDE = (struct.error, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class ZippedFiles:
    """Files in a zip file that make a folder.

    Attributes
    ----------
    path : Path
        The zip file.
    name : str
        What the folder is called, or the zip file without ``.zip``.
    members : mapping of str to ZipInfo
        What the folder consists of, by the paths in it.
    """

    path: Path
    name: str
    members: Mapping[str, ZipInfo]

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open one of the files to be read as it is.

        Raises
        ------
        InputError
            If the zip file is damaged.
        """
        with _opened(self.path) as pack, pack.open(self.members[name]) as stream:
            yield stream

    def unpack(self, folder: Path) -> Path:
        """Unpack the files into a new folder in `folder`, and return that.

        Raises
        ------
        InputError
            If the zip file is damaged.
        StorageError
            If they would not fit on the disk.
        """
        return self._unpack(folder, self.members)

    def _unpack(self, folder: Path, members: Mapping[str, ZipInfo]) -> Path:
        size, free = sum(info.file_size for info in members.values()), _free(folder)
        if size > free:
            what = "The disk has no room for what is in the zip file"
            remedy = "Free some space, or set PARFOCAL_SCRATCH to a folder on another disk."
            expected, found = f"{size} bytes free in {folder}", f"{free}"
            raise StorageError(what, where=self.path, expected=expected, found=found, remedy=remedy)
        target = folder / self.name
        with _opened(self.path) as pack:
            for name, info in members.items():
                with self._created(target / name, name) as sink:
                    _stream(pack, info, sink.write)
        return target

    def _created(self, file: Path, name: str) -> IO[bytes]:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            return file.open("xb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise _unsafe(self.path, name, "no file within a file") from error


@dataclass(frozen=True)
class ZippedZarr(ZippedFiles):
    """An OME-Zarr in a zip file."""

    @property
    def keys(self) -> list[str]:
        """The Zarr keys and ``OME/*``, sorted by their UTF-8 bytes."""
        return sorted(filter(is_zarr_key, self.members), key=os.fsencode)

    @property
    def size_bytes(self) -> int:
        """Size of all that the digest covers, unpacked."""
        return sum(self.members[key].file_size for key in self.keys)

    def digest(self) -> str:
        """Return what ``digest_zarr`` gives of the unpacked OME-Zarr, without unpacking it.

        Raises
        ------
        InputError
            If the zip file is damaged.
        """
        total = hashlib.sha256()
        with _opened(self.path) as pack:
            for key in self.keys:
                part = hashlib.sha256()
                _stream(pack, self.members[key], part.update)
                total.update(f"{part.hexdigest()}  ".encode() + os.fsencode(key) + b"\n")
        return "zarr-merkle-sha256:" + total.hexdigest()

    def unpack(self, folder: Path, *, documents_only: bool = False) -> Path:
        """Unpack the OME-Zarr into a new folder in `folder`, and return that.

        Parameters
        ----------
        folder : Path
            Where to make it.
        documents_only : bool
            Whether to leave out the pixels.

        Raises
        ------
        InputError
            If the zip file is damaged.
        StorageError
            If it would not fit on the disk.
        """
        members = {
            name: info
            for name, info in self.members.items()
            if not documents_only or PurePosixPath(name).name in _DOCUMENTS or name[:4] == "OME/"
        }
        return self._unpack(folder, members)


def find_zipped_zarr(path: Path, called: str | None = None) -> ZippedZarr | None:
    """Return the one OME-Zarr that a zip file holds, at its root or in a folder of it.

    Parameters
    ----------
    path : Path
        The file.
    called : str, optional
        What it is called, if not as `path` says.

    Returns
    -------
    ZippedZarr or None
        None where `path` is no zip file, or it holds no OME-Zarr there.

    Raises
    ------
    InputError
        If it holds several, or is damaged, encrypted, or made to write elsewhere than into the
        folder that it is unpacked to.
    """
    if not is_zip(path):
        return None
    with _opened(path) as pack:
        infos = [info for info in pack.infolist() if not info.is_dir()]
    names = [PurePosixPath(info.filename) for info in infos]
    roots = {name.parts[:-1] for name in names if name.name in ROOTS and len(name.parts) < 3}
    if () in roots:
        roots = {()}
    if not roots:
        return None
    if len(roots) > 1:
        what = "The zip file holds several OME-Zarrs"
        found = ", ".join(sorted("/".join(root) for root in roots))
        remedy = "Pack each in a file of its own."
        raise InputError(what, where=path, expected="one", found=found, remedy=remedy)
    (root,) = roots
    members: dict[str, ZipInfo] = {}
    for info in infos:
        _refuse_unsafe(path, info)
        parts = PurePosixPath(info.filename).parts
        if parts[: len(root)] == root:
            _add(members, "/".join(parts[len(root) :]), info, path)
    return ZippedZarr(path, root[0] if root else _stem(called or path.name), members)


def zipped_files(path: Path) -> ZippedFiles:
    """Return all files of a zip file.

    Raises
    ------
    InputError
        If it is damaged, encrypted, or made to write elsewhere than into the folder that it is
        unpacked to.
    """
    members: dict[str, ZipInfo] = {}
    with _opened(path) as pack:
        infos = [info for info in pack.infolist() if not info.is_dir()]
    for info in infos:
        _refuse_unsafe(path, info)
        _add(members, str(PurePosixPath(info.filename)), info, path)
    return ZippedFiles(path, _stem(path.name), members)


def is_zip(path: Path) -> bool:
    """Return whether the first bytes of a file are those of a zip file."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False  # a folder, or nothing that can be read: others tell


def _stem(name: str) -> str:
    return name.removesuffix(".zip") or name


def _add(members: dict[str, ZipInfo], name: str, info: ZipInfo, path: Path) -> None:
    if name in members:
        raise _unsafe(path, name, "each file once")
    members[name] = info


def _refuse_unsafe(path: Path, info: ZipInfo) -> None:
    name = info.orig_filename
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise _unsafe(path, name, "relative paths without '..'")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _unsafe(path, name, "plain files, no links")
    if info.flag_bits & 1:
        raise _unsafe(path, name, "no password")


def _unsafe(path: Path, name: str, expected: str) -> InputError:
    what = "The zip file cannot be unpacked safely"
    return InputError(what, where=path, expected=expected, found=repr(name), remedy=_REMEDY)


@contextmanager
def _opened(path: Path) -> Iterator[ZipFile]:
    try:
        with ZipFile(path) as pack:
            _refuse_inner(pack)
            yield pack
    except (*_BROKEN, *_BROKEN_INSIDE, OSError) as error:
        # What bz2 says of damage, and seeking to where nothing is; not what the disk says.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        what = "The zip file is damaged or of an unknown kind"
        raise InputError(what, where=path, found=error, remedy=_REMEDY) from error


def _refuse_inner(pack: ZipFile) -> None:
    """Refuse a directory that is not of the whole file, such as that of a zip file within it.

    Python's reader takes the last one that it finds, wherever that one's files begin: of a file
    that was cut off behind a zip file that it holds, it would read the inner for the outer.
    """
    if min((info.header_offset for info in pack.infolist()), default=-1) != 0:
        message = "it does not tell of what is at its start, as where it was cut off"
        raise BadZipFile(message)


def _stream(pack: ZipFile, info: ZipInfo, write: Callable[[bytes], object]) -> None:
    # It reads no more than the size that the directory of the zip states, and checks the CRC.
    with pack.open(info) as source:
        while block := source.read(_CHUNK):
            end_if_asked()
            write(block)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
