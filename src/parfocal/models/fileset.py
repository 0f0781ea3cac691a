"""A set of files that make up images, as a ``.fileset.yaml`` describes it."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from parfocal.models.base import Model
from parfocal.models.image import Channel

__all__ = ["FileSet"]

_GROUPS = {
    "well": r"[A-Za-z]{1,2}\d{1,3}",
    "row": r"[A-Za-z]{1,2}|\d{1,2}",
    "column": r"\d{1,3}",
    "field": r"[A-Za-z0-9]+",
    "image": r"[^/]+",
    "channel": r"[^/_]+",
    "z": r"\d+",
    "t": r"\d+",
}
_NAME = re.compile(r"\{(\w*)\}")
_ANY = r"[^/]*"


class FileSet(Model):
    """How the names of files say where each lies in which image."""

    pattern: str | None = Field(
        default=None,
        min_length=1,
        description="Names below the folder of this file, such as "
        "'{well}_s{field}_w{channel}_z{z}_t{t}.tif'; {any} is what does not count.",
    )
    regex: str | None = Field(
        default=None,
        min_length=1,
        description="The same as a regular expression with named groups.",
    )
    plate: str | None = Field(default=None, min_length=1, description="Name of the plate.")
    axes: str | None = Field(
        default=None,
        pattern="^[TCZYX]{2,5}$",
        description="Axes of one file, such as ZYX, where it does not say them itself.",
    )
    channels: dict[str, Channel] = Field(
        default_factory=dict,
        description="Name, colour and wavelengths by what the file names say of a channel.",
    )
    z_um: float | None = Field(default=None, gt=0, description="Distance of planes.")
    y_um: float | None = Field(default=None, gt=0, description="Pixel height.")
    x_um: float | None = Field(default=None, gt=0, description="Pixel width.")
    time_increment_s: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Time between two time points."
    )

    @field_validator("channels", mode="before")
    @classmethod
    def _text_keys(cls, value: object) -> object:
        # YAML takes 1 for a number.
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if (self.pattern is None) == (self.regex is None):
            msg = "state either pattern or regex"
            raise ValueError(msg)
        groups = set(self.expression().groupindex)
        if unknown := sorted(groups - set(_GROUPS)):
            msg = f"there is no {', '.join(unknown)}, only {', '.join(_GROUPS)} and any"
            raise ValueError(msg)
        if ("row" in groups) != ("column" in groups) or {"well", "row"} <= groups:
            msg = "state the well by {well}, or by {row} and {column}"
            raise ValueError(msg)
        if self.plate and not groups & {"well", "row"}:
            msg = "a plate needs {well}, or {row} and {column}, in the pattern"
            raise ValueError(msg)
        return self

    def expression(self) -> re.Pattern[str]:
        """Return the regular expression that whole names match.

        Raises
        ------
        ValueError
            If it is not valid, or a name occurs twice in the pattern.
        """
        if self.regex is not None:
            try:
                return re.compile(self.regex)
            except re.error as error:
                msg = f"the regular expression is not valid: {error}"
                raise ValueError(msg) from error
        pieces, last, seen = [], 0, set()
        text = self.pattern or ""
        for match in _NAME.finditer(text):
            name = match[1]
            pieces.append(re.escape(text[last : match.start()]))
            last = match.end()
            if name in seen:
                msg = f"{{{name}}} occurs twice"
                raise ValueError(msg)
            if name != "any":
                seen.add(name)
            group = _GROUPS.get(name, _ANY)
            pieces.append(_ANY if name == "any" else f"(?P<{name or '_'}>{group})")
        pieces.append(re.escape(text[last:]))
        return re.compile("".join(pieces))

    @property
    def depth(self) -> int:
        """How many folders below its own the files may lie."""
        return (self.pattern or self.regex or "").count("/")
