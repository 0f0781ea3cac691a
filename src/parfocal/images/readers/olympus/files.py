"""The files of an OIF, which lie in a folder beside it, and of an OIB, which lie in itself."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, Protocol

from oiffile import CompoundFile, OifFileError, SettingsFile

from parfocal.errors import InputError

__all__ = ["DAMAGE", "OlympusFiles", "damaged", "open_files", "settings_of"]

DAMAGE = (
    OifFileError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    OSError,
    struct.error,
)
"""What oiffile raises when a file is damaged or of an unknown kind."""

_OLE = b"\xd0\xcf\x11\xe0"


class OlympusFiles(Protocol):
    """The files that make up one acquisition."""

    main: str
    """Name of the main file of settings."""

    names: tuple[str, ...]
    """Names of all others, without their folders, sorted."""

    def read(self, name: str) -> bytes:
        """Return the content of a file; safe in threads.

        Raises
        ------
        InputError
            If it is missing or damaged.
        """

    def close(self) -> None:
        """Close the file that they lie in."""


def open_files(path: Path) -> OlympusFiles:
    """Open an OIB or OIF.

    Raises
    ------
    InputError
        If it is damaged, or the folder of an OIF is missing.
    """
    with path.open("rb") as file:
        is_oib = file.read(len(_OLE)) == _OLE
    return _Compound(path) if is_oib or path.suffix.lower() == ".oib" else _Folder(path)


def settings_of(content: bytes, name: str, where: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return settings by section and key.

    Raises
    ------
    InputError
        If they are no settings of Olympus.
    """
    try:
        found: Mapping[str, Mapping[str, Any]] = SettingsFile(io.BytesIO(content), name)
    except DAMAGE as error:
        raise damaged(where, f"{name}: {error}") from error
    return found


def damaged(where: object, found: object) -> InputError:
    """Return the error of a file that cannot be read."""
    what = "The Olympus file cannot be read"
    remedy = "The file is truncated or damaged: copy or download it again."
    return InputError(what, where=where, found=found, remedy=remedy)


class _Folder:
    """An OIF, and the folder beside it."""

    def __init__(self, path: Path) -> None:
        self._folder = path.with_name(f"{path.name}.files")
        self._path = path
        self.main = path.name
        try:
            inside = sorted(self._folder.iterdir())
        except OSError as error:
            what = "The folder with the pixels of the OIF is missing"
            remedy = "Put it beside the OIF, under that name."
            raise InputError(
                what, where=path, expected=self._folder.name, found=error.strerror, remedy=remedy
            ) from error
        self.names = tuple(one.name for one in inside if one.is_file())

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        path = self._path if name == self.main else self._folder / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise damaged(path, error.strerror) from error

    def close(self) -> None:
        """Close nothing: each file is opened when it is read."""


class _Compound:
    """An OIB: a compound file with streams that `OibInfo.txt` in it names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._file = _CheckedFile(path)
        except DAMAGE as error:
            raise damaged(path, error) from error
        try:
            streams = {stream.split("/")[-1]: stream for stream in self._file.files()}
            content = self._file.open_file("OibInfo.txt").read()
            info = settings_of(content, "OibInfo.txt", path)["OibSaveInfo"]
            self._streams = {
                PureWindowsPath(str(name)).name: streams[key]
                for key, name in info.items()
                if key.startswith("Stream")
            }
            self.main = PureWindowsPath(str(info[str(info["MainFileName"])])).name
        except DAMAGE as error:
            self.close()
            raise damaged(path, f"{type(error).__name__}: {error}") from error
        self.names = tuple(sorted(self._streams.keys() - {self.main}))

    def read(self, name: str) -> bytes:
        """Return the content of a stream."""
        try:
            with self._lock:
                content: bytes = self._file.open_file(self._streams[name]).read()
        except DAMAGE as error:
            where = f"{self._path}, {name}"
            raise damaged(where, error) from error
        return content

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _CheckedFile(CompoundFile):  # type: ignore[misc]
    """A compound file that ends in an error where its chains are circles or leave the file."""

    def _sec_read(self, secid: int, /) -> bytes:
        sector: bytes = super()._sec_read(secid)
        if not sector:
            msg = f"sector {secid} lies behind the end of the file"
            raise OifFileError(msg)
        return sector

    def _sec_chain(self, secid: int, /) -> Iterator[bytes]:
        return self._ending(super()._sec_chain(secid), len(self._fat))

    def _mini_sec_chain(self, secid: int, /) -> Iterator[bytes]:
        return self._ending(super()._mini_sec_chain(secid), len(self._minifat))

    @staticmethod
    def _ending(chain: Iterator[bytes], count: int) -> Iterator[bytes]:
        for number, sector in enumerate(chain):
            if number >= count:
                msg = "a chain of sectors has no end"
                raise OifFileError(msg)
            yield sector
