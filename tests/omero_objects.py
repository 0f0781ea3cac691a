"""Objects of OMERO's model, and ways to save and to find them."""

from __future__ import annotations

from typing import Any

import numpy as np
import omero.model
import omero.sys
from omero.rtypes import rstring, unwrap

__all__ = [
    "annotated",
    "context",
    "dataset",
    "dataset_link",
    "image",
    "key_values",
    "projection",
    "reference",
    "save",
    "tag",
    "upload_image",
]


def dataset(name: str = "a dataset") -> Any:
    """Return a new dataset."""
    made = omero.model.DatasetI()
    made.name = rstring(name)
    return made


def image(name: str = "an image") -> Any:
    """Return a new image that has no pixels."""
    made = omero.model.ImageI()
    made.name = rstring(name)
    return made


def tag(text: str = "a tag") -> Any:
    """Return a new tag."""
    made = omero.model.TagAnnotationI()
    made.textValue = rstring(text)
    return made


def key_values(namespace: str, **pairs: str) -> Any:
    """Return new key-value pairs."""
    made = omero.model.MapAnnotationI()
    made.ns = rstring(namespace)
    made.mapValue = [omero.model.NamedValue(name, value) for name, value in pairs.items()]
    return made


def reference(saved: Any) -> Any:
    """Return an object that stands for a saved one."""
    return type(saved)(saved.id.val, False)


def dataset_link(parent: Any, child: Any) -> Any:
    """Return a new link of an image into a dataset."""
    link = omero.model.DatasetImageLinkI()
    link.parent, link.child = parent, child
    return link


def annotated(parent: Any, annotation: Any) -> Any:
    """Return a new link of an annotation to a dataset or an image."""
    link = getattr(omero.model, f"{type(parent).__name__[:-1]}AnnotationLinkI")()
    link.parent, link.child = parent, annotation
    return link


def context(group: int) -> dict[str, str]:
    """Return the context of a call in a group, -1 for all."""
    return {"omero.group": str(group)}


def save(gateway: Any, made: Any, group: int | None = None) -> Any:
    """Save an object; return it as the server has it."""
    update = gateway.c.sf.getUpdateService()
    return (
        update.saveAndReturnObject(made, context(group))
        if group
        else update.saveAndReturnObject(made)
    )


def projection(gateway: Any, query: str, **parameters: Any) -> list[Any]:
    """Return the rows that a query selects; a single column without its list."""
    bound = omero.sys.ParametersI()
    for name, value in parameters.items():
        bound.map[name] = omero.rtypes.wrap(value)
    rows = gateway.c.sf.getQueryService().projection(query, bound, context(-1))
    plain = [[unwrap(value) for value in row] for row in rows]
    return [row[0] if len(row) == 1 else row for row in plain]


def upload_image(gateway: Any, name: str = "cells", parent: Any = None) -> int:
    """Make an image (T2, C1, Z2, Y24, X32) in a dataset, by default a new one; return its id."""
    number = parent or save(gateway, dataset()).id.val
    planes = (np.full((24, 32), value, "u2") for value in range(4))
    within = gateway.getObject("Dataset", number)
    return int(gateway.createImageFromNumpySeq(planes, name, 2, 1, 2, dataset=within).getId())
