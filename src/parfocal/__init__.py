"""Bioimage analysis that stays in focus on every engine."""

__version__ = "0.1.0"
__all__ = ["__version__"]
