"""Predicted memory and time of a step, from what is known of an image before it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters, explain_validation
from parfocal.models.record import Prediction
from parfocal.models.resources import ImageSize, ResourceModel

__all__ = ["memory_features", "predict", "read_model", "time_features", "variants"]

_DEFAULT = "resource_model.json"
_MEGA = 2**20
_PART_MPX, _BLOCK_MPX, _SHARD_MIB = 1, 2, 32
"""What a thread has of a plane, of a volume, and of the output at a time, at most."""


def memory_features(size: ImageSize, threads: int, chosen: tuple[str, ...]) -> dict[str, float]:
    """Return what the memory of a step is a sum of.

    What threads work on at a time bounds what is in memory: parts of planes, blocks of volumes,
    shards. What remains grows with lists of blocks and objects, much slower than the image.

    Parameters
    ----------
    size : ImageSize
        The image.
    threads : int
        How many threads the step may use.
    chosen : tuple of str
        The methods of the step; see `variants`.

    Returns
    -------
    dict of str to float
        ``one`` is 1. ``part`` and ``block`` are the megapixels (2^20) that the threads have at a
        time where each has a part of a plane (at most 1) or a block of a volume (at most 2), and
        ``part_bytes`` and ``block_bytes`` the same in MiB; ``shards`` the MiB where each has a
        shard (at most 32). ``root_image`` is the square root of the MiB of the image. Where
        there are volumes, ``solid`` is 1 and ``solid block`` is ``block``; for each method there
        is a ``block`` of its own.
    """
    *_, z, y, x = size.shape
    item, pixels = _item_bytes(size.dtype), math.prod(size.shape) / _MEGA
    plane = y * x / _MEGA
    part = min(threads * min(plane, _PART_MPX), pixels)
    block = min(threads * min(plane * z, _BLOCK_MPX), pixels)
    shards = min(threads * min(plane * z * item, _SHARD_MIB), pixels * item)
    found = {"one": 1.0, "root_image": math.sqrt(pixels * item), "shards": shards}
    found |= {"part": part, "part_bytes": part * item}
    found |= {"block": block, "block_bytes": block * item}
    if z > 1:
        found |= {"solid": 1.0, "solid block": block}
    return found | {f"{method} block": block for method in chosen}


def time_features(size: ImageSize, chosen: tuple[str, ...]) -> dict[str, float]:
    """Return what the time of a step is a sum of: 1 and the MiB of the image, for methods too.

    Parameters
    ----------
    size, chosen
        As for `memory_features`. Threads are left out: how much they help is the machine's.
    """
    image = math.prod(size.shape) / _MEGA * _item_bytes(size.dtype)
    found = {"one": 1.0, "image": image}
    for method in chosen:
        found |= {method: 1.0, f"{method} image": image}
    return found


def _item_bytes(dtype: str) -> int:
    bits = re.search(r"\d+$", dtype)
    return int(bits[0]) // 8 if bits else 1  # bool


def variants(params: Mapping[str, object] | Parameters) -> tuple[str, ...]:
    """Return the methods that parameters choose, such as ``filter.method=median``.

    That of the step itself is called ``method``.

    Parameters
    ----------
    params : Parameters or mapping
        As a step takes them, or as a record tells them.
    """
    values = params.model_dump(mode="json") if isinstance(params, Parameters) else params
    nested = {f"{key}.": value for key, value in values.items() if isinstance(value, Mapping)}
    return tuple(
        f"{prefix}method={within['method']}"
        for prefix, within in sorted(({"": values} | nested).items())
        if "method" in within
    )


def predict(
    model: ResourceModel,
    step: str,
    size: ImageSize | None,
    threads: int,
    chosen: tuple[str, ...],
    *,
    spread: bool = False,
) -> Prediction:
    """Return what a step is expected to take for an image.

    Parameters
    ----------
    model : ResourceModel
        The model.
    step : str
        Name of the step.
    size : ImageSize, optional
        None where it is not known; the model then says what is assumed.
    threads, chosen
        As for `memory_features`.
    spread : bool
        Whether the image is worked on by several processes, of which each has so many threads;
        memory is then that of the largest one.
    """
    size = size or model.assumed
    fit = model.steps.get(step, model.other)
    fits = [fit] if set(chosen) <= set(fit.variants) else [fit, model.other]
    memory = max(_sum(one.memory_mb, memory_features(size, threads, chosen)) for one in fits)
    memory += model.job.process_mb if spread else 0.0
    time_s = max(_sum(one.time_s, time_features(size, chosen)) for one in fits)
    return Prediction(memory_bytes=round(memory * 1e6), time_s=round(time_s, 3))


def _sum(coefficients: Mapping[str, float], known: Mapping[str, float]) -> float:
    return math.fsum(value * known.get(name, 0.0) for name, value in coefficients.items())


def read_model(path: Path | None = None) -> ResourceModel:
    """Read a model that ``parfocal calibrate`` wrote, or the one that comes with Parfocal.

    Raises
    ------
    ConfigurationError
        If the file cannot be read.
    """
    source = path if path is not None else files("parfocal.engine") / _DEFAULT
    what = "The resource model cannot be read"
    remedy = "Let the key resource_model name a file of 'parfocal calibrate', or take it out."
    try:
        return ResourceModel.model_validate_json(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(what, where=source, found=error, remedy=remedy) from error
    except ValidationError as error:
        found = explain_validation(error, ResourceModel)
        remedy = "Write it anew with 'parfocal calibrate', or take the key resource_model out."
        raise ConfigurationError(what, where=source, found=found, remedy=remedy) from error
