"""Predicted memory and time of a step, from what is known of an image before it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from parfocal.engine.resource_features import memory_features, time_features
from parfocal.engine.resource_work import Work, variants
from parfocal.errors import ConfigurationError
from parfocal.models.base import explain_validation
from parfocal.models.record import Prediction
from parfocal.models.resources import ImageSize, ResourceModel

__all__ = ["predict", "read_model", "sized"]

_DEFAULT = "resource_model.json"


def predict(model: ResourceModel, work: Work, *, spread: bool = False) -> Prediction:
    """Return what a step is expected to take for an image.

    Parameters
    ----------
    model : ResourceModel
        The model.
    work : Work
        What is done to which image; see `sized` for images whose size is not known.
    spread : bool
        Whether the image is worked on by several processes, of which each has so many threads;
        memory is then that of the largest one.
    """
    fit = model.steps.get(work.step)
    memory, time_s = [], []
    if fit is not None:
        memory.append(_sum(fit.memory_mb, memory_features(work)))
        time_s.append(_sum(fit.time_s, time_features(work)))
    if fit is None or not set(variants(work.params)) <= set(fit.variants):
        memory.append(_sum(model.other.memory_mb, memory_features(replace(work, step="other"))))
        time_s.append(_sum(model.other.time_s, time_features(work)))
    process_mb = model.job.process_mb if spread else 0.0
    return Prediction(
        memory_bytes=round((max(memory) + process_mb) * 1e6), time_s=round(max(time_s), 3)
    )


def sized(model: ResourceModel, size: ImageSize | None) -> ImageSize:
    """Return the size of an image, or what the model says of those whose size is not known.

    The same holds for the size of pixels, which lengths in micrometres need.
    """
    if size is None:
        return model.assumed
    if size.pixel_um[2] is None:
        return size.model_copy(update={"pixel_um": model.assumed.pixel_um})
    return size


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
