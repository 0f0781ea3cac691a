"""The queries of the storage plugin: what they name, and where that lies locally."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from snakemake_interface_storage_plugins.io import WILDCARD_REGEX

from parfocal.errors import ConfigurationError
from parfocal.models.source import OmeroSource, parse_source

__all__ = ["Form", "Query", "parse_query", "reason_against"]

Form = Literal["image", "original", "attachment", "table", "labels"]

_EXPECTED = (
    "omero://host[:port]/image/ID, .../image/ID/original, .../image/ID/labels/NAME, "
    ".../KIND/ID/attachment/NAME or .../KIND/ID/table/NAME"
)
_QUERY = re.compile(
    r"(?P<target>omero(?:\+[a-z]+)?://.+?/[a-z]+/[0-9]+)"
    r"(?:/(?:(?P<original>original)|(?P<form>attachment|table|labels)/(?P<name>[^/\x00-\x1f]+)))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Query:
    """What a query names.

    Attributes
    ----------
    target : OmeroSource
        The object on the server.
    form : {'image', 'original', 'attachment', 'table', 'labels'}
        What of it.
    name : str
        Of what is attached to it.
    local_path : str
        Where it lies below a prefix: unique, and with the wildcards of the query.
    """

    target: OmeroSource
    form: Form
    name: str
    local_path: str


def parse_query(query: str) -> Query:
    """Return what a query names; wildcards stand for any number or name.

    Raises
    ------
    ConfigurationError
        If it is of no known form.
    """
    wildcards = [match[0] for match in WILDCARD_REGEX.finditer(query)]
    # A number that no name holds, so that wildcards can be put back.
    marks = {str(10**17 + i): wildcard for i, wildcard in enumerate(wildcards)}
    plain = query
    for mark, wildcard in marks.items():
        plain = plain.replace(wildcard, mark, 1)
    target, form, name = _split(plain)
    path = _local_path(target, form, name)
    for mark, wildcard in marks.items():
        path = path.replace(mark, wildcard)
    return Query(target, form, name, path)


def reason_against(query: str) -> str | None:
    """Return why a query is not valid, None if it is."""
    try:
        parse_query(query)
    except ConfigurationError as error:
        return str(error)
    return None


def _split(plain: str) -> tuple[OmeroSource, Form, str]:
    match = _QUERY.fullmatch(plain)
    if match is None:
        what = "This names nothing on an OMERO server"
        # Without the query itself, which Snakemake tells, and which may hold a secret.
        raise ConfigurationError(what, expected=_EXPECTED)
    target = cast("OmeroSource", parse_source(match["target"]))
    form = match["form"] or match["original"] or "image"
    if form not in ("attachment", "table") and target.kind != "image":
        what = "Only images can be fetched; a container can have attachments and tables"
        remedy = "Let 'parfocal list-images' tell which images it holds."
        raise ConfigurationError(what, expected=_EXPECTED, found=f"a {target.kind}", remedy=remedy)
    if match["name"] in (".", ".."):
        what = "This is no name of a file"
        raise ConfigurationError(what, expected=_EXPECTED, found=match["name"])
    return target, cast("Form", form), match["name"] or ""


def _local_path(target: OmeroSource, form: Form, name: str) -> str:
    # No host has a plus, so that different servers have different folders.
    server = re.sub(r"[/:\[\]]+", "+", target.server.uri.partition("://")[2])
    if target.server.transport != "ssl":
        server = f"{target.server.transport}++{server}"
    top = f"{server}/{target.kind}/{target.id}"
    below = {
        "image": ".ome.zarr",
        "original": "/original",
        "attachment": f"/attachment/{name}",
        "table": f"/table/{name}.parquet",
        "labels": f"/labels/{name}.ome.zarr",
    }
    return f"{top}{below[form]}"
