"""The schema of OME-XML 2016-06, as ome-types brings it."""

from __future__ import annotations

import functools
from importlib.resources import files
from pathlib import Path

import xmlschema

__all__ = ["check_ome_xml"]


@functools.cache
def _schema() -> xmlschema.XMLSchema:
    path = Path(str(files("ome_types") / "ome-2016-06.xsd"))
    return xmlschema.XMLSchema(path, allow="local")


def check_ome_xml(text: bytes | str) -> None:
    """Raise XMLSchemaValidationError unless `text` is valid OME-XML."""
    source = text if isinstance(text, bytes) else text.encode()
    _schema().validate(source)
