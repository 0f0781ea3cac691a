"""The steps, one file each."""

from __future__ import annotations

from parfocal.core.step import Step

__all__ = ["STEPS"]

STEPS: tuple[Step, ...] = ()
