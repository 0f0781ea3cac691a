"""The words of a run crate: identifiers, times, types of values and files, and what is kept out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

__all__ = [
    "COMPLETED",
    "FAILED",
    "HOME",
    "compact",
    "flatten",
    "fragment",
    "is_folder",
    "is_web",
    "media_type",
    "redact",
    "short_digest",
    "time_text",
    "value_text",
    "value_type",
]

HOME = "https://parfocal.readthedocs.io"
COMPLETED = "http://schema.org/CompletedActionStatus"
FAILED = "http://schema.org/FailedActionStatus"

_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"'<>]+@")
_SECRET_PARAMETER = re.compile(
    r"(?i)([?&](?:[\w.-]*(?:token|signature|secret|password|credential|api[_-]?key|accesskeyid)"
    r"|sig|key|pwd)=)(?!REDACTED/?(?:[&#\s\"'<>]|$))[^&#\s\"'<>]+"
)
_KIND_TYPES = {
    "json": "application/json",
    "html": "text/html",
    "png": "image/png",
    "sheet": "text/tab-separated-values",
}
_SUFFIX_TYPES = {
    ".csv": "text/csv",
    ".cwl": "application/yaml",
    ".ga": "application/json",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".smk": "text/plain",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


def redact(text: str) -> str:
    """Take out of `text` what may be a secret in a URI.

    It is the user and password before the host, and the values of query parameters that
    are named like tokens, signatures, keys or passwords.
    """
    if "://" not in text:
        return text
    return _SECRET_PARAMETER.sub(r"\1REDACTED", _USER_INFO.sub("", text))


def time_text(moment: datetime) -> str:
    """Return an ISO 8601 time in UTC with milliseconds, the form that the profile asks for."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def short_digest(text: str) -> str:
    """Return the first 12 hex digits of the sha256 of `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fragment(*parts: str) -> str:
    """Return a local identifier: ``#`` and the parts, percent-encoded, joined by ``/``."""
    return "#" + "/".join(quote(part, safe="/:@+,") for part in parts)


def is_web(uri: str) -> bool:
    """Return whether anyone may fetch `uri` as it stands, over http or https."""
    return urlsplit(uri).scheme.lower() in ("http", "https") if "://" in uri else False


def is_folder(digest: str) -> bool:
    """Return whether what has this digest is a folder, and so a Dataset.

    The kind of a port does not tell: what one step calls a file may be a folder to another.
    """
    return not digest.startswith("sha256:")


def media_type(uri: str, kind: str = "file") -> str:
    """Return the media type of a file by its suffix, else by its kind."""
    suffix = PurePosixPath(urlsplit(uri).path if "://" in uri else uri).suffix.lower()
    return _SUFFIX_TYPES.get(suffix) or _KIND_TYPES.get(kind, "application/octet-stream")


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parameters with those of nested models under dotted names."""
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def value_text(value: object) -> str:
    """Return a value as text: strings as they stand, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def value_type(values: Iterable[object]) -> str:
    """Return the schema.org data type that all `values` have; those that are None have any."""
    kinds = {_kind(value) for value in values if value is not None}
    if len(kinds) == 1:
        return kinds.pop()
    return "Number" if kinds == {"Integer", "Float"} else "PropertyValue"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, int):
        return "Integer"
    return "Float" if isinstance(value, float) else "Text"


def compact(values: Iterable[Any]) -> Any:
    """Return a list, or its only value where it has one, as RO-Crate wants it."""
    items = list(values)
    return items[0] if len(items) == 1 else items
