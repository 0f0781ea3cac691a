"""How much of a network a job takes: what the key ``transfer`` and the environment say."""

from __future__ import annotations

import os
from typing import Self

from pydantic import Field, ValidationError

from parfocal.errors import ConfigurationError
from parfocal.models.base import Model, problems_by_key

__all__ = ["VARIABLES", "TransferLimits"]

VARIABLES = {
    "requests": "PARFOCAL_REMOTE_IN_FLIGHT",
    "mb_per_s": "PARFOCAL_REMOTE_MB_PER_S",
    "omero_connections": "PARFOCAL_OMERO_CONNECTIONS",
}
"""The environment variable of each limit."""


class TransferLimits(Model):
    """What a process takes of a network at most; None where nobody says."""

    requests: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Requests to web servers and object stores under way at once.",
    )
    mb_per_s: float | None = Field(
        default=None, ge=0.001, le=1e6, description="Megabytes that come in a second."
    )
    omero_connections: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Connections that read the raw pixels of an image on an OMERO server.",
    )

    @classmethod
    def from_environment(cls) -> Self:
        """Return the limits that the environment sets.

        Raises
        ------
        ConfigurationError
            If a variable is no number, or out of its bounds.
        """
        stated = {name: os.environ.get(variable, "") for name, variable in VARIABLES.items()}
        given = {name: text.strip() for name, text in stated.items() if text.strip()}
        try:
            return cls.model_validate_strings(given)
        except ValidationError as error:
            name, reason = next(iter(problems_by_key(error).items()))
            what = "An environment variable is not a number in its bounds"
            raise ConfigurationError(what, where=VARIABLES[name], found=reason) from error

    def as_environment(self) -> list[str]:
        """Return ``NAME=value`` for each limit that is set, as ``env`` takes them."""
        values = self.model_dump(exclude_none=True)
        return [f"{VARIABLES[name]}={value}" for name, value in values.items()]
