"""Read OME-Zarr: images, collections of images, and plates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.libraries import library
from parfocal.images.ngff import read_axes, read_channels, read_scales
from parfocal.images.readers.source import Source
from parfocal.images.stores import open_level
from parfocal.models.image import Channel, ImageMetadata

__all__ = [
    "OmeZarrSource",
    "is_label_image",
    "is_zarr",
    "open_source",
    "read_attributes",
    "series_names",
]

_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


def is_zarr(path: Path) -> bool:
    """Tell whether the folder is a Zarr group or array."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a Zarr group; those of NGFF under ``ome``.

    Raises
    ------
    InputError
        If the metadata cannot be read.
    """
    name = "zarr.json" if (path / "zarr.json").is_file() else ".zattrs"
    file = path / name
    if not file.is_file():
        return {"ome": {}}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = "The metadata of the OME-Zarr cannot be read"
        raise InputError(what, where=file, expected="JSON", found=error) from error
    attributes = content.get("attributes", {}) if name == "zarr.json" else content
    if not isinstance(attributes, dict):
        what = "The attributes of the OME-Zarr are no object"
        raise InputError(what, where=file, found=type(attributes).__name__)
    if "ome" in attributes:
        return attributes
    known = {"multiscales", "omero", "plate", "well", "image-label", "labels"}
    known |= {"bioformats2raw.layout", "series"}
    ome = {key: value for key, value in attributes.items() if key in known}
    rest = {key: value for key, value in attributes.items() if key not in known}
    return {"ome": ome} | rest


def is_label_image(path: Path) -> bool:
    """Tell whether an OME-Zarr is a label image, by NGFF's mark or by Parfocal's.

    Raises
    ------
    InputError
        If the metadata cannot be read.
    """
    attributes = read_attributes(path)
    own = attributes.get("parfocal")
    return "image-label" in attributes["ome"] or (isinstance(own, dict) and "source" in own)


def series_names(path: Path) -> list[str]:
    """List the images of an OME-Zarr by their paths within it; the empty one is itself.

    Raises
    ------
    InputError
        If there is no image.
    """
    ome = read_attributes(path)["ome"]
    if "multiscales" in ome:
        return [""]
    if "plate" in ome:
        found = list(_fields(path, ome["plate"]))
    elif "well" in ome:
        found = [image["path"] for image in ome["well"].get("images", ())]
    elif "bioformats2raw.layout" in ome:
        found = _collected(path)
    else:
        found = []
    if not found:
        what = "The Zarr holds no image"
        expected = "OME-NGFF metadata: multiscales, plate, well or bioformats2raw.layout"
        remedy = "Give an OME-Zarr whose own group has these metadata."
        raise InputError(
            what, where=path, expected=expected, found=sorted(ome) or "none", remedy=remedy
        )
    return found


def _fields(path: Path, plate: Mapping[str, Any]) -> Iterator[str]:
    for well in plate.get("wells", ()):
        inside = read_attributes(path / well["path"])["ome"].get("well", {})
        for image in inside.get("images", ()):
            yield f"{well['path']}/{image['path']}"


def _collected(path: Path) -> list[str]:
    """List the images of a bioformats2raw layout, as it says or else by number."""
    if (path / "OME").is_dir():
        series = read_attributes(path / "OME")["ome"].get("series")
        if series:
            return [str(name) for name in series]
    numbered = [folder.name for folder in path.iterdir() if folder.name.isdecimal()]
    return sorted((name for name in numbered if is_zarr(path / name)), key=int)


class OmeZarrSource(Source):
    """An OME-Zarr: an image, a collection of images, or a plate."""

    @cached_property
    def _names(self) -> list[str]:
        return series_names(self.path)

    def names(self) -> list[str]:
        """Return the paths of the images within it; the empty one is itself."""
        return self._names

    def image(self, place: int) -> Image:
        """Return an image; chunks are decoded by as many threads as the options say."""
        image = _open(self.path, self._names[place], self.options.threads)
        if self._plate is None:
            return image
        series, own = self._names[place], image.metadata.name
        # Fields are mostly all called 0: the name has to tell the well.
        name = series if own in (None, PurePosixPath(series).name) else f"{series} {own}"
        return replace(image, metadata=image.metadata.model_copy(update={"name": name}))

    def entries(self) -> list[ImageEntry]:
        """List all images; those of a plate with their wells."""
        entries = super().entries()
        if self._plate is None:
            return entries
        plate = str(self._plate.get("name") or self.path.name)
        places = [PurePosixPath(entry.series) for entry in entries]
        return [
            replace(entry, plate=plate, well="".join(place.parent.parts), field=place.name)
            for entry, place in zip(entries, places, strict=True)
        ]

    @cached_property
    def _plate(self) -> Mapping[str, Any] | None:
        found = read_attributes(self.path)["ome"].get("plate")
        return found if isinstance(found, dict) else None


open_source = OmeZarrSource


def _open(path: Path, series: str, threads: int) -> Image:
    where = path / series if series else path
    attributes = read_attributes(where)
    ome = attributes.pop("ome")
    warn: list[str] = []
    multiscale, datasets = _multiscale(ome, where, warn)
    if (where / "labels").is_dir():
        warn.append(f"{where} has label images: they are images of their own, not part of it")
    axes, units = read_axes(multiscale, where)
    pyramid = tuple(open_level(where / name, axes, threads) for name in datasets)
    base = pyramid[0]
    _check_dtype(base.dtype, where / datasets[0])
    if base.stored_dtype == np.bool_:
        warn.append(f"{where} holds true and false: they are read as 1 and 0 of uint8")
    own = attributes.get("parfocal") or {}
    channels = _channels(ome.get("omero") or {}, own, base.shape5[1], warn)
    sizes = read_scales(multiscale, axes, units, warn)
    kept = [size for axis, size in zip("TCZYX", base.shape5, strict=True) if axis in axes]
    metadata = ImageMetadata(
        name=str(multiscale.get("name") or where.name),
        axes=axes,
        shape=tuple(kept),
        dtype=base.dtype.name,
        z_um=sizes.get("Z"),
        y_um=sizes.get("Y"),
        x_um=sizes.get("X"),
        time_increment_s=sizes.get("T"),
        **_stage(own),
        channels=channels,
        rgb=_is_rgb(own, channels, base.dtype),
    )
    return Image(
        metadata=metadata,
        pyramid=pyramid,
        block5=base.chunk5,
        reader=library("tensorstore"),
        warnings=tuple(warn),
        original_metadata=_originals(path, where),
        attributes=attributes,
    )


def _multiscale(
    ome: Mapping[str, Any], where: Path, warn: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the first multiscales entry, and the paths of its levels."""
    try:
        multiscales = ome["multiscales"]
        multiscale = multiscales[0]
        datasets = [str(dataset["path"]) for dataset in multiscale["datasets"]]
        _ = datasets[0]
    except (KeyError, IndexError, TypeError) as error:
        what = "The OME-Zarr has no valid multiscales metadata"
        expected = "multiscales with datasets, each with a path"
        found = f"no {error}" if isinstance(error, KeyError) else "an empty list, or another kind"
        raise InputError(what, where=where, expected=expected, found=found) from error
    if len(multiscales) > 1:
        warn.append(f"{where} has {len(multiscales)} multiscales: only the first is read")
    return multiscale, datasets


def _check_dtype(dtype: np.dtype[Any], where: Path) -> None:
    if dtype.kind not in "iuf" or dtype.name == "bfloat16":
        what = "The data type of the OME-Zarr is not supported"
        raise InputError(what, where=where, expected="integers or floats", found=dtype.name)


def _channels(
    omero: Mapping[str, Any], own: Mapping[str, Any], count: int, warn: list[str]
) -> tuple[Channel, ...]:
    """Return the channels, in full where Parfocal wrote them."""
    described = own.get("channels") or ()
    if len(described) == count:
        return tuple(Channel.model_validate(row) for row in described)
    return read_channels(omero, count, warn)


def _stage(own: Mapping[str, Any]) -> dict[str, float]:
    """Return the place of the stage, which NGFF has no words for, where Parfocal wrote it."""
    stage = own.get("stage_um") or {}
    return {f"stage_{axis}_um": float(stage[axis]) for axis in "zyx" if axis in stage}


def _is_rgb(own: Mapping[str, Any], channels: tuple[Channel, ...], dtype: np.dtype[Any]) -> bool:
    """Tell whether the channels are red, green and blue, as written by us or by others."""
    if own.get("rgb") is True:
        return len(channels) in (0, 3)
    colors = tuple(channel.color for channel in channels)
    initials = "".join((channel.name or " ")[0].upper() for channel in channels)
    return colors == ("FF0000", "00FF00", "0000FF") and initials == "RGB" and dtype == np.uint8


def _originals(path: Path, where: Path) -> dict[str, bytes]:
    """Return the texts below ``OME`` of the image or of the collection it is part of."""
    texts: dict[str, bytes] = {}
    for folder in dict.fromkeys((path / "OME", where / "OME")):  # its own come last, and count
        if folder.is_dir():
            for file in sorted(folder.iterdir()):
                if file.is_file() and file.name not in _MARKS:
                    texts[file.name] = file.read_bytes()
    return texts
