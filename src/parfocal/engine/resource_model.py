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
_BLOCK_MB = 32.0
"""About the size of a shard, which is what steps work on at a time."""


def memory_features(size: ImageSize, threads: int, chosen: tuple[str, ...]) -> dict[str, float]:
    """Return what the memory of a step is a sum of.

    Blocks bound what is in memory at a time; what remains grows with the image's lists of blocks
    and objects, much slower than the image.

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
        ``one`` is 1; ``threads``; ``blocks`` the megabytes (10^6 bytes) that threads have at a
        time; ``root_plane``, ``root_volume`` and ``root_image`` the square roots of the megabytes
        of a plane, of one channel at one time, and of all; and for each method 1, and its
        root of a volume.
    """
    plane, volume, image = _megabytes(size)
    found = {"one": 1.0, "threads": float(threads), "blocks": threads * min(volume, _BLOCK_MB)}
    found |= {"root_plane": math.sqrt(plane), "root_image": math.sqrt(image)}
    found["root_volume"] = math.sqrt(volume)
    for method in chosen:
        found |= {method: 1.0, f"{method} root_volume": math.sqrt(volume)}
    return found


def time_features(size: ImageSize, chosen: tuple[str, ...]) -> dict[str, float]:
    """Return what the time of a step is a sum of: 1, and ``image``, its megabytes; by method too.

    Parameters
    ----------
    size, chosen
        As for `memory_features`. Threads are left out: how much they help is the machine's.
    """
    image = _megabytes(size)[2]
    found = {"one": 1.0, "image": image}
    for method in chosen:
        found |= {method: 1.0, f"{method} image": image}
    return found


def _megabytes(size: ImageSize) -> tuple[float, float, float]:
    *_, z, y, x = size.shape
    plane = y * x * _item_bytes(size.dtype) / 1e6
    return plane, plane * z, plane * math.prod(size.shape[:3])


def _item_bytes(dtype: str) -> int:
    bits = re.search(r"\d+$", dtype)
    return int(bits[0]) // 8 if bits else 1  # bool


def variants(params: Mapping[str, object] | Parameters) -> tuple[str, ...]:
    """Return the methods that parameters choose, such as ``filter.method=median``.

    Parameters
    ----------
    params : Parameters or mapping
        As a step takes them, or as a record tells them.
    """
    values = params.model_dump(mode="json") if isinstance(params, Parameters) else params
    nested = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    return tuple(
        f"{key}.method={value['method']}"
        for key, value in sorted(nested.items())
        if "method" in value
    )


def predict(
    model: ResourceModel, step: str, size: ImageSize | None, threads: int, chosen: tuple[str, ...]
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
    """
    size = size or model.assumed
    fit = model.steps.get(step, model.other)
    fits = [fit] if set(chosen) <= set(fit.variants) else [fit, model.other]
    memory = max(_sum(one.memory_mb, memory_features(size, threads, chosen)) for one in fits)
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
    remedy = "Write it again with 'parfocal calibrate', or take the key resource_model out."
    try:
        return ResourceModel.model_validate_json(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(what, where=source, found=error, remedy=remedy) from error
    except ValidationError as error:
        found = explain_validation(error, ResourceModel)
        raise ConfigurationError(what, where=source, found=found, remedy=remedy) from error
