"""Make what the entries of one target need on the server, and link it in one transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from parfocal.omero.annotate.journal import Journal, Objects
from parfocal.omero.annotate.label_images import datasets_of, write_label_image
from parfocal.omero.annotate.materials import Drawn, Materials
from parfocal.omero.annotate.regions import RoiIds, write_rois
from parfocal.omero.annotate.tables import write_table
from parfocal.omero.annotate.targets import Place
from parfocal.omero.annotate.texts import (
    new_link,
    new_tag,
    new_tag_set,
    new_text,
    tag_links,
    tag_sets_called,
    tags_called,
)
from parfocal.omero.annotate.told import told_of
from parfocal.omero.connection import Connection

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["Common", "Made", "Maker", "digest_of", "find_common", "said_by"]

_ORDER = (FileAttachment, Rois, Table, LabelImage, Tag, KeyValues, Rating, Comment)
"""ROIs exist before the tables that name them."""


@dataclass
class Made:
    """What was made for the entries of a target, by their tokens.

    Attributes
    ----------
    objects : dict
        Ids by kind.
    said : dict of str to str
        Of ROIs, how many shapes they have.
    """

    objects: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def add(self, token: str, kind: str, number: int) -> None:
        """Add an object."""
        self.objects.setdefault(token, {}).setdefault(kind, []).append(number)


@dataclass
class Common:
    """What several targets share, and what dies with the last of its links.

    Attributes
    ----------
    files : dict
        Annotations with files, by content and group.
    tags : dict
        Tags that were made for targets, and the sets that were made for them.
    """

    files: dict[tuple[str, int], int] = field(default_factory=dict)
    tags: dict[int, set[int]] = field(default_factory=dict)

    @property
    def sets(self) -> set[int]:
        """All those sets."""
        return {number for sets in self.tags.values() for number in sets}

    def add_tag(self, objects: Objects) -> None:
        """Take in what was made for a tag."""
        for tag in objects.get("TagAnnotation", ()):
            self.tags.setdefault(tag, set()).update(objects.get(TAG_SET, ()))


def find_common(
    journal: Journal, places: Mapping[str, Place], gone: set[str], user_id: int
) -> Common:
    """Return what a user has that more targets may share: tags, and files that stay.

    What others have is left to them: who links it could not delete it with its last link.

    Parameters
    ----------
    journal : Journal
        What there is.
    places : mapping of str to Place
        The targets of the plan.
    gone : set of str
        Tokens of what is not there any more, or about to go.
    user_id : int
        The user.
    """
    common = Common()
    for owned in journal.all():
        if owned.user_id not in (0, user_id):
            continue
        common.add_tag(owned.objects)
        stays = owned.finished and owned.token not in gone
        if owned.kind == "file" and owned.target in places and stays:
            key = (owned.content, places[owned.target].group_id)
            common.files[key] = owned.objects["FileAnnotation"][0]
    return common


@dataclass(frozen=True)
class _Pending:
    """A link that is to be saved, and what the link leads to, if that is new."""

    token: str
    link: Any
    child: str = ""
    parent: str = ""


class _Counted:
    """Yields outlines of objects, and counts their shapes."""

    def __init__(self, drawn: Iterable[Drawn]) -> None:
        self._drawn = drawn
        self.shapes = 0

    def __iter__(self) -> Iterator[Drawn]:
        for each in self._drawn:
            self.shapes += len(each.shapes)
            yield each


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
    common : Common
        What several targets share.
    """

    def __init__(
        self,
        connection: Connection,
        materials: Materials,
        scratch: Path,
        common: Common,
    ) -> None:
        self._connection = connection
        self._materials = materials
        self._scratch = scratch
        self._common = common
        self._new_sets: dict[str, Any] = {}

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
        self._new_sets.clear()
        rois: dict[str, RoiIds] = {}
        pending: list[_Pending] = []
        order = sorted(entries.items(), key=lambda item: _ORDER.index(type(item[1])))
        for token, entry in order:
            made.objects[token] = {}
            with told_of([entry], place):
                if isinstance(entry, Rois):
                    drawn = _Counted(self._materials.outlines(entry))
                    number = place.source.id
                    rois[entry.name] = write_rois(self._connection, entry, drawn, number, token)
                    made.objects[token]["Roi"] = rois[entry.name].ids
                    made.said[token] = str(drawn.shapes)
                else:
                    pending += self._prepare(token, entry, place, rois, made)
        linked = dict.fromkeys(each.token for each in pending)
        with told_of([entries[token] for token in linked], place):
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
            return self._tag(token, entry, place, made)
        if isinstance(entry, KeyValues | Rating | Comment):
            annotation = new_text(entry, token)
            return [_Pending(token, new_link(place, annotation), type(annotation).__name__[:-1])]
        msg = f"entries of the kind {entry.kind} are made elsewhere"
        raise AssertionError(msg)

    def _file(self, token: str, entry: FileAttachment, place: Place) -> _Pending:
        import omero

        key = (entry.content, place.group_id)
        if key in self._common.files:
            shared = omero.model.FileAnnotationI(self._common.files[key], False)
            return _Pending(token, new_link(place, shared), "FileAnnotation")
        path = self._materials.path(entry.file)
        file_id = upload_entry(self._connection, entry, path, token, self._scratch)
        annotation = new_file_annotation(file_id, entry.namespace, token)
        return _Pending(token, new_link(place, annotation), "FileAnnotation")

    def _tag(self, token: str, entry: Tag, place: Place, made: Made) -> list[_Pending]:
        """Link a tag: one that is there, the user's own first; or a new one."""
        import omero

        if tag_links(self._connection, entry.name, place):
            return []  # the user has linked it already
        if known := tags_called(self._connection, entry.name, place.group_id):
            link = new_link(place, omero.model.TagAnnotationI(known[0], False))
            for tag_set in sorted(self._common.tags.get(known[0], ())):
                made.add(token, TAG_SET, tag_set)
            ours = known[0] in self._common.tags
            return [_Pending(token, link, "TagAnnotation" if ours else "")]
        tag_set, ours = self._tag_set(entry, place)
        tag, *in_set = new_tag(entry, tag_set)
        first = _Pending(token, new_link(place, tag), "TagAnnotation")
        return [first, *(_Pending(token, link, parent=TAG_SET if ours else "") for link in in_set)]

    def _tag_set(self, entry: Tag, place: Place) -> tuple[Any, bool]:
        """Return the set of a new tag, and whether it is made for targets."""
        import omero

        if entry.tag_set is None:
            return None, False
        if known := tag_sets_called(self._connection, entry.tag_set, place.group_id):
            return omero.model.TagAnnotationI(known[0], False), known[0] in self._common.sets
        if entry.tag_set not in self._new_sets:
            self._new_sets[entry.tag_set] = new_tag_set(entry.tag_set)
        return self._new_sets[entry.tag_set], True

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
            if each.parent:
                made.add(each.token, each.parent, link.parent.id.val)

    def remember(self, entries: Mapping[str, PlannedEntry], place: Place, made: Made) -> None:
        """Let later targets use the files and tags of this one."""
        for token, entry in entries.items():
            objects = made.objects[token]
            if isinstance(entry, FileAttachment):
                key = (entry.content, place.group_id)
                self._common.files[key] = objects["FileAnnotation"][0]
            self._common.add_tag(objects)


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
