"""ThumbnailStore: small pictures of images, drawn anew each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import omero
from omero.rtypes import unwrap
from tests.omero.server.painting import Channel, jpeg, paint, scaled
from tests.omero.server.permissions import can_read
from tests.omero.server.rendering_settings import (
    Settings,
    default_settings,
    find_settings,
    load_settings,
    save_settings,
)
from tests.omero.server.servants import Service
from tests.omero.server.services.pixels import pixel_shape

__all__ = ["Thumbnails"]


class Thumbnails(Service):
    """Implements `omero.api.ThumbnailStore`; nothing is kept on disk."""

    interface = omero.api.ThumbnailStore
    exclusive = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pixels: Any = None
        self._settings: Settings | None = None

    def setPixelsId(self, pixels_id: int) -> bool:
        """Choose the pixels; tell whether there are settings to render them by."""
        with self.store.lock:
            pixels = self.store.get("Pixels", pixels_id)
            if pixels is None or not can_read(self.call, pixels):
                text = f"Cannot find Pixels id={pixels_id}"
                raise omero.ValidationException(None, "ome.conditions.ValidationException", text)
            found = find_settings(self.call, pixels)
            self._pixels = pixels
            self._settings = found and load_settings(self.call, found)
        return found is not None

    def setRenderingDefId(self, settings_id: int) -> None:
        """Choose settings by their id."""
        with self.store.lock:
            found = self.store.get("RenderingDef", settings_id)
            if found is None:
                text = f"No rendering settings exist for id={settings_id}"
                raise omero.ValidationException(None, "ome.conditions.ValidationException", text)
            self._settings = load_settings(self.call, found)

    def getRenderingDefId(self) -> int:
        """Return the id of the settings."""
        if self._settings is None or self._settings.id is None:
            raise omero.ApiUsageException(
                None, "ome.conditions.ApiUsageException", "No rendering def"
            )
        return self._settings.id

    def resetDefaults(self) -> None:
        """Keep settings made from the pixels."""
        with self.store.lock, self.store.transaction():
            made = default_settings(self.call, self._chosen())
            self._settings = save_settings(self.call, made)

    def isInProgress(self) -> bool:
        """Tell that nothing is pending."""
        return False

    def thumbnailExists(self, width: Any, height: Any) -> bool:
        """Tell that none is kept."""
        return False

    def getThumbnail(self, width: Any, height: Any) -> bytes:
        """Return a picture of a size."""
        return self._picture(unwrap(width), unwrap(height))

    getThumbnailDirect = getThumbnailWithoutDefault = getThumbnail

    def getThumbnailByLongestSide(self, size: Any) -> bytes:
        """Return a picture whose longer side is of a size."""
        return self._picture(*self._sides(unwrap(size)))

    getThumbnailByLongestSideDirect = getThumbnailByLongestSide

    def getThumbnailForSectionDirect(self, z: int, t: int, width: Any, height: Any) -> bytes:
        """Return a picture of a plane."""
        return self._picture(unwrap(width), unwrap(height), (z, t))

    def getThumbnailForSectionByLongestSideDirect(self, z: int, t: int, size: Any) -> bytes:
        """Return a picture of a plane whose longer side is of a size."""
        return self._picture(*self._sides(unwrap(size)), (z, t))

    def getThumbnailSet(self, width: Any, height: Any, ids: list[int]) -> dict[int, bytes]:
        """Return pictures of several images."""
        return self._several(ids, lambda: self.getThumbnail(width, height))

    def getThumbnailByLongestSideSet(self, size: Any, ids: list[int]) -> dict[int, bytes]:
        """Return pictures of several images whose longer side is of a size."""
        return self._several(ids, lambda: self.getThumbnailByLongestSide(size))

    def _several(self, ids: list[int], draw: Any) -> dict[int, bytes]:
        found = {}
        for number in ids:
            self.setPixelsId(number)
            found[number] = draw()
        return found

    def _chosen(self) -> Any:
        if self._pixels is None:
            raise omero.ApiUsageException(
                None, "ome.conditions.ApiUsageException", "Thumbnail service not ready"
            )
        return self._pixels

    def _sides(self, longest: int) -> tuple[int, int]:
        _, _, _, height, width = pixel_shape(self._chosen())
        ratio = longest / max(width, height)
        return max(1, round(width * ratio)), max(1, round(height * ratio))

    def _picture(self, width: int, height: int, plane: tuple[int, int] | None = None) -> bytes:
        with self.store.lock:
            pixels = self._chosen()
            settings = self._settings or default_settings(self.call, pixels)
            shape, kind = pixel_shape(pixels), pixels["pixelsType"]["value"]
        z, t = plane or (settings.values["defaultZ"], settings.values["defaultT"])
        array = self.server.pixel_files.open(pixels.id, shape, kind).array()
        step = max(1, min(shape[3] // max(1, height), shape[4] // max(1, width)))
        channels = [
            Channel(
                index,
                (values["inputStart"], values["inputEnd"]),
                tuple(values[color] for color in ("red", "green", "blue")),
            )
            for index, values in enumerate(settings.bindings)
            if values["active"]
        ]
        planes = {one.index: np.asarray(array[t, one.index, z, ::step, ::step]) for one in channels}
        return jpeg(scaled(paint(planes, channels), width, height))
