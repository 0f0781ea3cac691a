"""IContainer: images and what holds them."""

from __future__ import annotations

from typing import Any

import omero
import omero.api
from omero.rtypes import unwrap
from tests.omero.server.entities import Entity
from tests.omero.server.model import kind_of
from tests.omero.server.permissions import can_read
from tests.omero.server.render import Fetched, render
from tests.omero.server.servants import Service

__all__ = ["Container"]

_IMAGE = (
    "pixels.pixelsType",
    "pixels.dimensionOrder",
    "pixels.channels.logicalChannel.photometricInterpretation",
    "pixels.channels.statsInfo",
    "format",
    "details.owner",
    "details.group",
    "details.creationEvent",
    "details.updateEvent",
)
_BELOW = {
    "Project": ("datasetLinks", "child", "imageLinks"),
    "Dataset": ("imageLinks", "child", None),
    "Screen": ("plateLinks", "child", None),
}


def _options(parameters: Any) -> tuple[int | None, int | None, bool]:
    """Return whose objects, of which group, and whether with their leaves."""
    filter_ = parameters and parameters.theFilter
    options = parameters and parameters.theOptions
    owner = unwrap(filter_.ownerId) if filter_ else None
    group = unwrap(filter_.groupId) if filter_ else None
    leaves = bool(unwrap(options.leaves)) if options else False
    return _id(owner), _id(group), leaves


def _id(number: int | None) -> int | None:
    return None if number is None or number < 0 else number


class Container(Service):
    """Walks up and down the containers."""

    interface = omero.api.IContainer

    def _kept(self, entities: list[Entity], parameters: Any) -> list[Entity]:
        """Return the readable ones that parameters ask for."""
        owner, group, _ = _options(parameters)
        kept = [e for e in entities if can_read(self.call, e)]
        if owner is not None:
            kept = [e for e in kept if e.details.owner and e.details.owner.id == owner]
        if group is not None:
            kept = [e for e in kept if e.details.group and e.details.group.id == group]
        filter_ = parameters and parameters.theFilter
        if filter_ and filter_.limit is not None:
            first = unwrap(filter_.offset) or 0
            kept = kept[first : first + unwrap(filter_.limit)]
        return kept

    def _present(self, kind: str, keys: list[int]) -> list[Entity]:
        found = (self.store.get(kind, key) for key in dict.fromkeys(keys))
        return [entity for entity in found if entity is not None and can_read(self.call, entity)]

    def _children(self, entity: Entity, links: str) -> list[Entity]:
        return [link["child"] for link in self.store.collection(entity, links)]

    def _images_of(self, kind: str, keys: list[int]) -> list[Entity]:
        roots = self._present(kind, keys)
        if kind == "Project":
            roots = [d for project in roots for d in self._children(project, "datasetLinks")]
        if kind in {"Project", "Dataset"}:
            roots = [i for dataset in roots for i in self._children(dataset, "imageLinks")]
        if any(root.kind.name != "Image" for root in roots):
            message = f"{kind} has no images"
            raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", message)
        return list(dict.fromkeys(roots))

    def _sent(self, images: list[Entity], *paths: str) -> list[Any]:
        fetched = Fetched()
        for image in images:
            for path in (*_IMAGE, *paths):
                fetched.follow(self.store, image, path)
        return render(self.call, images, fetched)

    def getImages(self, kind: str, keys: list[int], parameters: Any) -> list[Any]:
        name = kind_of(kind).name
        links = ("datasetLinks.parent",) if name == "Dataset" else ()
        return self._sent(self._kept(self._images_of(name, keys), parameters), *links)

    def getUserImages(self, parameters: Any) -> list[Any]:
        mine = [e for e in self.store.all("Image") if e.details.owner is self.call.user]
        return self._sent(self._kept(mine, parameters))

    def getImagesByOptions(self, parameters: Any) -> list[Any]:
        options = parameters and parameters.theOptions
        start = unwrap(options.startTime) if options else None
        end = unwrap(options.endTime) if options else None

        def made_within(image: Entity) -> bool:
            made = image.details.created and image.details.created["time"]
            return (start is None or made >= start) and (end is None or made <= end)

        images = [image for image in self.store.all("Image") if made_within(image)]
        return self._sent(self._kept(images, parameters))

    def loadContainerHierarchy(self, kind: str, keys: list[int], parameters: Any) -> list[Any]:
        name = kind_of(kind).name
        roots = self._present(name, keys) if keys else self.store.all(name)
        if name not in _BELOW:
            message = f"{kind} is no container: Project, Dataset or Screen"
            raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", message)
        links, child, further = _BELOW[name]
        leaves = _options(parameters)[2]
        fetched = Fetched()
        kept = self._kept(roots, parameters)
        for root in kept:
            fetched.follow(self.store, root, "details.owner")
            fetched.follow(self.store, root, "details.group")
            if name != "Dataset" or leaves:
                fetched.follow(self.store, root, f"{links}.{child}")
            if further and leaves:
                fetched.follow(self.store, root, f"{links}.{child}.{further}.child")
        return render(self.call, kept, fetched)

    def findContainerHierarchies(self, kind: str, keys: list[int], parameters: Any) -> list[Any]:
        fetched = Fetched()
        found: dict[Entity, None] = {}
        for image in self._present("Image", keys):
            fetched.loaded.add(image)
            for link in self.store.collection(image, "datasetLinks"):
                self._climb(link, kind_of(kind).name, found, fetched)
        return render(self.call, list(found), fetched)

    def _climb(self, link: Entity, kind: str, found: dict[Entity, None], fetched: Fetched) -> None:
        """Add the containers of one kind above an image."""
        dataset = link["parent"]
        fetched.loaded.add(dataset)
        fetched.loaded.add(link)
        fetched.collections.setdefault((dataset, "imageLinks"), []).append(link)
        if kind == "Dataset":
            found[dataset] = None
            return
        for upper in self.store.collection(dataset, "projectLinks"):
            below = fetched.collections.setdefault((upper["parent"], "datasetLinks"), [])
            if upper not in below:
                below.append(upper)
            fetched.loaded.add(upper)
            found[upper["parent"]] = None

    def getCollectionCount(
        self, kind: str, field: str, keys: list[int], parameters: Any
    ) -> dict[int, int]:
        roots = self._present(kind_of(kind).name, keys)
        name = field.rpartition("_")[2]
        return {root.id or 0: len(self.store.collection(root, name)) for root in roots}
