"""Images in object stores, on OMERO servers, in the IDR and in the BioImage Archive."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from parfocal.errors import ConfigurationError
from parfocal.models.omero_server import OmeroServer, parse_omero_server

__all__ = [
    "ArchiveSource",
    "BiaSource",
    "IdrSource",
    "OmeroKind",
    "OmeroSource",
    "S3Source",
    "parse_archive_source",
]

OmeroKind = Literal["image", "dataset", "project", "well", "plate", "screen"]

_KINDS: tuple[OmeroKind, ...] = ("image", "dataset", "project", "well", "plate", "screen")
_EXPECTED = {
    "s3": "s3://bucket/key",
    "omero": "omero://host[:port]/KIND/ID with KIND one of " + ", ".join(_KINDS),
    "idr": "idr:idr0062, idr:idr0062/experimentA, idr:idr0062A/6001240.zarr, or idr:KIND/ID "
    "with KIND one of " + ", ".join(_KINDS),
    "bia": "bia:S-BIAD634 or bia:S-BIAD634/path/of/file",
}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_OBJECT = re.compile(rf"({'|'.join(_KINDS)})/([1-9][0-9]{{0,17}})/?")
_STUDY = re.compile(r"(idr[0-9]{4})([A-Z]?)(?:-[A-Za-z0-9_-]+)?(?:/(.+?))?/?")
_ACCESSION = re.compile(r"(S-(?:BIAD|BSST)[0-9]+)(?:/(.+?))?/?", re.IGNORECASE)


@dataclass(frozen=True)
class S3Source:
    """A file, an OME-Zarr, or what a prefix stands for, in an object store.

    Attributes
    ----------
    bucket : str
        Name of the bucket; the endpoint comes from the environment.
    key : str
        Key without slash at the ends, as it is, not quoted; empty for the whole bucket.
    """

    bucket: str
    key: str

    @property
    def name(self) -> str:
        """The last part of the key, as a file name."""
        return file_name(self.key) or self.bucket

    @property
    def uri(self) -> str:
        """The source as a URI."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class OmeroSource:
    """An image on an OMERO server, or what holds several.

    Attributes
    ----------
    server : OmeroServer
        The server.
    kind : {'image', 'dataset', 'project', 'well', 'plate', 'screen'}
        What it is.
    id : int
        Its number among those of its kind.
    """

    server: OmeroServer
    kind: OmeroKind
    id: int

    @property
    def name(self) -> str:
        """Kind and number, as OMERO.web writes them."""
        return f"{self.kind}-{self.id}"

    @property
    def uri(self) -> str:
        """The source as a URI."""
        return f"{self.server.uri}/{self.kind}/{self.id}"


@dataclass(frozen=True)
class IdrSource:
    """Something in the Image Data Resource.

    Attributes
    ----------
    kind : str
        One of OMERO's kinds; ``study``; or ``zarr`` for an OME-Zarr in the bucket of the IDR.
    id : str
        Number of an object; ``idr0062`` of a study, or ``idr0062/experimentA`` or
        ``idr0062/A`` of one of its experiments or screens; path of an OME-Zarr below
        ``zarr/v0.4/`` and the like, such as ``idr0062A/6001240.zarr``.
    """

    kind: OmeroKind | Literal["study", "zarr"]
    id: str

    @property
    def name(self) -> str:
        """Kind and number, the study, or the name of the OME-Zarr."""
        if self.kind in _KINDS:
            return f"{self.kind}-{self.id}"
        return file_name(self.id)

    @property
    def uri(self) -> str:
        """The source as a URI."""
        return f"idr:{self.kind}/{self.id}" if self.kind in _KINDS else f"idr:{self.id}"


@dataclass(frozen=True)
class BiaSource:
    """A study of the BioImage Archive, or a file or OME-Zarr in it.

    Attributes
    ----------
    accession : str
        Such as ``S-BIAD634``.
    path : str
        Below the files of the study, as it is, not quoted; empty for the whole study.
    """

    accession: str
    path: str = ""

    @property
    def name(self) -> str:
        """The last part of the path, as a file name, or the accession."""
        return file_name(self.path) or self.accession

    @property
    def uri(self) -> str:
        """The source as a URI."""
        return f"bia:{self.accession}/{self.path}" if self.path else f"bia:{self.accession}"


ArchiveSource = S3Source | OmeroSource | IdrSource | BiaSource


def file_name(path: str) -> str:
    """Return the last part of a path with slashes as the name of a file that is not hidden."""
    last = path.rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[/\\\x00-\x1f]", "_", last).lstrip(".")


def parse_archive_source(scheme: str, text: str) -> ArchiveSource:
    """Return what a URI of one of the schemes names.

    Parameters
    ----------
    scheme : {'s3', 'omero', 'idr', 'bia'}
        In small letters, without what follows a plus.
    text : str
        The whole URI, which holds no secret.

    Raises
    ------
    ConfigurationError
        If it is not of the form of its scheme.
    """
    if scheme == "omero":
        return _omero(text)
    rest = text.partition(":")[2].removeprefix("//")
    if scheme == "s3":
        return _s3(text, rest)
    return _idr(text, rest) if scheme == "idr" else _bia(text, rest)


def _s3(text: str, rest: str) -> S3Source:
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise _malformed(text, f"the bucket {bucket!r}")
    return S3Source(bucket, _path(text, key.strip("/")))


def _omero(text: str) -> OmeroSource:
    server, _, object_ = text.rstrip("/").rpartition("/")
    server, _, kind = server.rpartition("/")
    form = _OBJECT.fullmatch(f"{kind}/{object_}")
    if form is None or "://" not in server:
        raise _malformed(text, f"{kind}/{object_}" if "://" in server else "no object on a server")
    return OmeroSource(parse_omero_server(server), cast("OmeroKind", form[1]), int(form[2]))


def _idr(text: str, rest: str) -> IdrSource:
    if form := _OBJECT.fullmatch(rest):
        return IdrSource(cast("OmeroKind", form[1]), form[2])
    form = _STUDY.fullmatch(rest)
    if form is None:
        raise _malformed(text, repr(rest))
    study, letter, inner = form[1], form[2], form[3] or ""
    inner = _path(text, inner)
    if inner.endswith(".zarr"):
        return IdrSource("zarr", f"{study}{letter}/{inner}")
    if letter and inner:
        raise _malformed(text, f"{inner!r}, which is no OME-Zarr")
    experiment = letter or inner
    return IdrSource("study", f"{study}/{experiment}" if experiment else study)


def _bia(text: str, rest: str) -> BiaSource:
    form = _ACCESSION.fullmatch(rest)
    if form is None:
        raise _malformed(text, repr(rest))
    return BiaSource(form[1].upper(), _path(text, form[2] or ""))


def _path(text: str, path: str) -> str:
    parts = path.split("/") if path else []
    if any(part in ("", ".", "..") for part in parts) or any(mark < " " for mark in path):
        raise _malformed(text, repr(path))
    return path


def _malformed(text: str, found: str) -> ConfigurationError:
    scheme = text.partition(":")[0].lower().partition("+")[0]
    return ConfigurationError(
        f"A source of the scheme '{scheme}' is not well formed",
        where=text,
        expected=_EXPECTED[scheme],
        found=found,
        remedy="Correct the source; docs/reference/sheet.md lists what there is.",
    )
