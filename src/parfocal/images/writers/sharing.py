"""Put the files of one OME-Zarr into another without taking up their space twice."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["share_all", "tell_copies"]

_FICLONE = 0x40049409  # ioctl_ficlonerange(2)
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)
_CANNOT_CLONE = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EPERM)


def share_all(
    jobs: Sequence[tuple[Path, Path]], progress: Callable[[int, int], None]
) -> dict[str, int]:
    """Make each target a hard link to its source, or else a clone, or else a copy.

    Parameters
    ----------
    jobs : sequence of (source, target)
        Files, and where they shall be; folders are made.
    progress : callable
        Called as ``progress(done, total)`` with numbers of files.

    Returns
    -------
    dict of str to int
        How many files were ``linked``, ``cloned`` and ``copied``.
    """
    counts = Counter(linked=0, cloned=0, copied=0)
    made: set[Path] = set()
    for done, (source, target) in enumerate(jobs, 1):
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        counts[_share(source, target)] += 1
        progress(done, len(jobs))
    return dict(counts)


def tell_copies(counts: dict[str, int], warn: Callable[[str], None]) -> None:
    """Warn of files that take up their space twice."""
    if counts["copied"]:
        warn(
            f"{counts['copied']} files were copied, since the file system has no hard links "
            "or clones there: they take up their space twice"
        )


def _share(source: Path, target: Path) -> str:
    # The link is to the file itself, should the input be a symbolic link.
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
    else:
        return "linked"
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer, _FICLONE, reader.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_CLONE:
                raise
        else:
            return "cloned"
        shutil.copyfileobj(reader, writer, 1 << 20)
    return "copied"
