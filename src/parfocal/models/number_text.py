"""Text that looks like a number: YAML and ``--set`` hand ``0.4`` over as a number."""

from __future__ import annotations

from typing import Any

__all__ = ["number_as_text"]


def number_as_text(value: Any) -> Any:
    """Return a number as text, and anything else as it is; for a ``BeforeValidator``."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value
