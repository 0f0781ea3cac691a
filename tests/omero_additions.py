"""What users put on label images and ROIs of ours on an OMERO server."""

from __future__ import annotations

from typing import Any

import omero
from omero.rtypes import rdouble, rstring

from omero_objects import annotated, dataset, dataset_link, projection, reference, save

__all__ = ["ADDED", "folder", "ours"]


def folder(gateway: Any) -> Any:
    """Return a new folder."""
    made = omero.model.FolderI()
    made.name = rstring("a folder")
    return save(gateway, made)


def comment(text: str = "look") -> Any:
    """Return a new comment."""
    made = omero.model.CommentAnnotationI()
    made.textValue = rstring(text)
    return made


def roi_on(image: Any) -> Any:
    """Return a new ROI on an image."""
    roi, point = omero.model.RoiI(), omero.model.PointI()
    point.x, point.y = rdouble(3.0), rdouble(4.0)
    roi.image = image
    roi.addShape(point)
    return roi


def annotated_shape(roi: Any) -> Any:
    """Return a new link from the first shape of a ROI to a comment."""
    link = omero.model.ShapeAnnotationLinkI()
    link.parent, link.child = roi, comment()
    return link


def in_folder(gateway: Any, child: Any) -> Any:
    """Return a new link from a new folder to an image or a ROI."""
    link = getattr(omero.model, f"Folder{type(child).__name__[:-1]}LinkI")()
    link.parent, link.child = reference(folder(gateway)), child
    return link


def ours(gateway: Any, target: str, kind: str) -> Any:
    """Return the label image of a target, its first ROI or its first shape, not loaded."""
    number = int(target.rpartition("/")[2])
    if kind == "Image":
        query, value = "select i.id from Image i where i.description like :n", f"%image {number} [%"
    elif kind == "Roi":
        query, value = "select min(r.id) from Roi r where r.image.id = :n", number
    else:
        query, value = "select min(m.id) from Mask m where m.roi.image.id = :n", number
    (found,) = projection(gateway, query, n=value)
    return getattr(omero.model, f"{kind}I")(found, False)


ADDED = {
    "a comment on the label image": ("bob", "Image", lambda _, one: annotated(one, comment())),
    "a ROI on the label image": ("bob", "Image", lambda _, one: roi_on(one)),
    "a comment on a ROI": ("bob", "Roi", lambda _, one: annotated(one, comment())),
    "a comment on a shape": ("bob", "Mask", lambda _, one: annotated_shape(one)),
    # Others may not, in a group that is read-annotate.
    "the label image in a dataset": (
        "alice",
        "Image",
        lambda user, one: dataset_link(reference(save(user, dataset("more"))), one),
    ),
    "the label image in a folder": ("alice", "Image", in_folder),
    "a ROI in a folder": ("alice", "Roi", in_folder),
}
"""By what is added: who does it, to which object, and how."""
