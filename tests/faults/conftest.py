"""Fixtures of the suite."""

from faults.chain import chain

__all__ = ["chain"]
