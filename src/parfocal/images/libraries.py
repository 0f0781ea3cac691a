"""The libraries that read pixels, as certificates and records name them."""

from __future__ import annotations

import functools
from importlib.metadata import version

__all__ = ["library"]


@functools.cache
def library(distribution: str, name: str | None = None) -> str:
    """Return ``name version`` of an installed distribution, by its own name unless told."""
    return f"{name or distribution} {version(distribution)}"
