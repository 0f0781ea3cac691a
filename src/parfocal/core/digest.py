"""Digests of files, OME-Zarrs and folders.

The digest of an OME-Zarr covers its Zarr keys and ``OME/*`` only, since engines drop
files of their own into folders. ``docs/reference/digest.md`` recomputes it with ``sha256sum``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from parfocal.core.stopping import end_if_asked
from parfocal.errors import InputError
from parfocal.models.manifest import MANIFEST_NAME, read_manifest

__all__ = [
    "ROOTS",
    "digest_json",
    "digest_path",
    "digest_zarr",
    "file_digests",
    "fingerprint",
    "is_zarr",
    "is_zarr_key",
    "lines_of",
    "lines_told",
    "size_of",
    "zarr_keys",
]

_KEY = re.compile(
    r"(?:^|/)(?:zarr\.json|\.z(?:group|array|attrs|metadata)"
    r"|c(?:[./][0-9]+)*|[0-9]+(?:[./][0-9]+)*)$|^OME/[^/]+$"
)
ROOTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""The names of the documents that make a folder a Zarr."""
_CHUNK = 1 << 20

_Tell = Callable[[str, bytes], None]
_TELL: ContextVar[_Tell | None] = ContextVar("tell", default=None)


def is_zarr(path: Path) -> bool:
    """Return whether `path` is the folder of a Zarr group or array."""
    return any((path / name).is_file() for name in ROOTS)


def zarr_keys(path: Path) -> list[str]:
    """Return the Zarr keys and ``OME/*`` below `path`, sorted by their UTF-8 bytes.

    A key is a metadata document (``zarr.json``, ``.zgroup``, ``.zarray``, ``.zattrs``,
    ``.zmetadata``) or a chunk (``c/0/1`` or ``c.0.1``; ``0/1`` or ``0.1`` in Zarr 2).
    """
    return sorted(filter(is_zarr_key, _files(path)), key=os.fsencode)


def is_zarr_key(name: str) -> bool:
    """Return whether the digest of a Zarr covers the file of this name, relative to the Zarr."""
    return _KEY.search(name) is not None


def digest_zarr(path: Path, threads: int = 1) -> str:
    r"""Return the Merkle digest of a Zarr.

    It is the sha256 over one line ``<sha256 of the file>  <key>\n`` for each of `zarr_keys`.

    Parameters
    ----------
    path : Path
        Folder of the Zarr.
    threads : int
        How many files to read at once.

    Returns
    -------
    str
        ``zarr-merkle-sha256:<hex>``.
    """
    names, tell = zarr_keys(path), _TELL.get()
    if tell is None:
        return "zarr-merkle-sha256:" + _digest_lines(path, names, threads)
    lines = lines_of(file_digests(path, threads))
    digest = f"zarr-merkle-sha256:{hashlib.sha256(lines).hexdigest()}"
    tell(digest, lines)
    return digest


@contextmanager
def lines_told(tell: _Tell) -> Iterator[None]:
    """Tell the lines, of which the digest is made, of each Zarr that is digested meanwhile.

    Parameters
    ----------
    tell : callable
        Called as ``tell(digest, lines)`` in the thread that digests, which is this one.
    """
    before = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(before)


def file_digests(path: Path, threads: int = 1) -> dict[str, str]:
    """Return the sha256 (hex) of each file that the digest of a folder covers, by its path in it.

    Parameters
    ----------
    path : Path
        An OME-Zarr, or any other folder.
    threads : int
        How many files to read at once.
    """
    names = _covered(path)
    return dict(zip(names, _digest_files([path / name for name in names], threads), strict=True))


def lines_of(digests: Mapping[str, str]) -> bytes:
    r"""Return the lines ``<sha256>  <path>\n`` whose sha256 is the digest of a folder.

    Parameters
    ----------
    digests : mapping of str to str
        What `file_digests` returned.
    """
    return b"".join(_line(name, digest) for name, digest in digests.items())


def digest_path(path: Path, threads: int = 1) -> str:
    """Return the digest of a file, an OME-Zarr, a fetched folder, or any other folder.

    Returns
    -------
    str
        ``sha256:<hex>`` of a file's bytes; ``zarr-merkle-sha256:<hex>`` of an OME-Zarr;
        ``manifest-sha256:<hex>`` of the file digests in a fetched folder's manifest;
        ``tree-sha256:<hex>`` of any other folder.

    Raises
    ------
    InputError
        If nothing lies at `path` or it may not be read.
    """
    try:
        if path.is_file():
            return "sha256:" + _digest_file(path)
        if is_zarr(path):
            return digest_zarr(path, threads)
        if (path / MANIFEST_NAME).is_file() and _is_manifest(path / MANIFEST_NAME):
            return _digest_manifest(path)
        if path.is_dir():
            return "tree-sha256:" + _digest_lines(path, _covered(path), threads)
    except PermissionError as error:
        what = "A file may not be read"
        remedy = "Give yourself read permission, or name another file."
        raise InputError(what, where=error.filename or path, remedy=remedy) from error
    what = "There is no such file or folder"
    raise InputError(what, where=path, remedy="Check the path.")


def digest_json(value: object) -> str:
    """Return the sha256 (hex) of `value` as canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder (of a Zarr: of its keys)."""
    if path.is_file():
        return path.stat().st_size
    return sum((path / name).stat().st_size for name in _covered(path))


def fingerprint(path: Path) -> str:
    """Return what tells without reading whether a file or folder was changed since.

    It is a digest of the names, sizes and modification times of the files whose bytes
    `digest_path` covers.
    """
    names = [""] if path.is_file() else _covered(path)
    states = [(path / name).stat() for name in names]
    seen = zip(names, states, strict=True)
    return digest_json([[name, state.st_size, state.st_mtime_ns] for name, state in seen])


def _covered(path: Path) -> list[str]:
    return zarr_keys(path) if is_zarr(path) else sorted(_files(path), key=os.fsencode)


def _files(path: Path) -> Iterable[str]:
    # Links are followed, or a linked part of an image would not count; not those into a loop.
    for folder, inner, names in os.walk(path, onerror=_raise, followlinks=True):
        here = Path(folder).resolve()
        inner[:] = [n for n in inner if not _is_loop(here / n, here)]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), path)  # noqa: PTH118


def _is_loop(entry: Path, folder: Path) -> bool:
    return entry.is_symlink() and folder.is_relative_to(entry.resolve())


def _raise(error: OSError) -> None:
    raise error


def _digest_file(path: Path) -> str:
    # Memory does not grow with the file; hashlib lets go of the GIL on blocks this large.
    digest = hashlib.sha256()
    # Without O_NONBLOCK a named pipe would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            what = "This is neither a file nor a folder, and cannot be digested"
            raise InputError(what, where=path, remedy="Remove it, or name another file.")
        while block := stream.read(_CHUNK):
            end_if_asked()
            digest.update(block)
    return digest.hexdigest()


def _digest_lines(path: Path, names: list[str], threads: int) -> str:
    digests = _digest_files([path / name for name in names], threads)
    total = hashlib.sha256()
    for name, digest in zip(names, digests, strict=True):
        total.update(_line(name, digest))
    return total.hexdigest()


def _line(name: str, digest: str) -> bytes:
    return f"{digest}  ".encode() + os.fsencode(name) + b"\n"


def _digest_files(files: list[Path], threads: int) -> list[str]:
    if threads > 1 and len(files) > 1:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(_digest_file, files))
    return [_digest_file(file) for file in files]


def _is_manifest(path: Path) -> bool:
    # Other programs call files of theirs so too.
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("format") == "parfocal-manifest-1"


def _digest_manifest(folder: Path) -> str:
    files = read_manifest(folder).files
    return "manifest-sha256:" + digest_json(
        sorted((Path(file.path).name, file.digest) for file in files)
    )
