"""The files of a crate: a folder, or a zip file that is read as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

from parfocal.core.digest import digest_path
from parfocal.core.stopping import end_if_asked
from parfocal.core.zipped_zarr import ZippedFiles, is_zip, zipped_files
from parfocal.errors import InputError

__all__ = ["METADATA", "CrateFiles", "crate_files", "root_of"]

METADATA = "ro-crate-metadata.json"
_LARGEST_METADATA = 2 << 30  # bytes; that of a run of 10,000 outputs has some hundred million
_CHUNK = 1 << 20
_REMEDY = "Name the folder or zip file that 'parfocal record-run' wrote."


class CrateFiles(Protocol):
    """What a crate holds, wherever it lies; nothing in it is ever written."""

    @property
    def path(self) -> Path:
        """The folder or zip file."""

    def metadata(self) -> AbstractContextManager[IO[bytes]]:
        """Open the metadata document."""

    def digest(self, name: str) -> str | None:
        """Return ``sha256:<hex>`` of a file of the crate; None where it has none of this name."""

    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open a file of the crate."""

    def content(self, name: str, at_most: int) -> bytes:
        """Return the bytes of a file of the crate, of which there may be so many."""

    def names(self) -> list[str]:
        """Return the paths of all files of the crate but the metadata document."""


def crate_files(path: Path) -> CrateFiles:
    """Return the files of a crate.

    Raises
    ------
    InputError
        If there is no crate, or a zip file is damaged or made to reach out of its folder.
    """
    if path.is_dir():
        return _Folder(path)
    if is_zip(path):
        return _Zip(path)
    what = "There is no crate" if not path.exists() else "The file is no zip file"
    expected = f"a folder with {METADATA}, or a zip file of it"
    raise InputError(what, where=path, expected=expected, remedy=_REMEDY)


def root_of(files: ZippedFiles) -> str:
    """Return the folder in a zip file that a crate lies in, with a slash; empty for its root.

    Archives and code hosts put all files of a zip file into one folder.

    Raises
    ------
    InputError
        If there is no crate in it, or several.
    """
    roots = [name.removesuffix(METADATA) for name in files.members if name.endswith(METADATA)]
    roots = [root for root in roots if root.count("/") == bool(root)]
    if len(roots) != 1:
        what = "The zip file is no RO-Crate"
        expected, found = f"one {METADATA}, at its root or in one folder", f"{len(roots)} of them"
        raise InputError(what, where=files.path, expected=expected, found=found, remedy=_REMEDY)
    return roots[0]


def _bounded(size: int, where: object) -> None:
    if size > _LARGEST_METADATA:
        what = "The metadata of the crate is larger than that of any run"
        expected, found = f"at most {_LARGEST_METADATA} bytes", f"{size}"
        raise InputError(what, where=where, expected=expected, found=found, remedy=_REMEDY)


class _Folder:
    """A crate that is a folder. A link out of it is refused: record-run makes none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = path.resolve()
        if not (path / METADATA).is_file():
            what = "The folder is no RO-Crate"
            raise InputError(what, where=path, expected=METADATA, remedy=_REMEDY)

    @contextmanager
    def metadata(self) -> Iterator[IO[bytes]]:
        """Open the metadata document."""
        file = self._inside(METADATA)
        try:
            _bounded(file.stat().st_size, file)
            with file.open("rb") as stream:
                yield stream
        except OSError as error:
            what = "The metadata of the crate cannot be read"
            raise InputError(what, where=file, found=error, remedy=_REMEDY) from error

    def digest(self, name: str) -> str | None:
        """Return ``sha256:<hex>`` of a file; None where there is none."""
        file = self._inside(name)
        return digest_path(file) if file.is_file() else None

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file."""
        file = self._inside(name)
        try:
            if file.exists() and not file.is_file():  # a pipe would be waited for without end
                what = "A file of the crate is no ordinary file"
                raise InputError(what, where=file, expected="a file", remedy=_REMEDY)
            stream = file.open("rb")
        except OSError as error:
            raise self._unreadable(name, error) from error
        with stream:
            yield stream

    def content(self, name: str, at_most: int) -> bytes:
        """Return the bytes of a file, of which there may be so many."""
        with self.opened(name) as stream:
            try:
                return _read(stream, self.path, name, at_most)
            except OSError as error:
                raise self._unreadable(name, error) from error

    def names(self) -> list[str]:
        """Return the paths of all files but the metadata document."""
        paths = (path for path in self.path.rglob("*") if path.is_symlink() or not path.is_dir())
        names = (path.relative_to(self.path).as_posix() for path in paths)
        return sorted(name for name in names if name != METADATA)

    def _inside(self, name: str) -> Path:
        file = self.path / name
        try:
            inside = file.resolve().is_relative_to(self._root)
        except RuntimeError as error:  # a loop of links
            raise self._escape(name) from error
        except (OSError, ValueError) as error:  # a name that no file can have
            what = "A file of the crate cannot be read"
            where = f"{self.path}, {ascii(name)[:200]}"
            raise InputError(what, where=where, found=error, remedy=_REMEDY) from error
        if not inside:
            raise self._escape(name)
        return file

    def _unreadable(self, name: str, error: OSError) -> InputError:
        what = "A file of the crate cannot be read"
        return InputError(what, where=f"{self.path}, {name!a}", found=error, remedy=_REMEDY)

    def _escape(self, name: str) -> InputError:
        what = "A file of the crate is a link out of it"
        return InputError(what, where=self.path, found=ascii(name), remedy=_REMEDY)


class _Zip:
    """A crate that is a zip file, with its files at the root or in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: ZippedFiles = zipped_files(path)
        self._root = root_of(self._files)

    @contextmanager
    def metadata(self) -> Iterator[IO[bytes]]:
        """Open the metadata document."""
        name = self._root + METADATA
        _bounded(self._files.members[name].file_size, self.path)
        with self._files.opened(name) as stream:
            yield stream

    def digest(self, name: str) -> str | None:
        """Return ``sha256:<hex>`` of a file; None where there is none."""
        if self._root + name not in self._files.members:
            return None
        digest = hashlib.sha256()
        with self._files.opened(self._root + name) as stream:
            while block := stream.read(_CHUNK):
                end_if_asked()
                digest.update(block)
        return f"sha256:{digest.hexdigest()}"

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file."""
        if self._root + name not in self._files.members:
            what = "The crate lacks a file that it names"
            raise InputError(what, where=self.path, expected=ascii(name), remedy=_REMEDY)
        with self._files.opened(self._root + name) as stream:
            yield stream

    def content(self, name: str, at_most: int) -> bytes:
        """Return the bytes of a file, of which there may be so many."""
        with self.opened(name) as stream:
            return _read(stream, self.path, name, at_most)

    def names(self) -> list[str]:
        """Return the paths of all files but the metadata document; others in the zip file too."""
        names = (name.removeprefix(self._root) for name in self._files.members)
        return sorted(name for name in names if name != METADATA)


def _read(stream: IO[bytes], path: Path, name: str, at_most: int) -> bytes:
    content = stream.read(at_most + 1)
    if len(content) > at_most:
        what = "A file of the crate is larger than that of any run"
        where = f"{path}, {name!a}"
        raise InputError(what, where=where, expected=f"at most {at_most} bytes", remedy=_REMEDY)
    return content
