"""The certificate of a conversion: what was compared, how, and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from parfocal.models.base import Model

__all__ = ["Certificate", "Difference", "Plane", "Side", "pixels_digest"]


class Plane(Model):
    """One plane of the result and the digest of its pixels."""

    t: int = Field(ge=0, description="Time point.")
    c: int = Field(ge=0, description="Channel.")
    z: int = Field(ge=0, description="Position along Z.")
    digest: str = Field(description="sha256 of the pixels, little-endian, row after row.")


class Side(Model):
    """One of the two images that were compared."""

    reader: str = Field(description="Library that read it.")
    version: str = Field(description="Version of that library.")
    independent: bool = Field(description="Whether that library had no part in the conversion.")
    digest: str = Field(description="sha256 of the digests of all planes, T, C, Z in order.")


class Difference(Model):
    """One thing in which source and result differ."""

    what: str = Field(description="What differs.")
    where: str = Field(description="Plane, level or field.")
    expected: str = Field(description="What the source says.")
    found: str = Field(description="What the result says.")

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.what} at {self.where}: {self.expected} expected, {self.found} found"


class Certificate(Model):
    """What `verify-image` found; see docs/explanation/conversion.md."""

    format: Literal["parfocal-certificate-1"] = "parfocal-certificate-1"
    verdict: Literal["verified", "self-consistent", "different"] = Field(
        description="verified: both sides were read by libraries that had no part in it."
    )
    source: Side
    result: Side
    axes: str = Field(description="Axes of the result.")
    shape: tuple[int, ...] = Field(description="Its size along each axis.")
    dtype: str = Field(description="Its data type.")
    levels: int = Field(ge=1, description="Number of its resolutions, all of them checked.")
    planes: tuple[Plane, ...]
    differences: tuple[Difference, ...] = ()

    def as_text(self) -> str:
        """Return the certificate as JSON text."""
        return self.model_dump_json(indent=1) + "\n"


def pixels_digest(planes: Iterable[str]) -> str:
    """Return the digest of an image from those of its planes: sha256 of them, a line each."""
    text = "".join(f"{digest}\n" for digest in planes)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
