"""Which image each step will read, as far as the source and the steps before it tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parfocal.engine.image_chain import CHAIN, chain_images
from parfocal.engine.image_sizes import size_of
from parfocal.engine.resource_work import Work
from parfocal.errors import InputError
from parfocal.models.base import Parameters
from parfocal.models.resources import ImageSize

__all__ = ["StepInput", "chain_inputs", "read_input"]

_LABELS = "uint32"
_CHUNK_PX = 512
"""What steps write is in chunks of their own."""


@dataclass(frozen=True)
class StepInput:
    """The image that a step reads.

    Attributes
    ----------
    size : ImageSize
        How large it is, and its data type.
    chunk_px : int
        Height and width of its chunks.
    halve_z : bool
        Whether its levels are halved along Z.
    """

    size: ImageSize
    chunk_px: int = _CHUNK_PX
    halve_z: bool = False

    def work(self, step: str, threads: int, params: Mapping[str, Any]) -> Work:
        """Return the work that a step has with it; see `Work`."""
        return Work(step, self.size, threads, params, self.chunk_px, self.halve_z)


def read_input(path: Path) -> StepInput | None:
    """Return what is known of an image that is there, None where it is not or cannot be read."""
    from parfocal.images import open_image

    try:
        with open_image(path) as image:
            return StepInput(size_of(image.metadata), max(image.block5[3:]), image.halves_z)
    except InputError:
        return None


def chain_inputs(first: StepInput, steps: Mapping[str, Parameters]) -> dict[str, StepInput]:
    """Return what each step reads, by its name, where optional steps hand their images on.

    Parameters
    ----------
    first : StepInput
        The converted image.
    steps : mapping of str to Parameters
        The parameters of the configured steps, by their names.
    """
    from parfocal.steps import load_step

    rules = {name.replace("-", "_"): name for name in steps}
    chosen = [rule for rule in CHAIN if rule in rules]
    places = chain_images(chosen).image
    lying = {places[CHAIN[0]]: first}
    for rule in chosen:
        size = _made(rule, lying[places[rule]].size, steps[rules[rule]].model_dump(mode="json"))
        place = load_step(rules[rule]).outputs[0].path
        lying[place] = replace(first, size=size)
    found = {name: lying[places[rule]] if rule in places else first for rule, name in rules.items()}
    if "score-objects" in found:
        found["score-objects"] = _labels_of(lying[places["segment_objects"]])
    return found


def _made(rule: str, size: ImageSize, params: Mapping[str, Any]) -> ImageSize:
    """Return the size of what a step of `CHAIN` makes of an image."""
    if rule == "project_image":
        return _projected(size, params)
    return _filtered(size, params) if rule == "filter_image" else size


def _projected(size: ImageSize, params: Mapping[str, Any]) -> ImageSize:
    """Return the size of a projection, with the data type that the step gives it."""
    import numpy as np

    from parfocal.analysis.projection import projected_dtype

    axis = 2 if params["axis"] == "Z" else 0
    last = size.shape[axis] - 1 if params["last"] is None else params["last"]
    count = max(1, last + 1 - params["first"])
    dtype = projected_dtype(
        np.dtype(size.dtype), params["method"], count, as_float=params["as_float"]
    )
    t, c, z, y, x = size.shape
    shape = (t, c, 1, y, x) if params["axis"] == "Z" else (1, c, z, y, x)
    pixel_um = (None, *size.pixel_um[1:]) if params["axis"] == "Z" else size.pixel_um
    return size.model_copy(update={"shape": shape, "dtype": dtype.name, "pixel_um": pixel_um})


def _filtered(size: ImageSize, params: Mapping[str, Any]) -> ImageSize:
    """Return the size of a filtered image, with the data type that the step gives it."""
    import numpy as np

    if params["filter"]["method"] == "difference_of_gaussians" and size.dtype != "bool":
        return size.model_copy(update={"dtype": np.result_type(size.dtype, np.float32).name})
    return size.model_copy(update={"dtype": "uint8" if size.dtype == "bool" else size.dtype})


def _labels_of(image: StepInput) -> StepInput:
    t, _, *sides = image.size.shape
    size = image.size.model_copy(update={"shape": (t, 1, *sides), "dtype": _LABELS})
    return replace(image, size=size)
