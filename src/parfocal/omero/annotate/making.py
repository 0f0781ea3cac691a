"""Make what the entries of one target need on the server, and link it in one transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal.models.annotation_entries import (
    Comment,
    FileAttachment,
    KeyValues,
    LabelImage,
    PlannedEntry,
    Rating,
    Rois,
    Table,
    Tag,
)
from parfocal.omero.annotate.attached import new_file_annotation, upload_entry
from parfocal.omero.annotate.deletion import TAG_SET
from parfocal.omero.annotate.label_images import datasets_of, write_label_image
from parfocal.omero.annotate.materials import Materials
from parfocal.omero.annotate.regions import RoiIds, write_rois
from parfocal.omero.annotate.tables import write_table
from parfocal.omero.annotate.targets import Place
from parfocal.omero.annotate.texts import find_tag, new_link, new_text, tag_links
from parfocal.omero.connection import Connection

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["Made", "Maker", "digest_of", "said_by"]

_ORDER = (FileAttachment, Rois, Table, LabelImage, Tag, KeyValues, Rating, Comment)
"""ROIs exist before the tables that name them."""


@dataclass
class Made:
    """What was made for the entries of a target, by their tokens."""

    objects: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def add(self, token: str, kind: str, number: int) -> None:
        """Add an object."""
        self.objects.setdefault(token, {}).setdefault(kind, []).append(number)


@dataclass(frozen=True)
class _Pending:
    """A link that is to be saved, and what the link leads to, if that is new."""

    token: str
    link: Any
    child: str = ""
    extra: str = ""


class Maker:
    """Makes the entries of targets.

    Parameters
    ----------
    connection : Connection
        To the server.
    materials : Materials
        The results.
    scratch : Path
        A folder for what is packed.
    files : dict
        Annotations with files that several targets share, by content and group.
    our_tags : set of int
        Tags that were made for targets.
    """

    def __init__(
        self,
        connection: Connection,
        materials: Materials,
        scratch: Path,
        files: dict[tuple[str, int], int],
        our_tags: set[int],
    ) -> None:
        self._connection = connection
        self._materials = materials
        self._scratch = scratch
        self._files = files
        self._our_tags = our_tags

    def make(self, entries: Mapping[str, PlannedEntry], place: Place) -> Made:
        """Make entries, by their tokens, on one target.

        Large things come first and are linked to nothing; then all links, and what is small, are
        saved in one transaction.

        Raises
        ------
        RemoteError, InputError
            If the server fails or refuses, or the results do not fit the plan.
        """
        made = Made()
        rois: dict[str, RoiIds] = {}
        pending: list[_Pending] = []
        order = sorted(entries.items(), key=lambda item: _ORDER.index(type(item[1])))
        for token, entry in order:
            made.objects[token] = {}
            if isinstance(entry, Rois):
                drawn = self._materials.outlines(entry)
                rois[entry.name] = write_rois(
                    self._connection, entry, drawn, place.source.id, token
                )
                made.objects[token]["Roi"] = rois[entry.name].ids
            else:
                pending += self._prepare(token, entry, place, rois, made)
        self._link(pending, made)
        return made

    def _prepare(
        self,
        token: str,
        entry: PlannedEntry,
        place: Place,
        rois: Mapping[str, RoiIds],
        made: Made,
    ) -> list[_Pending]:
        connection = self._connection
        if isinstance(entry, FileAttachment):
            return [self._file(token, entry, place)]
        if isinstance(entry, Table):
            path = self._materials.path(entry.file)
            known = rois[entry.rois].by_object if entry.rois is not None else {}
            file_id = write_table(connection, entry, path, place, known, token)
            annotation = new_file_annotation(file_id, entry.namespace, token)
            return [_Pending(token, new_link(place, annotation), "FileAnnotation")]
        if isinstance(entry, LabelImage):
            with self._materials.labels(entry) as labels:
                number = write_label_image(connection, entry, labels, place, token)
            made.add(token, "Image", number)
            datasets = datasets_of(connection, entry, place)
            return [_Pending(token, _dataset_link(dataset, number)) for dataset in datasets]
        if isinstance(entry, Tag):
            return self._tag(token, entry, place)
        if isinstance(entry, KeyValues | Rating | Comment):
            made.said[token] = said_by(entry)
            annotation = new_text(entry, token)
            return [_Pending(token, new_link(place, annotation), type(annotation).__name__[:-1])]
        msg = f"entries of the kind {entry.kind} are made elsewhere"
        raise AssertionError(msg)

    def _file(self, token: str, entry: FileAttachment, place: Place) -> _Pending:
        import omero

        key = (entry.content, place.group_id)
        if key in self._files:
            shared = omero.model.FileAnnotationI(self._files[key], False)
            return _Pending(token, new_link(place, shared), "FileAnnotation")
        path = self._materials.path(entry.file)
        file_id = upload_entry(self._connection, entry, path, token, self._scratch)
        annotation = new_file_annotation(file_id, entry.namespace, token)
        return _Pending(token, new_link(place, annotation), "FileAnnotation")

    def _tag(self, token: str, entry: Tag, place: Place) -> list[_Pending]:
        tag, *in_set = find_tag(self._connection, entry, place.group_id)
        known = None if tag.id is None else tag.id.val
        if known in [linked for _, linked in tag_links(self._connection, entry.name, place)]:
            return []  # the user has linked it already
        ours = known is None or known in self._our_tags
        first = _Pending(token, new_link(place, tag), "TagAnnotation" if ours else "")
        others = [_Pending(token, link, extra="" if link.parent.id else TAG_SET) for link in in_set]
        return [first, *others]

    def _link(self, pending: Sequence[_Pending], made: Made) -> None:
        """Save all links in one transaction."""
        if not pending:
            return
        links = [each.link for each in pending]
        saved = self._connection.once(partial(_save, objects=links))
        for each, link in zip(pending, saved, strict=True):
            kind = type(link).__name__[:-1]
            if kind != "AnnotationAnnotationLink":  # which goes with its tag
                made.add(each.token, kind, link.id.val)
            if each.child:
                made.add(each.token, each.child, link.child.id.val)
            if each.extra:
                made.add(each.token, each.extra, link.parent.id.val)

    def remember(self, entries: Mapping[str, PlannedEntry], place: Place, made: Made) -> None:
        """Let later targets use the files and tags of this one."""
        for token, entry in entries.items():
            objects = made.objects[token]
            if isinstance(entry, FileAttachment):
                key = (entry.content, place.group_id)
                self._files[key] = objects["FileAnnotation"][0]
            self._our_tags |= set(objects.get("TagAnnotation", ()))


def _save(gateway: BlitzGateway, objects: list[Any]) -> list[Any]:
    service = gateway.getUpdateService()
    return list(service.saveAndReturnArray(objects, gateway.SERVICE_OPTS))


def _dataset_link(dataset: int, image: int) -> Any:
    import omero

    link = omero.model.DatasetImageLinkI()
    link.parent = omero.model.DatasetI(dataset, False)
    link.child = omero.model.ImageI(image, False)
    return link


def said_by(entry: PlannedEntry) -> str:
    """Return the digest of what users can edit of an entry; empty where they cannot."""
    if isinstance(entry, KeyValues):
        return digest_of([list(pair) for pair in entry.pairs])
    if isinstance(entry, Rating):
        return digest_of(entry.stars)
    return digest_of(entry.text) if isinstance(entry, Comment) else ""


def digest_of(value: Any) -> str:
    """Return a short digest of a value of JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
