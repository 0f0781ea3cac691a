"""Draw a report as one HTML file that needs no network."""

from __future__ import annotations

import base64
import functools
import math
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any

from parfocal.report.alike import group_warnings
from parfocal.report.content import Boxes, Distribution, Report

__all__ = ["as_number", "measurement_name", "render_page"]

MOST_FAILURES = 100
MOST_WARNINGS = 50
MOST_COMPARISONS = 6
MOST_PARAMETER_SETS = 5
PLOT_WIDTH, PLOT_HEIGHT = 240, 64
NOTHING = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
UNITS = {"um": "µm", "um2": "µm²", "um3": "µm³", "px": "px", "nm": "nm", "s": "s"}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def render_page(report: Report) -> bytes:
    """Return the report as a UTF-8 encoded HTML file.

    Equal reports give equal bytes. All text is escaped; what UTF-8 cannot carry (file
    names in another encoding) and control characters are written as escapes.

    Parameters
    ----------
    report : Report
        All that is to be said.

    Returns
    -------
    bytes
        One file with style, script and pictures inside.
    """
    template = _environment().get_template("page.html")
    html: str = template.render(report=report, **_summary(report))
    return html.encode("utf-8", "backslashreplace")


@functools.cache
def _environment() -> Any:
    """Return the templates, which are compiled once a process."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("parfocal.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": as_number,
        "percent": _as_percent,
        "share": _as_share,
        "measurement": measurement_name,
        "png": _data_uri,
        "bars": _bars,
        "outside": _outside,
        "across": _across,
    }
    environment.globals |= {
        "plot_width": PLOT_WIDTH,
        "plot_height": PLOT_HEIGHT,
        "extreme": _extreme,
    }
    return environment


def _summary(report: Report) -> dict[str, Any]:
    """Return what the page shows of the images together."""
    images = report.images
    failures = [image for image in images if image.state.step]
    warnings = group_warnings(images)
    counted = [image.objects for image in images if image.objects is not None]
    return {
        "statuses": Counter(image.state.status for image in images),
        "verdicts": Counter(i.findings.verdict for i in images if i.findings.verdict),
        "objects": sum(counted) if counted else None,
        "f1": {iou: _scores(report, iou) for iou in (0.5, 0.75)},
        "median": statistics.median,
        "failures": failures[:MOST_FAILURES],
        "failures_left": len(failures[MOST_FAILURES:]),
        "warnings": warnings[:MOST_WARNINGS],
        "warnings_left": len(warnings[MOST_WARNINGS:]),
        "comparisons": report.comparisons[:MOST_COMPARISONS],
        "comparisons_left": len(report.comparisons[MOST_COMPARISONS:]),
        "most_sets": MOST_PARAMETER_SETS,
        "cards": [image for image in images if image.card],
        "size_columns": [
            column
            for column in ("area_um2", "volume_um3", "area_px", "volume_px")
            if any(column in image.medians for image in images)
        ],
        "has_quality": any(image.findings.quality for image in images),
    }


def _scores(report: Report, iou: float) -> list[float]:
    values = (image.findings.f1.get(iou) for image in report.images)
    return [value for value in values if value is not None]


def _extreme(channels: Iterable[dict[str, Any]], key: str, highest: bool) -> float | None:
    """Return the highest or lowest value of `key` among channels, None where none has one."""
    values = [channel[key] for channel in channels if channel.get(key) is not None]
    return (max if highest else min)(values, default=None)


def _printable(value: Any) -> Any:
    """Write control characters of text as escapes; they have no place in HTML."""
    if not isinstance(value, str) or value.isprintable():
        return value
    shown = "".join(_visible(letter) for letter in value)
    return type(value)(shown)


def _visible(letter: str) -> str:
    if unicodedata.category(letter) == "Cc" and letter not in "\n\t":
        return f"\\x{ord(letter):02x}"
    return letter


def as_number(value: float | None) -> str:
    """Return a number to four digits as people write it, and a dash for none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if isinstance(value, int) or 9999.5 <= abs(value) < 1e7:
        return f"{value:,.0f}".replace(",", THIN_SPACE)
    digits, _, exponent = f"{value:.4g}".partition("e")
    if not exponent:
        return digits
    return f"{digits}{THIN_SPACE}{TIMES}{THIN_SPACE}10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def _as_percent(value: float | None) -> str:
    if value is None:
        return NOTHING
    shown = f"{value:.2%}" if value >= 0.0001 else "<0.01%" if value else "0%"
    return shown.replace("%", f"{THIN_SPACE}%")


def _as_share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0%}".replace("%", f"{THIN_SPACE}%")


def measurement_name(column: str) -> str:
    """Return the name of a column of a table for people, with its unit.

    Examples
    --------
    >>> measurement_name("area_um2")
    'Area (µm²)'
    >>> measurement_name("intensity_mean_DAPI")
    'Mean intensity, DAPI'
    """
    if column.startswith("intensity_mean_"):
        return f"Mean intensity, {column.removeprefix('intensity_mean_')}"
    stem, _, unit = column.rpartition("_")
    name, suffix = (stem, f" ({UNITS[unit]})") if unit in UNITS else (column, "")
    return name.replace("_", " ").capitalize() + suffix


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _bars(distribution: Distribution) -> list[tuple[str, str, str, str]]:
    """Return left, top, width and height of the bars of a histogram; empty bins have none."""
    highest = max(distribution.counts) or 1
    width = PLOT_WIDTH / len(distribution.counts)
    bars = []
    for index, count in enumerate(distribution.counts):
        height = max(1.0, PLOT_HEIGHT * count / highest)
        if count:
            bars.append((index * width, PLOT_HEIGHT - height, width * 0.88, height))
    return [tuple(f"{number:.4g}" for number in bar) for bar in bars]  # type: ignore[misc]


def _outside(distribution: Distribution) -> str:
    """Say how many objects are not drawn, and how far they reach."""
    reach = []
    if distribution.minimum < distribution.low:
        reach.append(f"smallest {as_number(distribution.minimum)}")
    if distribution.maximum >= distribution.high:
        reach.append(f"largest {as_number(distribution.maximum)}")
    out, of = as_number(distribution.outside), as_number(distribution.objects)
    verb = "lies" if distribution.outside == 1 else "lie"
    return f"{out} of {of} objects {verb} outside the drawn range ({', '.join(reach)})"


def _across(boxes: Boxes, value: float) -> str:
    """Return the position of a value in a row, in the units of its drawing."""
    return f"{PLOT_WIDTH * boxes.place(value):.4g}"
