"""What belongs to what: which objects are deleted, moved or given along with others.

The rules are those that the real server's requests follow, as far as clients of images, plates,
annotations and ROIs meet them; objects of the light path are left where they are.
"""

from __future__ import annotations

from .entities import Entity
from .model import kind_of
from .store import Store

__all__ = ["considered", "freely_deleted", "holders", "is_link_of", "owned"]

# What dies with an object: collections and references of it.
_OWNED = {
    "ChannelBinding": ("spatialDomainEnhancement",),
    "Experiment": ("microbeamManipulation",),
    "Fileset": ("images", "usedFiles", "jobLinks"),
    "Image": ("pixels",),
    "Instrument": (
        *("detector", "dichroic", "filter", "filterSet"),
        *("lightSource", "microscope", "objective", "otf"),
    ),
    "LogicalChannel": ("channels",),
    "Pixels": ("channels", "planeInfo", "settings", "thumbnails"),
    "Plate": ("wells", "plateAcquisitions"),
    "PlateAcquisition": ("wellSample",),
    "RenderingDef": ("projections", "quantization", "waveRendering"),
    "Roi": ("shapes",),
    "Well": ("wellSamples",),
}
# What is looked at when an object dies: it dies as well when nothing holds it any more.
_CONSIDERED = {
    "Channel": ("logicalChannel", "statsInfo"),
    "FileAnnotation": ("file",),
    "FilesetEntry": ("originalFile",),
    "Folder": ("childFolders",),
    "Image": (
        *("experiment", "fileset", "imagingEnvironment", "instrument"),
        *("objectiveSettings", "rois", "stageLabel"),
    ),
    "PixelsOriginalFileMap": ("parent",),
    "Roi": ("source",),
    "Screen": ("reagents",),
    "Shape": ("transform",),
    "WellSample": ("image",),
}
_CONTAINING = frozenset(
    {
        "DatasetImageLink",
        "FolderImageLink",
        "FolderRoiLink",
        "ProjectDatasetLink",
        "ScreenPlateLink",
        "WellReagentLink",
    }
)
# What keeps a considered object alive: kind and field of those that point at it.
_HOLDERS = {
    "AffineTransform": (("Shape", "transform"),),
    "Dataset": (("ProjectDatasetLink", "child"),),
    "Experiment": (("Image", "experiment"),),
    "Fileset": (("Image", "fileset"),),
    "Folder": (),
    "Image": (("DatasetImageLink", "child"), ("FolderImageLink", "child"), ("WellSample", "image")),
    "ImagingEnvironment": (("Image", "imagingEnvironment"),),
    "Instrument": (("Image", "instrument"),),
    "LogicalChannel": (("Channel", "logicalChannel"),),
    "ObjectiveSettings": (("Image", "objectiveSettings"),),
    "OriginalFile": (
        ("FileAnnotation", "file"),
        ("FilesetEntry", "originalFile"),
        ("JobOriginalFileLink", "child"),
        ("PixelsOriginalFileMap", "parent"),
        ("Roi", "source"),
    ),
    "Plate": (("ScreenPlateLink", "child"),),
    "Reagent": (("WellReagentLink", "child"),),
    "Roi": (("FolderRoiLink", "child"),),
    "StageLabel": (("Image", "stageLabel"),),
    "StatsInfo": (("Channel", "statsInfo"),),
}
# What may be deleted along with an object by who may not delete it by itself.
_FREE = frozenset(
    {"BasicAnnotation", "ChannelBinding", "CommentAnnotation", "OriginalFile", "QuantumDef"}
    | {"RenderingDef", "StatsInfo", "Thumbnail"}
)
_OWNERS_ONLY = ("FileAnnotation", "TagAnnotation")


def _reached(store: Store, entity: Entity, fields: tuple[str, ...]) -> list[Entity]:
    found: list[Entity] = []
    for name in fields:
        of = entity.kind.fields[name]
        if of.form == "collection":
            found += store.collection(entity, name)
        elif entity[name] is not None:
            found.append(entity[name])
    return found


def _fields(table: dict[str, tuple[str, ...]], entity: Entity) -> tuple[str, ...]:
    return next((table[name] for name in entity.kind.ancestors if name in table), ())


def owned(store: Store, entity: Entity) -> list[Entity]:
    """Return what cannot be without an object."""
    found = _reached(store, entity, _fields(_OWNED, entity))
    if entity.kind.name == "OriginalFile":
        found += store.referrers(entity, "FileAnnotation", "file")
    return found


def is_link_of(link: Entity, entity: Entity) -> bool:
    """Tell whether a referrer ties an object to another one."""
    return link.kind.is_link and (link["parent"] is entity or link["child"] is entity)


def considered(store: Store, entity: Entity, *, alone: bool) -> list[Entity]:
    """Return what may be left behind without use when an object goes.

    Parameters
    ----------
    store : Store
    entity : Entity
        What goes.
    alone : bool
        Of a link: whether it goes by itself, with both of its ends staying.
    """
    if entity.kind.is_annotation_link:
        annotation, parent = entity["child"], entity["parent"]
        theirs = any(annotation.kind.is_a(name) for name in _OWNERS_ONLY)
        same = annotation.details.owner is parent.details.owner
        return [annotation] if not theirs or (same and not alone) else []
    if entity.kind.name in _CONTAINING:
        return [] if alone else [entity["child"]]
    return _reached(store, entity, _fields(_CONSIDERED, entity))


def holders(store: Store, entity: Entity) -> list[Entity]:
    """Return what keeps an object alive by pointing at it."""
    if entity.kind.is_a("Annotation"):
        found = store.all_referrers(entity)
        return [one for one in found if one.kind.is_annotation_link and one["child"] is entity]
    places = _HOLDERS.get(kind_of(entity.kind.root).name)
    if places is None:
        return [entity]
    held = [one for kind, field in places for one in store.referrers(entity, kind, field)]
    if entity.kind.name == "Roi" and entity["image"] is not None:
        held.append(entity["image"])
    return held


def freely_deleted(entity: Entity) -> bool:
    """Tell whether an object goes along without a right of its own."""
    return any(name in _FREE for name in entity.kind.ancestors)
