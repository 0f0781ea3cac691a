"""What a report says, as plain data: gathered by the step, drawn by the page."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from parfocal.report.planned import PlanSummary

__all__ = [
    "Box",
    "Boxes",
    "Card",
    "Channel",
    "Comparison",
    "Distribution",
    "Findings",
    "ImageLine",
    "ParameterSet",
    "Picture",
    "Report",
    "Seams",
    "State",
    "StepLine",
    "Usage",
]

Status = Literal["done", "failed", "skipped", "unfinished", "not run"]


@dataclass(frozen=True)
class State:
    """How one step ended for one image, or all steps together.

    Parameters
    ----------
    status : str
        ``unfinished`` is an attempt that has begun and never told its end.
    step : str or None
        The step that failed or did not finish.
    error : str or None
        Why, with the remedy.
    """

    status: Status
    step: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Seams:
    """The seam score of an image that was segmented in several parts.

    Parameters
    ----------
    borders : str
        What the borders are those of: ``blocks``, ``tiles`` or ``windows``.
    p : float
        Probability of such a difference between objects at borders and others by chance.
    significant : bool
        Whether that counts as a seam.
    flat : int
        How many sides of objects lie exactly at a border.
    flat_expected : float
        How many would by chance.
    near : int
        How many objects lie near a border; with none, nothing is known.
    """

    borders: str
    p: float
    significant: bool
    flat: int
    flat_expected: float
    near: int


@dataclass(frozen=True)
class Findings:
    """What the steps found out about one image; None or empty where there is nothing.

    Parameters
    ----------
    quality : list of dict
        The channels of quality.json.
    f1 : dict of float to float or None
        F1 score by IoU threshold, where there is ground truth.
    verdict : str or None
        Verdict of the certificate of conversion.
    readers : tuple of str
        Libraries that the certificate names, with their versions.
    warnings : tuple of (str, str)
        Step and text of each recorded warning.
    seams : Seams or None
        The seam score, where there are borders.
    """

    quality: tuple[dict[str, Any], ...] = ()
    f1: dict[float, float | None] = field(default_factory=dict)
    verdict: str | None = None
    readers: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    seams: Seams | None = None


@dataclass(frozen=True)
class Distribution:
    """A histogram of one measurement, and its key numbers.

    Parameters
    ----------
    column : str
        Column of the table, with its unit.
    low, step : float
        Where the first bin begins, and the width of each.
    counts : tuple of int
        Objects in each bin.
    outside : int
        Objects beyond the bins, on either side.
    minimum, mean, maximum : float
        Of all objects that have a value.
    median : float or None
        None where it is not computed.
    """

    column: str
    low: float
    step: float
    counts: tuple[int, ...]
    outside: int
    minimum: float
    mean: float
    maximum: float
    median: float | None = None

    @property
    def high(self) -> float:
        """Where the last bin ends."""
        return self.low + self.step * len(self.counts)

    @property
    def objects(self) -> int:
        """How many objects have a value."""
        return sum(self.counts) + self.outside


@dataclass(frozen=True)
class Box:
    """The objects of one image in one measurement, as a row among others.

    Parameters
    ----------
    image_id : str
        The image.
    objects : int
        How many have a value.
    low, high : float
        The middle 90 % of the objects; all where `points` are given.
    first_quartile, median, third_quartile : float
        Of the objects.
    points : tuple of float
        Each object, where they are few.
    """

    image_id: str
    objects: int
    low: float
    first_quartile: float
    median: float
    third_quartile: float
    high: float
    points: tuple[float, ...] = ()


@dataclass(frozen=True)
class Boxes:
    """Images one below the other on one axis.

    Parameters
    ----------
    rows : tuple of Box
        One an image.
    ticks : tuple of float
        Marks of the axis in rising order, its ends first and last.
    logarithmic : bool
        Whether equal distances are equal ratios.
    """

    rows: tuple[Box, ...]
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies between the ends of the axis, from 0 to 1."""
        low, at, high = self.ticks[0], value, self.ticks[-1]
        if self.logarithmic:
            low, at, high = math.log(low), math.log(at), math.log(high)
        return (at - low) / (high - low)


@dataclass(frozen=True)
class Comparison:
    """One measurement of all images that can be compared in it.

    Parameters
    ----------
    column : str
        Column of the tables, with its unit.
    kind : str
        What the images have in common, such as "uint16 images".
    images : int
        How many there are.
    boxes : Boxes or None
        The images one by one, where they are few.
    pooled : Distribution or None
        All objects together, where the images are many.
    """

    column: str
    kind: str
    images: int
    boxes: Boxes | None = None
    pooled: Distribution | None = None


@dataclass(frozen=True)
class Channel:
    """A channel as drawn: its name, and its colour as RRGGBB."""

    name: str
    color: str


@dataclass(frozen=True)
class Picture:
    """A thumbnail.

    Parameters
    ----------
    png : bytes
        The image, grey or RGB.
    outlines : bytes or None
        A transparent PNG of the same size with the outlines of the labels.
    width, height : int
        Size in pixels.
    channels : tuple of Channel
        What is drawn in which colour; empty for RGB.
    note : str
        What the picture leaves out or projects.
    size : str
        Size of the image itself, in words.
    """

    png: bytes
    outlines: bytes | None
    width: int
    height: int
    channels: tuple[Channel, ...]
    note: str
    size: str


@dataclass(frozen=True)
class Card:
    """What is shown of an image beyond its line in the table."""

    picture: Picture
    distributions: tuple[Distribution, ...]


@dataclass(frozen=True)
class ImageLine:
    """One image of the report; `source` is where it comes from, as the sheet says."""

    image_id: str
    name: str
    state: State
    findings: Findings
    objects: int | None = None
    medians: dict[str, float] = field(default_factory=dict)
    card: Card | None = None
    source: str = ""


@dataclass(frozen=True)
class ParameterSet:
    """Parameters that a step ran with, by dotted name, and for how many images."""

    images: int
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StepLine:
    """One step of the run."""

    name: str
    versions: tuple[str, ...]
    counts: dict[str, int]
    parameters: tuple[ParameterSet, ...]


@dataclass(frozen=True)
class Usage:
    """What one step used, of images for which that was predicted.

    Parameters
    ----------
    step : str
        Its name.
    images : int
        How many there are.
    memory_mb : float
        Largest peak (10^6 bytes) among them.
    memory_share, most_memory_share : float
        Used over predicted: median and largest.
    time_s : float
        Wall time of all together.
    time_share, most_time_share : float or None
        Used over predicted: median and largest.
    """

    step: str
    images: int
    memory_mb: float
    memory_share: float
    most_memory_share: float
    time_s: float
    time_share: float | None
    most_time_share: float | None


@dataclass(frozen=True)
class Report:
    """All that one report says."""

    title: str
    label_name: str
    images: tuple[ImageLine, ...]
    steps: tuple[StepLine, ...]
    comparisons: tuple[Comparison, ...]
    software: tuple[str, ...]
    usage: tuple[Usage, ...] = ()
    plan: PlanSummary | None = None
