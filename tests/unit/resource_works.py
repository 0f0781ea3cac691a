"""Images, parameters and work that resources are predicted of."""

from __future__ import annotations

from typing import Any

from parfocal.models.resources import ImageSize
from parfocal.steps import load_step


def smoothing(sigma_px: float = 1, method: str = "gaussian") -> dict[str, Any]:
    """Return parameters of filter-image."""
    chosen = {"method": method, "sigma_px": sigma_px, "radius_px": sigma_px}
    return {"filter": chosen, "mode": "auto"}


def image(*shape: int, dtype: str = "uint16") -> ImageSize:
    """Return the size of an image of one (T, C, Z, Y, X)."""
    t, c, z, y, x = shape
    return ImageSize(shape=(t, c, z, y, x), dtype=dtype)


def defaults(step: str) -> dict[str, Any]:
    """Return the parameters of a step as they are by default."""
    params: dict[str, Any] = load_step(step).params().model_dump(mode="json")
    return params
