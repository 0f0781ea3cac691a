"""Lengths and times of OMERO, which carry a unit, in micrometres and seconds."""

from __future__ import annotations

from typing import Any

__all__ = ["micrometres", "nanometres", "seconds"]

_LENGTHS_UM = {
    "PICOMETER": 1e-6,
    "ANGSTROM": 1e-4,
    "NANOMETER": 1e-3,
    "MICROMETER": 1.0,
    "MILLIMETER": 1e3,
    "CENTIMETER": 1e4,
    "DECIMETER": 1e5,
    "METER": 1e6,
    "THOU": 25.4,
    "INCH": 25_400.0,
}
_TIMES_S = {
    "NANOSECOND": 1e-9,
    "MICROSECOND": 1e-6,
    "MILLISECOND": 1e-3,
    "SECOND": 1.0,
    "MINUTE": 60.0,
    "HOUR": 3600.0,
    "DAY": 86_400.0,
}


def micrometres(length: Any) -> float | None:
    """Return a length in micrometres; None where there is none or its unit is no length.

    Parameters
    ----------
    length : omero.model.Length or None
        Pixels and the frame of a stage are units that have no length.
    """
    return _in_unit(length, _LENGTHS_UM)


def nanometres(length: Any) -> float | None:
    """Return a length in nanometres; see `micrometres`."""
    found = micrometres(length)
    # 1e-3 is no binary number: what is in nanometres already is not touched.
    if found is not None and length.getUnit().name == "NANOMETER":
        return float(length.getValue())
    return None if found is None else found * 1e3


def seconds(time: Any) -> float | None:
    """Return a time in seconds; None where there is none or its unit is unknown.

    Parameters
    ----------
    time : omero.model.Time or None
        A duration.
    """
    return _in_unit(time, _TIMES_S)


def _in_unit(quantity: Any, factors: dict[str, float]) -> float | None:
    if quantity is None:
        return None
    factor = factors.get(quantity.getUnit().name)
    return None if factor is None else float(quantity.getValue()) * factor
