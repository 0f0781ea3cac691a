"""RenderingEngine: planes as pictures, and the settings of that."""

from __future__ import annotations

from typing import Any

import numpy as np
import omero
from omero.constants.projection import ProjectionType
from tests.omero.server.entities import Entity
from tests.omero.server.painting import Channel, jpeg, paint
from tests.omero.server.render import render_one
from tests.omero.server.rendering_settings import (
    Settings,
    default_settings,
    find_settings,
    load_settings,
    save_settings,
    type_range,
)
from tests.omero.server.services.pixels import DESCRIPTION
from tests.omero.server.services.raw_pixels import PyramidService

__all__ = ["Rendering"]

_PROJECTIONS = {
    ProjectionType.MAXIMUMINTENSITY: np.max,
    ProjectionType.MEANINTENSITY: np.mean,
    ProjectionType.SUMINTENSITY: np.sum,
}


class Rendering(PyramidService):
    """Implements `omero.api.RenderingEngine`: linear, in grey or RGB, the XY planes alone."""

    interface = omero.api.RenderingEngine

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._settings: Settings | None = None
        self._quality = 0.85

    @property
    def settings(self) -> Settings:
        """The settings that were chosen, this engine's own until they are saved."""
        if self._settings is None:
            raise omero.ApiUsageException(
                None, "ome.conditions.ApiUsageException", "RenderingDef not set."
            )
        return self._settings

    def lookupPixels(self, pixels_id: int) -> None:
        """Choose the pixels."""
        self.open(pixels_id)

    def lookupRenderingDef(self, pixels_id: int) -> bool:
        """Choose the user's settings or the owner's; tell whether there are any."""
        with self.store.lock:
            found = find_settings(self.call, self.pixels or self._missing())
            self._settings = found and load_settings(self.call, found)
        return found is not None

    def loadRenderingDef(self, settings_id: int) -> None:
        """Choose settings by their id."""
        with self.store.lock:
            found = self.store.get("RenderingDef", settings_id)
        if found is None or found["pixels"] is not self.pixels:
            raise omero.ValidationException(
                None,
                "ome.conditions.ValidationException",
                f"RenderingDef with id {settings_id} does not exist for these pixels",
            )
        with self.store.lock:
            self._settings = load_settings(self.call, found)

    def _missing(self) -> Entity:
        raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", "No pixels set")

    def load(self) -> None:
        """Get ready to render."""
        _ = self.settings, self.buffer

    def getRenderingDefId(self) -> int:
        """Return the id of the settings."""
        return -1 if self.settings.id is None else self.settings.id

    def resetDefaultSettings(self, save: bool) -> int:
        """Choose settings made from the pixels; return their id, -1 when they are not kept."""
        with self.store.lock, self.store.transaction():
            pixels = self.pixels or self._missing()
            self._settings = default_settings(self.call, pixels)
            if save:
                self._settings = save_settings(self.call, self._settings)
        return self.getRenderingDefId()

    def saveCurrentSettings(self) -> None:
        """Keep the settings as the user's own."""
        with self.store.lock, self.store.transaction():
            self._settings = save_settings(self.call, self.settings)

    def getPixels(self) -> Any:
        """Return the Pixels object with its channels."""
        with self.store.lock:
            return render_one(self.call, self.pixels or self._missing(), *DESCRIPTION)

    def getModel(self) -> Any:
        """Return whether it is grey or in colours."""
        with self.store.lock:
            return render_one(self.call, self.settings.values["model"])

    def setModel(self, model: Any) -> None:
        """Choose grey or colours."""
        with self.store.lock:
            self.settings.values["model"] = self.store.get("RenderingModel", model.id.val)

    def getAvailableModels(self) -> list[Any]:
        """Return grey and RGB."""
        return self._enumeration("RenderingModel")

    def getAvailableFamilies(self) -> list[Any]:
        """Return the curves; only the linear one is drawn."""
        return self._enumeration("Family")

    def _enumeration(self, kind: str) -> list[Any]:
        with self.store.lock:
            return [render_one(self.call, entity) for entity in self.store.all(kind)]

    def getQuantumDef(self) -> Any:
        """Return the range of what is drawn."""
        with self.store.lock:
            return render_one(self.call, self.settings.values["quantization"])

    def getDefaultZ(self) -> int:
        """Return the plane along Z."""
        return int(self.settings.values["defaultZ"])

    def getDefaultT(self) -> int:
        """Return the time point."""
        return int(self.settings.values["defaultT"])

    def setDefaultZ(self, z: int) -> None:
        """Choose the plane along Z."""
        self.settings.values["defaultZ"] = z

    def setDefaultT(self, t: int) -> None:
        """Choose the time point."""
        self.settings.values["defaultT"] = t

    def isActive(self, channel: int) -> bool:
        """Tell whether a channel is drawn."""
        return bool(self.settings.bindings[channel]["active"])

    def setActive(self, channel: int, active: bool) -> None:
        """Draw a channel or not."""
        self.settings.bindings[channel]["active"] = active

    def getChannelWindowStart(self, channel: int) -> float:
        """Return the value that is drawn black."""
        return float(self.settings.bindings[channel]["inputStart"])

    def getChannelWindowEnd(self, channel: int) -> float:
        """Return the value that is drawn brightest."""
        return float(self.settings.bindings[channel]["inputEnd"])

    def setChannelWindow(self, channel: int, start: float, end: float) -> None:
        """Choose the values that are drawn black and brightest."""
        self.settings.bindings[channel].update(inputStart=start, inputEnd=end)

    def getRGBA(self, channel: int) -> list[int]:
        """Return the colour of a channel."""
        binding = self.settings.bindings[channel]
        return [int(binding[name]) for name in ("red", "green", "blue", "alpha")]

    def setRGBA(self, channel: int, red: int, green: int, blue: int, alpha: int) -> None:
        """Choose the colour of a channel."""
        self.settings.bindings[channel].update(red=red, green=green, blue=blue, alpha=alpha)

    def getChannelLookupTable(self, channel: int) -> str | None:
        """Return the name of a channel's lookup table; none is drawn."""
        return self.settings.bindings[channel].get("lookupTable")

    def setChannelLookupTable(self, channel: int, name: str | None) -> None:
        """Note the name of a lookup table."""
        self.settings.bindings[channel].update(lookupTable=name or None)

    def getChannelFamily(self, channel: int) -> Any:
        """Return the curve of a channel."""
        with self.store.lock:
            return render_one(self.call, self.settings.bindings[channel]["family"])

    def getChannelCurveCoefficient(self, channel: int) -> float:
        """Return the coefficient of a channel's curve."""
        return float(self.settings.bindings[channel]["coefficient"])

    def setQuantizationMap(
        self, channel: int, family: Any, coefficient: float, noise: bool
    ) -> None:
        """Note the curve of a channel."""
        found = self.store.get("Family", family.id.val)
        self.settings.bindings[channel].update(
            family=found, coefficient=coefficient, noiseReduction=noise
        )

    def getCodomainMapContext(self, channel: int) -> list[Any]:
        """Return what is done to drawn values: nothing."""
        return []

    def getPixelsTypeLowerBound(self, channel: int) -> float:
        """Return the lowest value of the pixels' type."""
        return type_range(self.buffer.type_name)[0]

    def getPixelsTypeUpperBound(self, channel: int) -> float:
        """Return the highest value of the pixels' type."""
        return type_range(self.buffer.type_name)[1]

    def isPixelsTypeSigned(self) -> bool:
        """Tell whether pixels can be negative."""
        return self.buffer.dtype.kind in "if"

    def setCompressionLevel(self, quality: float) -> None:
        """Choose the quality of JPEG, 0 to 1."""
        self._quality = quality

    def getCompressionLevel(self) -> float:
        """Return the quality of JPEG."""
        return self._quality

    def _channels(self) -> list[Channel]:
        grey = self.settings.values["model"]["value"] == "greyscale"
        drawn = [
            Channel(
                index,
                (binding["inputStart"], binding["inputEnd"]),
                (255, 255, 255) if grey else tuple(self.getRGBA(index)[:3]),
            )
            for index, binding in enumerate(self.settings.bindings)
            if binding["active"]
        ]
        return drawn[:1] if grey else drawn

    def _planes(self, plane: Any) -> dict[int, np.ndarray]:
        array, region = self.reading.at_level(), plane.region
        rows = columns = slice(None)
        if region is not None and region.width and region.height:
            rows = slice(region.y, region.y + region.height)
            columns = slice(region.x, region.x + region.width)
        self.buffer.check(z=plane.z, t=plane.t)
        return {
            channel.index: array[plane.t, channel.index, plane.z, rows, columns]
            for channel in self._channels()
        }

    def renderCompressed(self, plane: Any) -> bytes:
        """Return a plane, or a part of it, as JPEG."""
        return jpeg(paint(self._planes(plane), self._channels()), self._quality)

    def renderAsPackedInt(self, plane: Any) -> list[int]:
        """Return a plane as integers of ARGB."""
        rgb = paint(self._planes(plane), self._channels()).astype(np.uint32)
        packed = (0xFF << 24) | (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
        return [int(value) for value in packed.astype(np.int32).ravel()]

    def renderProjectedCompressed(
        self, algorithm: Any, t: int, stepping: int, start: int, end: int
    ) -> bytes:
        """Return the planes from start to end made one, as JPEG."""
        array, project = self.reading.array(), _PROJECTIONS[algorithm]
        channels = self._channels()
        planes = {
            channel.index: project(array[t, channel.index, start : end + 1 : stepping], axis=0)
            for channel in channels
        }
        return jpeg(paint(planes, channels), self._quality)
