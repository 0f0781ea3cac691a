"""Open an image again in another process, which keeps it open for the work that is to come."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict

from parfocal.core.worker import WORKER
from parfocal.images.image import Image, Origin
from parfocal.images.opening import open_image

__all__ = ["reopen"]

_MOST_IMAGES = 8
_State = tuple[Origin, int, int]

_opened: OrderedDict[_State, Image] = OrderedDict()
_lock = threading.Lock()


def reopen(origin: Origin) -> Image:
    """Return the image that was opened so, decoding in as many threads as this worker has.

    The last ones stay open. One that was forgotten is closed when nobody uses it any more, and
    all are when the process ends.

    Parameters
    ----------
    origin : Origin
        How it was opened first.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    with _lock:
        state = _state(origin)
        if state in _opened:
            _opened.move_to_end(state)
            return _opened[state]
        image = open_image(
            origin.path,
            origin.series,
            axes=origin.axes,
            threads=WORKER.threads,
            reader=origin.reader,
        )
        weakref.finalize(image, image.close)
        _opened[state] = image
        while len(_opened) > _MOST_IMAGES:
            _opened.popitem(last=False)
        return image


def _state(origin: Origin) -> _State:
    """Return what changes where another image has taken the place of one that is open."""
    try:
        found = os.stat(origin.path)  # noqa: PTH116  # as in the writers of shards
    except FileNotFoundError:
        return origin, 0, 0
    return origin, found.st_ino, found.st_mtime_ns
