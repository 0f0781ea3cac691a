"""What an OME-Zarr on a web server consists of, found from its metadata without listing."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parfocal.errors import InputError, RemoteError
from parfocal.remote.chunks import ChunkGrid, grid_of_v2, grid_of_v3
from parfocal.remote.site import Site

__all__ = ["MissingMetadataError", "RemoteImage", "Tree", "open_tree"]

_REMEDY = "Check that the URL is that of a valid OME-Zarr."


class MissingMetadataError(RemoteError):
    """The server answers, and a document that an OME-Zarr must have is not there."""


@dataclass(frozen=True)
class RemoteImage:
    """One image of an OME-Zarr: its group below the root, where it lies on a plate, and more.

    `columns` has what its metadata tell, for the sample sheet, where that was asked for.
    """

    path: str
    plate: str = ""
    well: str = ""
    field: str = ""
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Tree:
    """The groups and arrays of an OME-Zarr that were visited so far.

    Parameters
    ----------
    site : Site
        The root of the OME-Zarr.
    zarr_format : {2, 3}
        Version of Zarr.

    Attributes
    ----------
    documents : dict of str to bytes
        Each metadata document that was found, by its key.
    grids : list of ChunkGrid
        The arrays whose chunks are wanted.
    """

    def __init__(self, site: Site, zarr_format: int) -> None:
        self.site = site
        self.zarr_format = zarr_format
        self.documents: dict[str, bytes] = {}
        self.grids: list[ChunkGrid] = []

    async def list_images(self) -> list[RemoteImage]:
        """Return the images of the root: itself, the fields of its wells, or its series.

        Raises
        ------
        InputError
            If the root holds no OME-Zarr metadata, or it is not valid.
        RemoteError
            If metadata cannot be read.
        """
        attributes = await self._group("")
        if self.zarr_format == 2:
            await self._optional(".zmetadata")
        if "multiscales" in attributes:
            return [RemoteImage("")]
        if "plate" in attributes:
            return await self._images_of_plate(attributes["plate"])
        if "well" in attributes:
            return await self._images_of_well("", attributes["well"], "", "")
        if "bioformats2raw.layout" in attributes:
            return [RemoteImage(path) for path in await self._series()]
        what = "The Zarr at the URL holds no image that OME-NGFF describes"
        expected = "multiscales, plate, well or bioformats2raw.layout"
        found = f"attributes {sorted(attributes)}"
        raise InputError(what, where=self.site.url, expected=expected, found=found, remedy=_REMEDY)

    async def largest_level(self, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the NGFF attributes of an image, and the document of its largest level.

        Both are empty where they are missing or not valid.

        Raises
        ------
        RemoteError
            If metadata cannot be read.
        """
        try:
            group = await self._group(path, required=False)
            level = group["multiscales"][0]["datasets"][0]["path"]
            (level,) = _strings([level], self.site.address(path))
            name = "zarr.json" if self.zarr_format == 3 else ".zarray"
            return group, await self._optional(_join(path, level, name))
        except (InputError, KeyError, TypeError, IndexError):
            return {}, {}

    async def add_image(self, path: str) -> None:
        """Take in all levels of the image at `path`, its OME-XML, and its label images."""
        await self._add_levels(path, await self._group(path))
        await self._ome(path)
        labels = _join(path, "labels")
        names = (await self._group(labels, required=False)).get("labels", [])
        for name in _strings(names, self.site.address(labels)):
            label = _join(labels, name)
            await self._add_groups_between(labels, label)
            await self._add_levels(label, await self._group(label))

    async def _add_levels(self, path: str, attributes: Mapping[str, Any]) -> None:
        where = self.site.address(path)
        try:
            levels = [
                str(level["path"])
                for scale in attributes["multiscales"]
                for level in scale["datasets"]
            ]
        except (KeyError, TypeError) as error:
            raise _invalid(where, "multiscales with datasets", error) from error
        for level in _strings(levels, where):
            array = _join(path, level)
            await self._add_groups_between(path, array)
            self.grids.append(await self._array(array))

    async def _add_groups_between(self, outer: str, inner: str) -> None:
        parts = inner.removeprefix(outer).strip("/").split("/")[:-1]
        for number in range(1, len(parts) + 1):
            await self._group(_join(outer, "/".join(parts[:number])), required=False)

    async def _array(self, path: str) -> ChunkGrid:
        if self.zarr_format == 3:
            key = _join(path, "zarr.json")
            return grid_of_v3(path, await self._required(key), self.site.address(key))
        key = _join(path, ".zarray")
        document = await self._required(key)
        await self._optional(_join(path, ".zattrs"))
        return grid_of_v2(path, document, self.site.address(key))

    async def _group(self, path: str, *, required: bool = True) -> dict[str, Any]:
        """Return the NGFF attributes of a group."""
        if self.zarr_format == 2:
            await self._optional(_join(path, ".zgroup"))
            key = _join(path, ".zattrs")
            return await (self._required(key) if required else self._optional(key))
        key = _join(path, "zarr.json")
        document = await (self._required(key) if required else self._optional(key))
        attributes = document.get("attributes", {})
        ome = attributes.get("ome", attributes) if isinstance(attributes, dict) else None
        if not isinstance(ome, dict):
            raise _invalid(
                self.site.address(key), "a JSON object as attributes", type(ome).__name__
            )
        return ome

    async def _required(self, key: str) -> dict[str, Any]:
        document = await self._optional(key)
        if key not in self.documents:
            what = "A metadata document of the OME-Zarr is missing"
            where = self.site.address(key)
            found = "status 404 Not Found"
            raise MissingMetadataError(what, where=where, found=found, remedy=_REMEDY)
        return document

    async def _optional(self, key: str) -> dict[str, Any]:
        if key not in self.documents:
            data = await self.site.read(key)
            if data is None:
                return {}
            self.documents[key] = data
        if key.endswith(".xml"):
            return {}
        return _parse(self.documents[key], self.site.address(key))

    async def _images_of_plate(self, plate: Any) -> list[RemoteImage]:
        try:
            name = str(plate.get("name") or self.site.url.rsplit("/", 1)[-1])
            paths = [str(well["path"]) for well in plate["wells"]]
        except (AttributeError, KeyError, TypeError) as error:
            raise _invalid(self.site.url, "a plate with wells", error) from error
        paths = _strings(paths, self.site.url)
        for row in sorted({path.split("/")[0] for path in paths if "/" in path}):
            await self._group(row, required=False)
        wells = await asyncio.gather(*(self._group(path) for path in paths))
        images: list[RemoteImage] = []
        for path, well in zip(paths, wells, strict=True):
            label = "".join(path.split("/"))
            images += await self._images_of_well(path, well.get("well"), name, label)
        return images

    async def _images_of_well(
        self, path: str, well: Any, plate: str, label: str
    ) -> list[RemoteImage]:
        where = self.site.address(path)
        try:
            fields = [str(image["path"]) for image in well["images"]]
        except (KeyError, TypeError) as error:
            raise _invalid(where, "a well with images", error) from error
        return [RemoteImage(_join(path, f), plate, label, f) for f in _strings(fields, where)]

    async def _ome(self, path: str) -> dict[str, Any]:
        await self._optional(_join(path, "OME/METADATA.ome.xml"))
        return await self._group(_join(path, "OME"), required=False)

    async def _series(self) -> list[str]:
        ome = await self._ome("")
        if "series" in ome:
            return _strings(ome["series"], self.site.address("OME"))
        found: list[str] = []
        # Without a list, the series are numbered from 0 without a gap, says NGFF.
        while "multiscales" in await self._group(str(len(found)), required=False):
            found.append(str(len(found)))
        return found


async def open_tree(site: Site) -> Tree | None:
    """Return the Zarr at a URL, or None if there is none.

    Raises
    ------
    RemoteError
        If the server does not answer.
    """
    for zarr_format, keys in ((3, ["zarr.json"]), (2, [".zattrs", ".zgroup"])):
        tree = Tree(site, zarr_format)
        for key in keys:
            data = await site.read_if_any(key)
            if data is not None and _is_json_object(data):
                tree.documents[key] = data
                return tree
    return None


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise _invalid(where, "JSON", error) from error
    if not isinstance(document, dict):
        raise _invalid(where, "a JSON object", type(document).__name__)
    return document


def _is_json_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except ValueError:
        return False


def _strings(paths: Any, where: str) -> list[str]:
    """Check paths that a server names: they must not lead out of the folder."""
    if not isinstance(paths, list):
        raise _invalid(where, "a list of paths", type(paths).__name__)
    for path in paths:
        parts = path.split("/") if isinstance(path, str) else [""]
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise _invalid(where, "paths below the group", repr(path))
    return paths


def _invalid(where: str, expected: str, found: object) -> InputError:
    what = "The OME-Zarr metadata is not valid"
    return InputError(what, where=where, expected=expected, found=found, remedy=_REMEDY)
