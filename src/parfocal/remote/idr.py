"""What the Image Data Resource holds: studies, containers and images, with their annotations.

Source: the JSON API of OMERO.web (``/api/v0/m/``), and the annotations that its client shows
(``/webclient/api/annotations/``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from parfocal.core.step import Context
from parfocal.errors import InputError, RemoteError
from parfocal.models.found_image import FoundImage, columns_of
from parfocal.models.naming import well_name
from parfocal.models.source import IdrSource
from parfocal.remote.facts import joined_names
from parfocal.remote.limits import Limits
from parfocal.remote.retry import Retry
from parfocal.remote.together import together
from parfocal.remote.web_api import WebApi, base_url

__all__ = ["URL_VARIABLE", "IdrApi", "list_idr"]

URL_VARIABLE = "PARFOCAL_IDR_URL"

_URL = "https://idr.openmicroscopy.org"
_PAGE = 200
_AT_ONCE = 50
_MOST_ASKED = 5_000
_PLURAL = {"project": "projects", "dataset": "datasets", "screen": "screens", "plate": "plates"}
_PLURAL |= {"well": "wells", "image": "images"}
_INNER = {"project": "dataset", "dataset": "image", "screen": "plate", "plate": "well"}
_PIXEL_TYPES = {name: name for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32")}
_PIXEL_TYPES |= {"float": "float32", "double": "float64"}
_Columns = dict[str, str]


def list_idr(
    source: IdrSource,
    context: Context,
    is_wanted: Callable[[str], bool],
    retry: Retry | None = None,
) -> list[FoundImage]:
    """Return the images of a study, project, dataset, screen, plate or well, or the one image.

    Sizes, channels, the names of what they lie in, key-value pairs and tags are columns.

    Parameters
    ----------
    source : IdrSource
        What to list.
    context : Context
        For warnings.
    is_wanted : callable
        Tells by the name of an image whether to list it; of others nothing more is asked.
    retry : Retry, optional
        How often to try.

    Raises
    ------
    InputError
        If there is no such thing.
    RemoteError
        If the IDR does not answer.
    """
    return asyncio.run(_list(source, IdrApi(retry), context, is_wanted))


async def _list(
    source: IdrSource, api: IdrApi, context: Context, is_wanted: Callable[[str], bool]
) -> list[FoundImage]:
    if source.kind == "study":
        tops = await api.experiments(source.id)
    else:
        tops = [(source.kind, await api.object(source.kind, source.id))]
    found: list[FoundImage] = []
    for kind, top in tops:
        found += await _images_in(api, kind, top, {})
    wanted = [image for image in found if is_wanted(image.name)]
    wanted = await _with_channels(api, wanted, context)
    return await _with_annotations(api, wanted)


class IdrApi:
    """The web interface of the IDR, or of a copy of it.

    Parameters
    ----------
    retry : Retry, optional
        How often to try.
    """

    def __init__(self, retry: Retry | None = None) -> None:
        self.web = WebApi(base_url(URL_VARIABLE, _URL), retry)

    async def object(self, kind: str, number: str) -> dict[str, Any]:
        """Return what the API tells of an object.

        Raises
        ------
        InputError
            If there is none.
        """
        answer = await self.web.get(f"/api/v0/m/{_PLURAL[kind]}/{number}/")
        if answer is None:
            what = f"The IDR has no such {kind}"
            raise InputError(what, where=f"idr:{kind}/{number}", remedy="Check the number.")
        row: dict[str, Any] = self._checked(answer.get("data"), dict, f"{kind} {number}")
        return row

    async def objects(self, path: str) -> list[dict[str, Any]]:
        """Return all objects of a list, in its order."""
        found: list[dict[str, Any]] = []
        while True:
            query = [("limit", _PAGE), ("offset", len(found))]
            page = await self.web.get(f"/api/v0/m/{path}/", query) or {}
            rows = self._checked(page.get("data"), list, path)
            found += rows
            total = page.get("meta", {}).get("totalCount", len(found))
            if not rows or len(found) >= total:
                return found

    def _checked(self, value: Any, kind: type, what: str) -> Any:
        if isinstance(value, kind):
            return value
        told = "The answer of the IDR is not understood"
        raise RemoteError(told, where=self.web.base, expected=what, found=type(value).__name__)

    async def experiments(self, study: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the projects and screens of a study, or those of its experiment.

        They are called ``idr0062-blin-nuclearsegmentation/experimentA`` and the like.

        Raises
        ------
        InputError
            If there are none.
        """
        accession, _, wanted = study.partition("/")
        found = []
        for kind in ("project", "screen"):
            for row in await self.objects(_PLURAL[kind]):
                name = str(row.get("Name", ""))
                last = name.rpartition("/")[2]
                fits = wanted in ("", last) or (len(wanted) == 1 and last.endswith(wanted))
                if re.match(rf"{accession}(-|/|$)", name) and fits:
                    found.append((kind, row))
        if not found:
            what = "The IDR has no such study or experiment"
            remedy = "Check the accession on the page of studies of the IDR."
            raise InputError(what, where=f"idr:{study}", remedy=remedy)
        return found

    async def annotations(
        self, kind: str, ids: Sequence[str]
    ) -> dict[str, tuple[list[tuple[str, str]], list[str]]]:
        """Return key-value pairs and tags of some objects of a kind, by their ids."""
        found: dict[str, tuple[list[tuple[str, str]], list[str]]] = {}
        for start in range(0, len(ids), _AT_ONCE):
            some = [(kind, number) for number in ids[start : start + _AT_ONCE]]
            for type_ in ("map", "tag"):
                query = [("type", type_), *some, ("limit", 100_000)]
                answer = await self.web.get("/webclient/api/annotations/", query) or {}
                rows = self._checked(answer.get("annotations"), list, "annotations")
                for row in rows:
                    _sort_in(row, found)
        return found


def _sort_in(
    row: Mapping[str, Any], found: dict[str, tuple[list[tuple[str, str]], list[str]]]
) -> None:
    parent = str(row.get("link", {}).get("parent", {}).get("id", ""))
    pairs, tags = found.setdefault(parent, ([], []))
    pairs += [(str(pair[0]), str(pair[1])) for pair in row.get("values") or () if len(pair) == 2]
    if "textValue" in row:
        tags.append(str(row["textValue"]))


async def _images_in(
    api: IdrApi, kind: str, row: Mapping[str, Any], columns: _Columns
) -> list[FoundImage]:
    if kind == "image":
        return [_image(row, columns)]
    if kind == "well":
        if "WellSamples" not in row:
            row = await api.object("well", str(row["@id"]))
        return _fields(row, columns)
    columns = columns | {kind: _name(row)}
    inner = _INNER[kind]
    rows = await api.objects(f"{_PLURAL[kind]}/{row['@id']}/{_PLURAL[inner]}")
    found: list[FoundImage] = []
    for part in rows:
        found += await _images_in(api, inner, part, columns)
    return found


def _name(row: Mapping[str, Any]) -> str:
    return " ".join(str(row.get("Name", "")).split())


def _image(row: Mapping[str, Any], columns: Mapping[str, str]) -> FoundImage:
    rest = {key: value for key, value in columns.items() if key != "plate"}
    pixels = row.get("Pixels", {})
    sizes = {
        f"size_{axis.lower()}": str(pixels[f"Size{axis}"])
        for axis in "TCZYX"
        if f"Size{axis}" in pixels
    }
    kind = _PIXEL_TYPES.get(pixels.get("Type", {}).get("value", ""))
    sizes |= {"dtype": kind} if kind else {}
    source = IdrSource("image", str(row["@id"]))
    plate = columns.get("plate", "")
    return FoundImage(
        source.uri, _name(row), plate, columns=rest | {"idr_image": source.id} | sizes
    )


def _fields(row: Mapping[str, Any], columns: _Columns) -> list[FoundImage]:
    well = well_name(int(row["Row"]), int(row["Column"]))
    found = []
    for number, sample in enumerate(row.get("WellSamples") or ()):
        if "Image" in sample:
            image = _image(sample["Image"], columns | {"idr_well": str(row["@id"])})
            found.append(
                FoundImage(
                    image.source, image.name, image.plate, well, str(number + 1), image.columns
                )
            )
    return found


async def _with_annotations(api: IdrApi, found: Iterable[FoundImage]) -> list[FoundImage]:
    """Add key-value pairs and tags of the images, and of the wells that they lie in."""
    images = list(found)
    of_images = await api.annotations("image", [image.columns["idr_image"] for image in images])
    wells = dict.fromkeys(image.columns.get("idr_well", "") for image in images)
    of_wells = await api.annotations("well", [well for well in wells if well])
    none: tuple[list[tuple[str, str]], list[str]] = ([], [])
    done = []
    for image in images:
        pairs, tags = of_images.get(image.columns["idr_image"], none)
        more, others = of_wells.get(image.columns.get("idr_well", ""), none)
        told = columns_of([*pairs, *more], [*tags, *others])
        known = image.columns
        columns = {f"key:{k}" if k in known else k: v for k, v in told.items()}
        done.append(dataclasses.replace(image, columns={**known, **columns}))
    return done


async def _with_channels(
    api: IdrApi, images: Sequence[FoundImage], context: Context
) -> list[FoundImage]:
    """Add the names of the channels, which the IDR tells of one image at a time."""
    found = list(images)
    if len(found) > _MOST_ASKED:
        context.warn(
            f"the names of channels are not asked for, of {len(found)} images: list up to "
            f"{_MOST_ASKED} at a time to have them as a column"
        )
        return found
    queue = iter(list(enumerate(found)))

    async def work() -> None:
        for number, image in queue:
            row = await api.object("image", image.columns["idr_image"])
            channels = row.get("Pixels", {}).get("Channels") or ()
            if names := joined_names([each.get("Name") for each in channels]):
                found[number] = dataclasses.replace(
                    image, columns={**image.columns, "channels": names}
                )

    in_flight = Limits.from_environment().in_flight
    await together(work() for _ in range(min(in_flight, len(found))))
    return found
