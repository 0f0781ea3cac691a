"""The name of a label image, as all steps take it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

__all__ = ["LabelName"]

LabelName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$",
        max_length=64,
        description="Name of the label image.",
    ),
]
"""A name that is safe in paths; it stands for the objects, such as ``nuclei`` or ``cells``."""
