"""The entries of an annotation plan: what OMERO is to hold, one class a kind."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from parfocal.models.base import Model

__all__ = [
    "BULK_NAMESPACE",
    "CLIENT_NAMESPACE",
    "FILE_NAMESPACE",
    "RUN_NAMESPACE",
    "Column",
    "Comment",
    "Entry",
    "FileAttachment",
    "KeyValues",
    "LabelImage",
    "Mask",
    "PlannedEntry",
    "Polygon",
    "Rating",
    "ResultFile",
    "Rois",
    "Table",
    "Tag",
    "TargetUri",
]

CLIENT_NAMESPACE = "openmicroscopy.org/omero/client/mapAnnotation"
"""Key-value pairs that users edit in OMERO.web."""
BULK_NAMESPACE = "openmicroscopy.org/omero/bulk_annotations"
"""Tables that OMERO.web shows beside an image, a well or their container."""
RUN_NAMESPACE = "parfocal.readthedocs.io/run"
"""What tells of the run; OMERO.web shows it and lets nobody edit it by mistake."""
FILE_NAMESPACE = "parfocal.readthedocs.io/file"
"""Files of the run."""

_NO_DIGEST = "0" * 16


def _storable(text: str) -> str:
    """Refuse what the database of OMERO (PostgreSQL, UTF-8) cannot hold."""
    if "\0" in text:
        msg = "must not hold the character NUL, which OMERO cannot store"
        raise ValueError(msg)
    try:
        text.encode()
    except UnicodeEncodeError:
        msg = "must be text that UTF-8 can carry"
        raise ValueError(msg) from None
    return text


def _below_results(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        msg = "must be a path below the results folder"
        raise ValueError(msg)
    return _storable(text)


Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_storable)]
"""A name as OMERO keeps it in 255 characters, of any plane of Unicode."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
ResultPath = Annotated[str, AfterValidator(_below_results)]
TargetUri = Annotated[
    str,
    Field(
        pattern=r"^omero(\+(ssl|wss|ws|tcp))?://[^\s@?#]+/"
        r"(image|dataset|project|plate|well|screen)/[1-9][0-9]*$"
    ),
]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class ResultFile(Model):
    """A file or folder of the results, named and never inlined."""

    path: ResultPath = Field(description="Path relative to the results folder.")
    digest: str | None = Field(
        default=None,
        description="Digest as in the records. None for what is made after the plan because it "
        "tells of the plan, the report and the run crate: it is taken when the plan is applied.",
    )
    size_bytes: int | None = Field(
        default=None, ge=0, description="Size of all its files; none without a digest."
    )


class Entry(Model):
    """One annotation of one target.

    Attributes
    ----------
    entry_id : str
        Which annotation it is: the same in every plan for equal target, kind, namespace and name.
    content : str
        Digest of all that it says: where it differs, what is on the server has to be updated.
    """

    entry_id: Digest = Field(description="Which annotation it is; the same in every plan.")
    content: Digest = Field(description="Digest of what it says.")
    kind: str

    @property
    def identity(self) -> tuple[str | None, str | None]:
        """Namespace and name, by which one entry of a kind is told from another."""
        return getattr(self, "namespace", None), getattr(self, "name", None)

    @property
    def title(self) -> str:
        """What messages call it: its kind, and its name where it has one."""
        return " ".join(filter(None, (self.kind, getattr(self, "name", None))))

    @classmethod
    def planned(cls, target: str, **fields: Any) -> Self:
        """Return an entry for `target` with its entry_id and digest.

        Parameters
        ----------
        target : str
            URI of the object on the server.
        **fields
            All other fields of the entry.

        Raises
        ------
        pydantic.ValidationError
            If OMERO could not hold it.
        """
        draft = cls(entry_id=_NO_DIGEST, content=_NO_DIGEST, **fields)
        return draft.model_copy(
            update={"entry_id": draft.id_on(target), "content": draft.content_digest()}
        )

    def id_on(self, target: str) -> str:
        """Return the entry_id on a target."""
        return _digest([target, self.kind, *self.identity])

    def content_digest(self) -> str:
        """Return the digest of all that the entry says."""
        said = self.model_dump(mode="json", exclude={"entry_id", "content"}, exclude_none=True)
        return _digest(said)

    def with_content(self, **changes: Any) -> Self:
        """Return the same annotation with other content."""
        changed = self.model_copy(update=changes)
        return changed.model_copy(update={"content": changed.content_digest()})


class KeyValues(Entry):
    """Key-value pairs: one map annotation. Order is kept, and a key may stand there twice."""

    kind: Literal["key-values"] = "key-values"
    namespace: Name
    pairs: tuple[tuple[Name, Text], ...] = Field(description="[key, value] in their order.")
    digests: tuple[tuple[Name, ResultPath], ...] = Field(
        default=(),
        description="[key, path]: pairs behind the others whose value is the digest of what lies "
        "at the path when the plan is applied.",
    )

    @property
    def title(self) -> str:
        """Kind and namespace, since an image has pairs of several."""
        return f"{self.kind} {self.namespace}"


class Tag(Entry):
    """A tag; one of this name that is there is used, and only the link to it is ours."""

    kind: Literal["tag"] = "tag"
    name: Text = Field(min_length=1)
    description: Text | None = None
    tag_set: Text | None = Field(default=None, min_length=1)


class Rating(Entry):
    """A rating of 1 to 5 stars."""

    kind: Literal["rating"] = "rating"
    namespace: Literal["openmicroscopy.org/omero/insight/rating"] = (
        "openmicroscopy.org/omero/insight/rating"
    )
    stars: int = Field(ge=1, le=5)


class Comment(Entry):
    """A comment."""

    kind: Literal["comment"] = "comment"
    namespace: Name
    text: Text = Field(min_length=1)


class Column(Model):
    """A column of an OMERO.table."""

    name: Name
    type: Literal["long", "double", "string", "bool", "Image", "Roi", "Well"]
    source: str | None = Field(
        default=None,
        description="Column of the file that the values come from. None for references: Image is "
        "the target, Well the well that it lies in, Roi the ROI of the row's object.",
    )
    unit: str | None = None
    size_bytes: int | None = Field(
        default=None, ge=1, description="Of a string: the longest value in UTF-8."
    )


class Table(Entry):
    """An OMERO.table. The row of an object refers to the ROI of its symbol, label and t."""

    kind: Literal["table"] = "table"
    namespace: Name
    name: Name
    file: ResultFile = Field(description="A Parquet file.")
    rows: int = Field(ge=0)
    columns: tuple[Column, ...] = Field(min_length=1)
    rois: Name | None = Field(default=None, description="Symbol that the column Roi refers to.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            msg = f"two columns have one name: {', '.join(names)}"
            raise ValueError(msg)
        if (self.rois is not None) != any(column.type == "Roi" for column in self.columns):
            msg = "a table names the symbol of ROIs exactly where it has a column of the type Roi"
            raise ValueError(msg)
        return self


class FileAttachment(Entry):
    """A file attachment; equal ones of several targets are one file, linked to each."""

    kind: Literal["file"] = "file"
    namespace: Name
    name: Name
    file: ResultFile
    mimetype: str = Field(max_length=255)
    packed: bool = Field(description="Whether it is a folder, attached as one zip file.")


class LabelImage(Entry):
    """A label image, as a new image beside its own."""

    kind: Literal["label-image"] = "label-image"
    name: Name
    labels: ResultFile
    dataset: TargetUri | None = Field(
        default=None, description="Where it goes; none for the datasets of the image itself."
    )


class Mask(Model):
    """Exactly the pixels of the object, one mask a plane."""

    method: Literal["mask"] = "mask"


class Polygon(Model):
    """Outer outlines, simplified; one polygon for each connected part in a plane."""

    method: Literal["polygon"] = "polygon"
    tolerance_px: float = Field(
        default=1,
        ge=0,
        le=100,
        description="How far, in pixels, the polygon may be from the outline of the pixels; 0 "
        "keeps it to the corner.",
    )


class Rois(Entry):
    """One ROI for each object of a label image at each time point, named by symbol, label and t.

    A shape lies on the plane of its pixels and on all channels.
    """

    kind: Literal["rois"] = "rois"
    name: Name = Field(description="The symbol that tables call these ROIs by.")
    labels: ResultFile
    label_name: Name
    shape: Annotated[Mask | Polygon, Field(discriminator="method")]
    objects: int = Field(ge=0, description="Number of objects, over all time points.")
    all_planes: bool = Field(
        description="Whether shapes lie on all Z planes, since the labels are of a projection."
    )
    all_times: bool = Field(description="The same for time points.")


PlannedEntry = Annotated[
    KeyValues | Tag | Rating | Comment | Table | FileAttachment | LabelImage | Rois,
    Field(discriminator="kind"),
]
