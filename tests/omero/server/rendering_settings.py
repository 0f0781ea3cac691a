"""Rendering settings: made from the pixels, found, kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .calls import Call
from .entities import Entity
from .pixel_files import PIXEL_TYPES

__all__ = [
    "Settings",
    "default_settings",
    "find_settings",
    "load_settings",
    "own_settings",
    "save_settings",
    "type_range",
]

_COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
_WHITE = (255, 255, 255)
_DRAWN_AT_FIRST = 3
_FLOAT_RANGE = (-2147483648.0, 2147483647.0)


def type_range(type_name: str) -> tuple[float, float]:
    """Return the lowest and highest value of a type of pixels, as OMERO has them."""
    dtype = np.dtype(PIXEL_TYPES[type_name])
    if dtype.kind not in "iu":
        return _FLOAT_RANGE
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


@dataclass
class Settings:
    """How some pixels are rendered: the settings' own values and those of each channel.

    ``id`` is None before they are kept.
    """

    id: int | None
    values: dict[str, Any]
    bindings: list[dict[str, Any]]


def own_settings(call: Call, pixels: Entity, owner: Entity | None) -> Entity | None:
    """Return the last settings of some pixels that somebody kept."""
    found = call.store.referrers(pixels, "RenderingDef", "pixels")
    return next((one for one in reversed(found) if one.details.owner is owner), None)


def find_settings(call: Call, pixels: Entity) -> Entity | None:
    """Return the user's settings of some pixels, else those of the pixels' owner."""
    own = own_settings(call, pixels, call.user)
    return own or own_settings(call, pixels, pixels.details.owner)


def load_settings(call: Call, entity: Entity) -> Settings:
    """Return a copy of settings that are kept, to be changed at will."""
    bindings = call.store.collection(entity, "waveRendering")
    return Settings(entity.id, dict(entity.values), [dict(binding.values) for binding in bindings])


def default_settings(call: Call, pixels: Entity) -> Settings:
    """Return settings made from the pixels; nothing is kept."""
    grey = pixels["sizeC"] == 1
    values = {
        "pixels": pixels,
        "defaultZ": (pixels["sizeZ"] - 1) // 2,
        "defaultT": 0,
        "model": call.store.find_by("RenderingModel", "value", "greyscale" if grey else "rgb"),
    }
    return Settings(None, values, _bindings(call, pixels))


def save_settings(call: Call, settings: Settings) -> Settings:
    """Keep settings as the user's own, in place of those that the user had."""
    store, pixels = call.store, settings.values["pixels"]
    own = own_settings(call, pixels, call.user)
    if own is None:
        own = _make(call, settings)
    for name in ("defaultZ", "defaultT", "model"):
        store.set(own, name, settings.values[name])
    kept = store.collection(own, "waveRendering")
    for binding, values in zip(kept, settings.bindings, strict=True):
        for name in set(values) - {"renderingDef"}:
            store.set(binding, name, values[name])
    store.touch(own, call.event)
    return load_settings(call, own)


def _make(call: Call, settings: Settings) -> Entity:
    store, group = call.store, settings.values["pixels"].details.group
    quantum = {"cdStart": 0, "cdEnd": 255, "bitResolution": 255}
    values = {
        **settings.values,
        "quantization": store.add("QuantumDef", quantum, call.new_details(group)),
    }
    made = store.add("RenderingDef", values, call.new_details(group))
    for binding in settings.bindings:
        store.add("ChannelBinding", {**binding, "renderingDef": made}, call.new_details(group))
    return made


def _bindings(call: Call, pixels: Entity) -> list[dict[str, Any]]:
    channels = call.store.collection(pixels, "channels")
    low, high = type_range(pixels["pixelsType"]["value"])
    found = []
    for index, channel in enumerate(channels):
        stats = channel["statsInfo"]
        window = (stats["globalMin"], stats["globalMax"]) if stats is not None else (low, high)
        chosen = tuple(channel[name] for name in ("red", "green", "blue"))
        default = _WHITE if len(channels) == 1 else _COLORS[index % len(_COLORS)]
        red, green, blue = default if None in chosen else chosen
        found.append(
            {
                "family": call.store.find_by("Family", "value", "linear"),
                "coefficient": 1.0,
                "inputStart": float(window[0]),
                "inputEnd": float(window[1]),
                "active": index < _DRAWN_AT_FIRST,
                "noiseReduction": False,
                "red": red,
                "green": green,
                "blue": blue,
                "alpha": 255,
            }
        )
    return found
