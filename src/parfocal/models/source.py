"""Sources of images: paths and URIs, checked before anything is fetched."""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from parfocal.errors import ConfigurationError
from parfocal.models.archive_source import (
    ArchiveSource,
    BiaSource,
    IdrSource,
    OmeroSource,
    S3Source,
    parse_archive_source,
)

__all__ = [
    "BiaSource",
    "HttpSource",
    "IdrSource",
    "LocalSource",
    "OmeroSource",
    "S3Source",
    "Source",
    "is_uri",
    "link_of",
    "parse_source",
    "secret_in",
    "source_key",
    "without_secret",
]

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://|^(idr|bia):")
_ARCHIVES = ("s3", "omero", "idr", "bia")
_SECRET = re.compile(
    r"sig|token|secret|credential|password|passwd|auth|session|jwt|access.?key|api.?key|^key$",
    re.IGNORECASE,
)
_SUPPORTED = "a path, or a URI: file:// http:// https:// s3:// omero:// idr: bia:"
# What RFC 3986 allows in a path and a query as it stands; % is there already quoted.
_PATH_SAFE = "/%:@!$&'()*+,;=~"
_QUERY_SAFE = _PATH_SAFE + "?"


@dataclass(frozen=True)
class LocalSource:
    """A file or folder on this machine."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the file or folder."""
        return self.path.absolute().name

    @property
    def uri(self) -> str:
        """The path, as a URI on this machine."""
        return self.path.absolute().as_uri()


@dataclass(frozen=True)
class HttpSource:
    """A file or an OME-Zarr on a web server.

    Attributes
    ----------
    url : str
        With quoted path, without user, password, fragment or slash at the end.
    """

    url: str

    @property
    def name(self) -> str:
        """The last part of the URL's path, unquoted, as a file name."""
        last = unquote(urlsplit(self.url).path.rsplit("/", 1)[-1])
        return re.sub(r"[/\\\x00-\x1f]", "_", last).lstrip(".") or "download"

    @property
    def uri(self) -> str:
        """The URL."""
        return self.url


Source = LocalSource | HttpSource | ArchiveSource


def is_uri(text: str) -> bool:
    """Return whether `text` is a URI rather than a path."""
    return _SCHEME.match(text) is not None


def parse_source(text: str) -> Source:
    """Check a source of the sample sheet and say what it is.

    Parameters
    ----------
    text : str
        A path, or a URI.

    Returns
    -------
    Source
        One of the classes of this module. A path stays relative if it is; it is relative to
        the working folder.

    Raises
    ------
    ConfigurationError
        If the scheme is not supported, the URI is not well formed, or it holds a secret.
        The message never repeats the secret.
    """
    match = _SCHEME.match(text)
    if not match:
        return LocalSource(_path(text, text))
    scheme = (match[1] or match[2]).lower()
    if scheme == "file":
        return LocalSource(_path_of_file_uri(text))
    if scheme in ("http", "https"):
        return HttpSource(_checked_url(text))
    if scheme.partition("+")[0] in _ARCHIVES:
        _refuse_secret(text)
        return parse_archive_source(scheme.partition("+")[0], text)
    what = f"The scheme '{scheme}' of a source is not known"
    remedy = "Download the image first, and name its path."
    raise ConfigurationError(what, where=f"{scheme}: source", expected=_SUPPORTED, remedy=remedy)


def link_of(text: str, inner: str = "") -> str:
    """Return a source as run crates name it, or a file that came with it.

    Parameters
    ----------
    text : str
        A URI of the sample sheet.
    inner : str
        Path of the other file, which lies beside what `text` names. What comes with an image that
        goes by its number is named by a fragment.
    """
    scheme = text.partition(":")[0].partition("+")[0].lower()
    if scheme == "bia":  # no URL, and so not quoted
        return posixpath.join(posixpath.dirname(text), inner) if inner else text
    if scheme == "s3":
        text = f"s3:{quote(parse_source(text).uri.partition(':')[2])}"
    if not inner:
        return text
    if scheme in ("omero", "idr"):
        return f"{text}#{quote(inner)}"
    return posixpath.join(posixpath.dirname(text), quote(inner))


def secret_in(text: str) -> str | None:
    """Return what part of a URI is a secret, without telling it; None where there is none."""
    if not is_uri(text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return "something, in a URL that is not well formed" if "@" in text else None
    if "@" in parts.netloc:
        return "a user or password"
    secrets = [key for key, _ in parse_qsl(parts.query, True) if _SECRET.search(key)]
    return f"the parameter {secrets[0]!r}" if secrets else None


def without_secret(value: Any) -> Any:
    """Return `value`, which may be nested, with URIs that hold a secret cut down to the host."""
    if isinstance(value, dict):
        return {key: without_secret(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_secret(inner) for inner in value]
    if not isinstance(value, str) or secret_in(value) is None:
        return value
    scheme, _, rest = value.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2].partition("?")[0]
    return f"{scheme}://{host}/(removed, since it holds a secret)"


def source_key(text: str) -> str:
    """Return the name of the folder that the originals of a source are fetched into.

    Parameters
    ----------
    text : str
        A source of the sample sheet; it need not be valid.

    Returns
    -------
    str
        Its last part, made safe, and 12 hex digits of the sha256 of the whole:
        equal for equal sources in every run and on every machine.
    """
    plain = text if is_uri(text) else posixpath.normpath(text)
    digest = hashlib.sha256(plain.encode(errors="surrogateescape")).hexdigest()[:12]
    last = plain.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", last).strip("._-")[:40]
    return f"{safe}-{digest}" if safe else digest


def _path(text: str, where: str) -> Path:
    if not text.strip() or "\0" in text:
        what = "A source is empty or not a path"
        raise ConfigurationError(what, where=repr(where), expected=_SUPPORTED)
    return Path(text)


def _path_of_file_uri(text: str) -> Path:
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        what = "A file URI must name an absolute path on this machine"
        raise ConfigurationError(what, where=text, expected="file:///absolute/path")
    return _path(unquote(parts.path), text)


def _checked_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        what = "A source is not a well-formed URL"
        # urllib repeats parts of the URL in its message, and a secret may stand in it.
        raise ConfigurationError(what, expected="https://host[:port]/path") from None
    where = f"{parts.scheme}://{host}{parts.path}"
    if not host or any(mark <= " " for mark in text):
        what = "A source is not a well-formed URL"
        remedy = "Write a space in a name as %20."
        raise ConfigurationError(
            what, where=where, expected="https://host[:port]/path", remedy=remedy
        )
    _refuse_secret(text, where)
    if parts.fragment:
        what = "A source has a fragment, which no server sees"
        remedy = "Write # in a name as %23."
        raise ConfigurationError(what, where=where, found=f"#{parts.fragment}", remedy=remedy)
    path = quote(parts.path.rstrip("/"), safe=_PATH_SAFE)
    query = quote(parts.query, safe=_QUERY_SAFE)
    return urlunsplit((parts.scheme.lower(), parts.netloc, path, query, ""))


def _refuse_secret(text: str, where: str | None = None) -> None:
    if found := secret_in(text):
        what = "A source must not hold a secret, since sources are kept in sheets and records"
        remedy = "Name it without: secrets come from the environment, or the URL is public."
        raise ConfigurationError(what, where=where, found=found, remedy=remedy)
