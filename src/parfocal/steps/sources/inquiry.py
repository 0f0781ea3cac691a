"""What those who list images are told."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from parfocal.core.step import Context

__all__ = ["Inquiry"]


@dataclass(frozen=True)
class Inquiry:
    """What a lister is told.

    Attributes
    ----------
    pattern : str
        Which names to take from folders.
    recursive : bool
        Whether to search folders within folders.
    context : Context
        Of the step, for warnings.
    """

    pattern: str
    recursive: bool
    context: Context

    def wants(self, name: str) -> bool:
        """Return whether a name is one of those to take."""
        return fnmatch.fnmatchcase(name, self.pattern)
