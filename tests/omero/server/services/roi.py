"""IRoi: regions of interest of an image, with their shapes."""

from __future__ import annotations

from typing import Any

import omero
from omero.rtypes import unwrap
from tests.omero.server.entities import Entity
from tests.omero.server.permissions import can_read
from tests.omero.server.render import Fetched, render
from tests.omero.server.servants import Service

__all__ = ["Rois"]


class Rois(Service):
    """Implements `omero.api.IRoi`, without statistics and measurements."""

    interface = omero.api.IRoi

    def findByImage(self, image_id: int, options: Any) -> Any:
        """Return the ROIs of an image."""
        image = self.store.get("Image", image_id)
        rois = [] if image is None else self.store.collection(image, "rois")
        return self._result([roi for roi in rois if can_read(self.call, roi)], options)

    def findByRoi(self, roi_id: int, options: Any) -> Any:
        """Return one ROI."""
        roi = self.store.get("Roi", roi_id)
        found = [] if roi is None or not can_read(self.call, roi) else [roi]
        return self._result(found, options)

    def findByPlane(self, image_id: int, z: int, t: int, options: Any) -> Any:
        """Return the ROIs that have a shape in a plane, or one that is in all planes."""
        image = self.store.get("Image", image_id)
        rois = [] if image is None else self.store.collection(image, "rois")
        found = [roi for roi in rois if can_read(self.call, roi) and self._meets(roi, z, t)]
        return self._result(found, options)

    def _meets(self, roi: Entity, z: int, t: int) -> bool:
        shapes = self.store.collection(roi, "shapes")
        return any(shape["theZ"] in (None, z) and shape["theT"] in (None, t) for shape in shapes)

    def _result(self, rois: list[Entity], options: Any) -> Any:
        chosen = _chosen(rois, options)
        fetched = Fetched()
        for roi in chosen:
            for path in ("shapes", "image", "details.owner", "details.group"):
                fetched.follow(self.store, roi, path)
        result = omero.api.RoiResult()
        result.opts = options
        result.rois = render(self.call, chosen, fetched)
        result.byZ, result.byT = {}, {}
        return result


def _chosen(rois: list[Entity], options: Any) -> list[Entity]:
    if options is None:
        return rois
    for wanted, name in ((options.userId, "owner"), (options.groupId, "group")):
        if wanted is not None:
            rois = [roi for roi in rois if getattr(roi.details, name).id == unwrap(wanted)]
    start = unwrap(options.offset) or 0
    limit = unwrap(options.limit)
    return rois[start:] if limit is None else rois[start : start + limit]
