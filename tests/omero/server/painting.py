"""Planes as pictures: windows, colours, JPEG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

__all__ = ["Channel", "jpeg", "paint", "scaled"]


class Channel(NamedTuple):
    """How a channel is drawn: its number, the values for black and brightest, its colour."""

    index: int
    window: tuple[float, float]
    color: tuple[int, ...]


def paint(planes: Mapping[int, np.ndarray], channels: Sequence[Channel]) -> np.ndarray:
    """Return the sum of channels in their colours.

    Parameters
    ----------
    planes : mapping
        By number of the channel: (Y, X).
    channels : sequence
        What is drawn.

    Returns
    -------
    (Y, X, 3) uint8
    """
    shape = next(iter(planes.values())).shape if planes else (1, 1)
    picture = np.zeros((*shape, 3))
    for index, (start, end), color in channels:
        span = (end - start) or 1.0
        bright = np.clip((planes[index].astype(float) - start) / span, 0, 1)
        picture += bright[..., None] * np.asarray(color, float)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def jpeg(picture: np.ndarray, quality: float = 0.85) -> bytes:
    """Return a picture as JPEG; the quality is 0 to 1."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "jpeg", quality=max(1, min(95, round(quality * 100))))
    return out.getvalue()


def scaled(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a picture in another size."""
    resized: Any = Image.fromarray(picture).resize((max(1, width), max(1, height)))
    return np.asarray(resized)
