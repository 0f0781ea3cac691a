"""Warnings that say the same of different files, counted together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from parfocal.report.content import ImageLine

__all__ = ["Alike", "group_warnings"]

FILE = "\N{HORIZONTAL ELLIPSIS}"
_PATH = re.compile(
    r"""(?:[a-z][a-z0-9+]*://)?[^\s'",;:()\[\]]*(?:/[^\s'",;()\[\]]+|\.[A-Za-z][A-Za-z0-9]{1,4}\b)"""
)


@dataclass(frozen=True)
class Alike:
    """Warnings of one step that differ in the file that they name, or not at all.

    Parameters
    ----------
    step : str
        The step.
    text : str
        The first of them as it stands.
    others : int
        How many other texts there are.
    images : int
        How many images they concern.
    """

    step: str
    text: str
    others: int
    images: int


def group_warnings(images: Iterable[ImageLine]) -> list[Alike]:
    """Group the warnings of images, those of most images first."""
    texts: dict[tuple[str, str], dict[str, None]] = {}
    concerned: dict[tuple[str, str], set[str]] = {}
    for image in images:
        for step, text in image.findings.warnings:
            key = (step, without_files(text, image.source))
            texts.setdefault(key, {})[text] = None
            concerned.setdefault(key, set()).add(image.image_id)
    ordered = sorted(texts, key=lambda key: -len(concerned[key]))
    return [
        Alike(key[0], next(iter(texts[key])), len(texts[key]) - 1, len(concerned[key]))
        for key in ordered
    ]


def without_files(text: str, source: str) -> str:
    """Return a text with an ellipsis for each path and file name.

    Parameters
    ----------
    text : str
        A warning.
    source : str
        Where its image comes from: that name may have blanks.
    """
    for name in (source, PurePosixPath(source).name):
        if len(name) > 1:
            text = text.replace(name, FILE)
    return _PATH.sub(FILE, text)
