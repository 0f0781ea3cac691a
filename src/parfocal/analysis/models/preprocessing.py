"""The preprocessing that packages of the BioImage Model Zoo ask for, as a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from parfocal.analysis.models.recipe import Recipe
from parfocal.errors import InputError

__all__ = ["recipe_of_steps"]

Step = Mapping[str, Any]


def recipe_of_steps(steps: Sequence[Step], where: Path) -> Recipe:
    """Return the recipe for a list of steps: one that scales, and perhaps one that clips.

    Statistics that a package asks for by sample are taken of the whole image.

    Parameters
    ----------
    steps : sequence of mapping
        ``{name or id, kwargs}`` each, of version 0.4 or 0.5.
    where : Path
        The package, for errors.

    Raises
    ------
    InputError
        If something else is asked for.
    """
    asked = [step for step in steps if _name(step) not in ("ensure_dtype", "identity")]
    if not asked:
        return Recipe()
    scaling, *rest = asked
    recipe = _scaling(scaling, where)
    if [_name(step) for step in rest] == ["clip"]:
        low, high = (float(_kwargs(rest[0]).get(key, 0.0)) for key in ("min", "max"))
        return replace(recipe, clip=(low, high))
    if rest:
        raise _unknown(asked, where)
    return recipe


def _name(step: Step) -> str:
    return str(step.get("id", step.get("name")))


def _kwargs(step: Step) -> Mapping[str, Any]:
    return step.get("kwargs") or {}


def _unknown(steps: Sequence[Step], where: Path) -> InputError:
    what = "The package asks for preprocessing that is not done here"
    return InputError(
        what,
        where=where,
        expected="one of scale_range, zero_mean_unit_variance, scale_linear, and clip",
        found=", ".join(_name(step) for step in steps),
        remedy="Set normalisation to percentile, standard or none.",
    )


def _scaling(step: Step, where: Path) -> Recipe:
    name, given = _name(step), _kwargs(step)
    axes = given.get("axes")
    joint = axes is not None and ("channel" in axes or "c" in axes)
    epsilon = float(given.get("eps", 1e-6))
    if name == "scale_range" and not given.get("reference_tensor"):
        low = float(given.get("min_percentile", 0.0))
        high = float(given.get("max_percentile", 100.0))
        return Recipe("percentile", low=low, high=high, epsilon=epsilon, joint=joint)
    fixed = name == "fixed_zero_mean_unit_variance" or given.get("mode") == "fixed"
    if name == "zero_mean_unit_variance" and not fixed:
        return Recipe("standard", epsilon=epsilon, joint=joint)
    if name.endswith("zero_mean_unit_variance") and fixed:
        scales = tuple(1 / (value + epsilon) for value in _values(given["std"]))
        return Recipe("fixed", offsets=_values(given["mean"]), scales=scales)
    if name == "scale_linear":
        gains, added = _values(given.get("gain", 1.0)), _values(given.get("offset", 0.0))
        gains, added = (v * (max(len(gains), len(added)) // len(v)) for v in (gains, added))
        offsets = tuple(-more / gain for gain, more in zip(gains, added, strict=True))
        return Recipe("fixed", offsets=offsets, scales=gains)
    raise _unknown([step], where)


def _values(given: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(map(float, given)) if isinstance(given, Sequence) else (float(given),)
