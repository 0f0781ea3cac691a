"""What an OMERO server holds, as plain values: which objects, and what those that came say."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from itertools import product
from typing import Any

import omero.all  # or some kinds are not there yet, as what was imported before decides
from omero.rtypes import unwrap

__all__ = ["LINKED", "Ids", "contents", "held"]

Ids = dict[str, frozenset[int]]

LINKED = tuple(
    name.removesuffix("AnnotationLink")
    for name in dir(omero.model)
    if name.endswith("AnnotationLink") and not name.startswith(("_", "AnnotationAnnotation"))
)
FILES = "where o.mimetype is null or o.mimetype <> 'Repository'"
KINDS = ("Annotation", "Roi", "Shape", "Image", "Pixels", "Dataset", "OriginalFile")
LINKS = (*(f"{each}AnnotationLink" for each in LINKED), "AnnotationAnnotationLink")
LINKS = (*LINKS, "DatasetImageLink")
TOKEN = re.compile(r"[0-9a-f]{32}")
ALL_GROUPS = {"omero.group": "-1"}
MOST_PIXELS = 2**22  # in a message, which Ice bounds


def held(root: Any) -> Ids:
    """Return the ids of all objects that annotations are made of, in all groups."""
    of = {"OriginalFile": FILES}
    return {
        kind: frozenset(_rows(root, f"select o.id from {kind} o {of.get(kind, '')}"))
        for kind in KINDS + LINKS
    }


def contents(root: Any, before: Ids) -> dict[str, list[Any]]:
    """Return what the objects say that are there and were not before; without their ids."""
    new = {kind: sorted(ids - before[kind]) for kind, ids in held(root).items()}
    names = _roi_names(root)
    return {
        "annotations": sorted(_annotation(root, each, names) for each in new["Annotation"]),
        "rois": sorted(_roi(root, each) for each in new["Roi"]),
        "images": sorted(_image(root, each) for each in new["Image"]),
        "counts": sorted(Counter({kind: len(ids) for kind, ids in new.items()}).items()),
    }


def _rows(root: Any, query: str, **values: int) -> list[Any]:
    parameters = omero.sys.ParametersI()
    for name, value in values.items():
        parameters.addLong(name, value)
    rows = root.c.sf.getQueryService().projection(query, parameters, ALL_GROUPS)
    plain = [[unwrap(value) for value in row] for row in rows]
    return [row[0] if len(row) == 1 else tuple(row) for row in plain]


def _one(root: Any, query: str, number: int) -> Any:
    parameters = omero.sys.ParametersI().addId(number)
    return root.c.sf.getQueryService().findByQuery(query, parameters, ALL_GROUPS)


def _masked(text: Any) -> str:
    return TOKEN.sub("*", text.val) if text is not None else ""


def _annotation(root: Any, number: int, names: dict[int, str]) -> tuple[str, ...]:
    query = "select a from Annotation a left outer join fetch a.file where a.id = :id"
    one = _one(root, query, number)
    if isinstance(one, omero.model.FileAnnotationI):
        value = _file(root, one.file, names)
    elif isinstance(one, omero.model.MapAnnotationI):
        value = repr([(pair.name, pair.value) for pair in one.mapValue])
    elif isinstance(one, omero.model.LongAnnotationI):
        value = repr(one.longValue.val)
    else:
        value = repr(one.textValue.val)
    parents = [
        (kind, parent)
        for kind in LINKED
        for parent in _rows(
            root,
            f"select l.parent.id from {kind}AnnotationLink l where l.child.id = :id",
            id=number,
        )
    ]
    sets = _rows(
        root,
        "select p.textValue from AnnotationAnnotationLink l, TagAnnotation p "
        "where l.parent.id = p.id and l.child.id = :id",
        id=number,
    )
    where = (one.details.owner.id.val, one.details.group.id.val)
    kind = type(one).__name__
    told = (kind, _masked(one.ns), value, _masked(one.description), sorted(parents), sets, where)
    return tuple(str(each) for each in told)


def _file(root: Any, file: Any, names: dict[int, str]) -> str:
    path = _masked(file.path)
    if file.mimetype is not None and file.mimetype.val == "OMERO.tables":
        return f"table {path}{file.name.val} {_table(root, file, names)}"
    return f"file {path}{file.name.val} {file.size.val} {file.hash.val}"


def _table(root: Any, file: Any, names: dict[int, str]) -> str:
    group = {"omero.group": str(file.details.group.id.val)}
    table = root.c.sf.sharedResources().openTable(file, group)
    try:
        count = table.getNumberOfRows()
        data = table.read(list(range(len(table.getHeaders()))), 0, count).columns if count else []
    finally:
        table.close()
    columns = []
    for column in data:
        values = list(column.values)
        if isinstance(column, omero.grid.RoiColumn):
            values = [names.get(each, "gone") for each in values]
        columns.append((column.name, type(column).__name__, values))
    return f"{count} {columns}"


def _roi_names(root: Any) -> dict[int, str]:
    return dict(_rows(root, "select r.id, r.name from Roi r"))


def _roi(root: Any, number: int) -> tuple[str, ...]:
    one = _one(root, "select r from Roi r left outer join fetch r.shapes where r.id = :id", number)
    shapes = sorted(_shape(shape) for shape in one.copyShapes())
    image = None if one.image is None else one.image.id.val
    name = "" if one.name is None else one.name.val
    return str(image), name, _masked(one.description), str(shapes)


def _shape(shape: Any) -> str:
    place = [None if each is None else each.val for each in (shape.theT, shape.theZ, shape.theC)]
    if isinstance(shape, omero.model.PolygonI):
        return f"{place} {shape.points.val}"
    if not isinstance(shape, omero.model.MaskI):
        return f"{place} {type(shape).__name__}"
    box = [each.val for each in (shape.x, shape.y, shape.width, shape.height)]
    return f"{place} {box} {bytes(shape.bytes).hex()}"


def _image(root: Any, number: int) -> tuple[str, ...]:
    query = (
        "select i from Image i left outer join fetch i.pixels p "
        "left outer join fetch p.pixelsType where i.id = :id"
    )
    one = _one(root, query, number)
    datasets = _rows(
        root, "select l.parent.id from DatasetImageLink l where l.child.id = :id", id=number
    )
    told = [one.name.val, _masked(one.description), datasets]
    if not one.sizeOfPixels():  # of tests that need none
        return tuple(str(each) for each in told)
    pixels = one.getPrimaryPixels()
    told += [pixels.pixelsType.value.val]
    told += [[getattr(pixels, f"size{axis}").val for axis in "TCZYX"]]
    return (*(str(each) for each in told), _digest(root, one, pixels))


def _digest(root: Any, image: Any, pixels: Any) -> str:
    store = root.c.sf.createRawPixelsStore()
    group = {"omero.group": str(image.details.group.id.val)}
    digest = hashlib.sha256()
    try:
        store.setPixelsId(pixels.id.val, False, group)
        wide, high = pixels.sizeX.val, pixels.sizeY.val
        rows = max(1, MOST_PIXELS // wide)
        for t, c, z in product(*(range(getattr(pixels, f"size{axis}").val) for axis in "TCZ")):
            for y in range(0, high, rows):
                tile = store.getTile(z, c, t, 0, y, wide, min(rows, high - y), group)
                digest.update(tile)
    finally:
        store.close()
    return digest.hexdigest()
