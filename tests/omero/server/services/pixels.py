"""IPixels: makes images and tells how their pixels are laid out."""

from __future__ import annotations

from typing import Any

import omero
from omero.rtypes import rlong, unwrap
from tests.omero.server.entities import Entity
from tests.omero.server.permissions import Right, check, check_read
from tests.omero.server.render import render_one
from tests.omero.server.servants import Service

__all__ = ["DESCRIPTION", "Pixels", "pixel_shape"]

# What retrievePixDescription loads along.
DESCRIPTION = (
    "pixelsType",
    "channels.logicalChannel.photometricInterpretation",
    "channels.logicalChannel.illumination",
    "channels.logicalChannel.mode",
    "channels.logicalChannel.contrastMethod",
    "channels.statsInfo",
)
_BITS = {"bit": 1, "complex": 64, "double": 64, "double-complex": 128, "float": 32}


def pixel_shape(pixels: Entity) -> tuple[int, int, int, int, int]:
    """Return (T, C, Z, Y, X) of a Pixels object."""
    t, c, z, y, x = (int(pixels["size" + axis]) for axis in "TCZYX")
    return t, c, z, y, x


class Pixels(Service):
    """Implements `omero.api.IPixels`, without rendering settings being copied."""

    interface = omero.api.IPixels

    def createImage(
        self,
        size_x: int,
        size_y: int,
        size_z: int,
        size_t: int,
        channels: list[int],
        pixels_type: Any,
        name: str,
        description: str | None,
    ) -> Any:
        """Make an image without bytes yet; return its id."""
        if not channels:
            raise _invalid("Channel list must be filled.")
        type_id = pixels_type.getId().getValue()
        values = {"name": name, "description": description or None}
        image = self._add("Image", **values)
        sizes = {"X": size_x, "Y": size_y, "Z": size_z, "C": len(channels), "T": size_t}
        pixels = self._add(
            "Pixels",
            image=image,
            pixelsType=self.store.get("PixelsType", type_id),
            dimensionOrder=self.store.find_by("DimensionOrder", "value", "XYZCT"),
            sha1="Pending...",
            **{f"size{axis}": size for axis, size in sizes.items()},
        )
        for _ in channels:
            self._add("Channel", pixels=pixels, logicalChannel=self._add("LogicalChannel"))
        return rlong(image.id)

    def copyAndResizeImage(
        self,
        image_id: int,
        size_x: Any,
        size_y: Any,
        size_z: Any,
        size_t: Any,
        channels: list[int] | None,
        name: str | None,
        copy_stats: bool,
    ) -> Any:
        """Make an image like another, without its bytes; return its id."""
        source = self._readable("Image", image_id)
        kept = ("acquisitionDate", "objectiveSettings", "imagingEnvironment", "experiment")
        values = {field: source[field] for field in (*kept, "stageLabel", "instrument")}
        image = self._add("Image", **{**values, "name": name or source["name"]})
        for pixels in self.store.collection(source, "pixels"):
            sizes = [unwrap(size) for size in (size_x, size_y, size_z, size_t)]
            self._copy(pixels, image, sizes, channels, copy_stats)
        return rlong(image.id)

    def _copy(
        self,
        source: Entity,
        image: Entity,
        sizes: list[int | None],
        wanted: list[int] | None,
        copy_stats: bool,
    ) -> None:
        channels = self.store.collection(source, "channels")
        chosen = list(range(len(channels))) if wanted is None else list(wanted)
        for position, index in enumerate(chosen):
            if not 0 <= index < len(channels):
                raise _invalid(f"channel: {position} out of bounds")
        values = {
            f"size{axis}": source["size" + axis] if size is None else size
            for axis, size in zip("XYZT", sizes, strict=True)
        }
        for field in ("dimensionOrder", "pixelsType", *(f"physicalSize{axis}" for axis in "XYZ")):
            values[field] = source[field]
        pixels = self._add(
            "Pixels",
            image=image,
            relatedTo=source,
            sizeC=len(chosen),
            sha1="Pending...",
            **values,
        )
        for index in chosen:
            channel = self._add(
                "Channel", pixels=pixels, logicalChannel=channels[index]["logicalChannel"]
            )
            stats = channels[index]["statsInfo"]
            if copy_stats and stats is not None:
                copied = {end: stats[end] for end in ("globalMin", "globalMax")}
                self.store.set(channel, "statsInfo", self._add("StatsInfo", **copied))

    def setChannelGlobalMinMax(
        self, pixels_id: int, index: int, minimum: float, maximum: float
    ) -> None:
        """Set the range of a channel."""
        pixels = self._readable("Pixels", pixels_id)
        channels = self.store.collection(pixels, "channels")
        if not 0 <= index < len(channels):
            raise omero.InternalException(
                None, "java.lang.IndexOutOfBoundsException", f"Index: {index}"
            )
        check(self.call, channels[index], Right.EDIT)
        stats = channels[index]["statsInfo"]
        if stats is None:
            stats = self._add("StatsInfo", globalMin=minimum, globalMax=maximum)
            self.store.set(channels[index], "statsInfo", stats)
        self.store.set(stats, "globalMin", minimum)
        self.store.set(stats, "globalMax", maximum)

    def retrievePixDescription(self, pixels_id: int) -> Any:
        """Return a Pixels object with its type, channels and their ranges."""
        pixels = self._readable("Pixels", pixels_id)
        return render_one(self.call, pixels, *DESCRIPTION)

    def getAllEnumerations(self, name: str) -> list[Any]:
        """Return all values of an enumeration."""
        return [render_one(self.call, e) for e in self.store.all(name.rpartition(".")[2])]

    def getEnumeration(self, name: str, value: str) -> Any:
        """Return one value of an enumeration, None when there is none."""
        found = self.store.find_by(name.rpartition(".")[2], "value", value)
        return found and render_one(self.call, found)

    def getBitDepth(self, pixels_type: Any) -> int:
        """Return the bits of a pixel."""
        name = pixels_type.getValue().getValue()
        return _BITS.get(name) or int(name.lstrip("uint"))

    def _readable(self, kind: str, number: int) -> Entity:
        entity = self.store.get(kind, number)
        if entity is None:
            raise _invalid(f"No row with the given identifier exists: [{kind}#{number}]")
        check_read(self.call, entity)
        return entity

    def _add(self, kind: str, **values: Any) -> Entity:
        filled = {field: value for field, value in values.items() if value is not None}
        return self.store.add(kind, filled, self.call.new_details())


def _invalid(text: str) -> omero.ValidationException:
    return omero.ValidationException(None, "ome.conditions.ValidationException", text)
