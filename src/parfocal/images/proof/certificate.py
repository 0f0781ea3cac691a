"""The certificate of a conversion: what was compared, how, and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from parfocal.errors import InputError
from parfocal.models.base import Model, explain_validation
from parfocal.models.image import Channel, ImageMetadata
from parfocal.models.image_part import FetchedPart

__all__ = [
    "Certificate",
    "Certificates",
    "Difference",
    "Plane",
    "Side",
    "described",
    "pixels_digest",
    "read_certificate",
    "unreadable",
]

Verdict = Literal["verified", "self-consistent", "different"]


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

    @classmethod
    def of(cls, library: str, planes: Iterable[str], independent: bool) -> Self:
        """Describe one side by its library, with its version, and the digests of its planes."""
        name, _, version = library.partition(" ")
        digest = pixels_digest(planes)
        return cls(reader=name, version=version, independent=independent, digest=digest)


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
    verdict: Verdict = Field(
        description="verified: both sides were read by libraries that had no part in it."
    )
    reason: str | None = Field(default=None, description="Why it is no more than self-consistent.")
    series: str = Field(description="Which image of the source it is; empty for the only one.")
    source_images: int = Field(ge=1, description="How many images the source holds.")
    part: FetchedPart | None = Field(
        default=None, description="Which part of an image was fetched as the source; null for all."
    )
    source: Side
    result: Side
    result_digest: str = Field(description="Digest of all bytes of the result.")
    axes: str = Field(description="Axes of the result.")
    shape: tuple[int, ...] = Field(description="Its size along each axis.")
    dtype: str = Field(description="Its data type.")
    labels: bool = Field(description="Whether its pixels are labels, which are never averaged.")
    levels: int = Field(ge=0, description="Number of its resolutions, all of them checked.")
    z_um: float | None = Field(default=None, description="Distance of planes in micrometres.")
    y_um: float | None = Field(default=None, description="Pixel height in micrometres.")
    x_um: float | None = Field(default=None, description="Pixel width in micrometres.")
    time_increment_s: float | None = Field(default=None, description="Time between time points.")
    channels: tuple[Channel, ...] = Field(default=(), description="Its channels, as it says.")
    planes: tuple[Plane, ...]
    differences: tuple[Difference, ...] = ()

    @property
    def proven_by(self) -> str:
        """The reader of the source, and its version."""
        return f"{self.source.reader} {self.source.version}".strip()

    def as_text(self) -> str:
        """Return the certificate as JSON text."""
        return self.model_dump_json(indent=1) + "\n"


class Certificates(Model):
    """The certificates of all images of a source, which were converted together."""

    format: Literal["parfocal-certificates-1"] = "parfocal-certificates-1"
    verdict: Verdict = Field(description="The worst of all images.")
    source_images: int = Field(ge=1, description="How many images the source holds.")
    result_images: int = Field(ge=0, description="How many images the result holds.")
    result_digest: str = Field(description="Digest of all bytes of the result.")
    images: tuple[Certificate, ...] = Field(description="One for each image, in their order.")
    differences: tuple[Difference, ...] = Field(
        default=(), description="In what the collection as a whole differs, and each image."
    )

    @property
    def reason(self) -> str | None:
        """Why an image is no more than self-consistent."""
        return next((image.reason for image in self.images if image.reason), None)

    @property
    def proven_by(self) -> str:
        """The readers of the source, and their versions."""
        return ", ".join(sorted({image.proven_by for image in self.images}))

    def as_text(self) -> str:
        """Return the certificates as JSON text."""
        return self.model_dump_json(indent=1) + "\n"


def pixels_digest(planes: Iterable[str]) -> str:
    """Return the digest of an image from those of its planes: sha256 of them, a line each."""
    text = "".join(f"{digest}\n" for digest in planes)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def described(metadata: ImageMetadata) -> dict[str, Any]:
    """Return the fields of a certificate that tell what the result says about itself."""
    names = ("axes", "z_um", "y_um", "x_um", "time_increment_s", "channels")
    return {name: getattr(metadata, name) for name in names}


def unreadable(error: InputError) -> Difference:
    """Return the difference of a result that cannot be read."""
    return Difference(
        what=f"The result cannot be read: {error.what}",
        where=str(error.where),
        expected=str(error.expected or "what was written"),
        found=str(error.found),
    )


def read_certificate(path: Path) -> Certificate | Certificates:
    """Read the certificate of an image, or those of a collection.

    Raises
    ------
    InputError
        If it is missing or not valid.
    """
    try:
        content = path.read_bytes()
        several = b'"parfocal-certificates-1"' in content[:200]
        return (Certificates if several else Certificate).model_validate_json(content)
    except (OSError, ValidationError) as error:
        found = explain_validation(error) if isinstance(error, ValidationError) else error
        what = "The certificate cannot be read"
        expected = "what convert-image or verify-image wrote"
        remedy = "Give a certificate as its job wrote it."
        raise InputError(what, where=path, expected=expected, found=found, remedy=remedy) from error
