"""Open ImageXpress plates of MetaXpress by their HTD file."""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.readers.planes import metamorph
from parfocal.images.readers.planes.files import PlaneFilesSource
from parfocal.images.readers.planes.plane_set import (
    REMEDY,
    Plane,
    PlaneImage,
    PlaneSet,
    consecutive,
    even_step,
    well_name,
    whole_images,
)
from parfocal.images.readers.series import choose_series
from parfocal.models.image import Channel

__all__ = ["open_source"]

_STEP_FOLDER = re.compile(r"(TimePoint|ZStep)_(\d+)", re.IGNORECASE)
_FILE = re.compile(
    r"_(?P<row>[A-Z]{1,2})(?P<column>\d{1,2})(?:_s(?P<site>\d+))?(?:_w(?P<wave>\d+))?"
    r"(?P<thumb>_thumb)?(?:[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12})?\.tiff?",
    re.IGNORECASE,
)
_PROJECTION = "projection"
_Found = dict[tuple[str, int], dict[tuple[int, int, int], list[Path]]]
"""By well and site: files by time point, wave and Z step, as MetaXpress numbers them."""


@dataclass(frozen=True)
class _Plan:
    """What the HTD file says was to be taken."""

    stem: str
    wells: tuple[str, ...]
    grid: tuple[int, ...]
    waves: Mapping[int, str]
    times: int
    steps: int


class ImageXpressSource(PlaneFilesSource):
    """The HTD file of a plate; a copy of it in a folder below stands for that of the plate.

    ``B02/1`` is a site, and ``B02/1/projection`` its projection along Z, which is not listed.
    """

    @property
    def _projections(self) -> PlaneSet | None:
        return _sets(self.path)[1]

    def _find(self) -> PlaneSet:
        return _sets(self.path)[0]

    def entries(self) -> list[ImageEntry]:
        """List the sites of the wells; projections along Z are told as beside them."""
        beside = self._projections.images if self._projections else {}
        aside = {key.rpartition("/")[0]: (key,) for key in beside}
        return [
            dataclasses.replace(entry, aside=aside.get(entry.series, ()))
            for entry in super().entries()
        ]

    def choose(self, series: str) -> int:
        """Return the place of a site, or that of a projection after all sites."""
        if self._projections is None or not series.endswith(f"/{_PROJECTION}"):
            return super().choose(series)
        names = list(self._projections.images)
        return len(self.names()) + choose_series(self.path, series, names)

    def image(self, place: int) -> Image:
        """Return a site, or a projection."""
        after = place - len(self.names())
        if self._projections is not None and after >= 0:
            return self._image(self._projections, after)
        return super().image(place)

    def other_files(self) -> list[Path]:
        """Return the TIFFs, there or missing, with thumbnails and copies of the HTD file."""
        path, home = self.path, _home(self.path)
        stem = path.stem.lower()
        planned = self.planes.files()
        if self._projections is not None:
            planned |= self._projections.files()
        there = {
            file
            for _, folder in _folders(home)
            for file in folder.iterdir()
            if file.name.lower() == path.name.lower()
            or (file.name.lower().startswith(f"{stem}_") and _FILE.fullmatch(file.name, len(stem)))
        }
        return sorted((planned | there) - {path})


def _home(path: Path) -> Path:
    """Return the folder of the plate, for its HTD file or a copy of that further down."""
    folder = path.parent
    while _STEP_FOLDER.fullmatch(folder.name) and (folder.parent / path.name).is_file():
        folder = folder.parent
    return folder


def _folders(home: Path) -> list[tuple[tuple[int, int], Path]]:
    """List the folders of planes, with time point and Z step; 1 where no folder says it."""
    found = [((1, 1), home)]
    for time, inner in _steps(home, "timepoint"):
        found.append(((time, 1), inner))
        found += [((time, step), deep) for step, deep in _steps(inner, "zstep")]
    found += [((1, step), deep) for step, deep in _steps(home, "zstep")]
    return found


def _steps(folder: Path, kind: str) -> Iterator[tuple[int, Path]]:
    for inner in sorted(folder.iterdir()):
        match = _STEP_FOLDER.fullmatch(inner.name)
        if match and match[1].lower() == kind and inner.is_dir():
            yield int(match[2]), inner


def _sets(path: Path) -> tuple[PlaneSet, PlaneSet | None]:
    """Return the images of a plate, and their projections along Z if there are both."""
    home = _home(path)
    folders = _folders(home)
    stamps = tuple((folder, folder.stat().st_mtime_ns) for _, folder in folders)
    return _read(path, path.stat().st_mtime_ns, stamps)


@functools.lru_cache(maxsize=2)
def _read(
    path: Path,
    stamp: int,  # noqa: ARG001
    stamps: tuple[tuple[Path, int], ...],  # noqa: ARG001
) -> tuple[PlaneSet, PlaneSet | None]:
    content = path.read_bytes()
    plan = _parse(path, content)
    home = _home(path)
    found = _scan(home, plan.stem)
    steps = {step for files in found.values() for _, _, step in files}
    # MetaXpress writes a projection as Z step 0, beside the steps or in their place.
    if 0 not in steps or steps == {0}:
        return _set(path, content, plan, found, ""), None
    parts: list[_Found] = [
        {
            key: {place: files for place, files in one.items() if (place[2] == 0) is projected}
            for key, one in found.items()
        }
        for projected in (False, True)
    ]
    images = _set(path, content, plan, parts[0], "")
    told = f"{path.name} has projections along Z too, as images such as B02/1/{_PROJECTION}"
    images = dataclasses.replace(images, warnings=(*images.warnings, told))
    return images, _set(path, content, plan, parts[1], _PROJECTION)


def _parse(path: Path, content: bytes) -> _Plan:
    """Read an HTD file: lines of a key and its values, separated by commas."""
    rows = csv.reader(content.decode("latin-1").splitlines(), skipinitialspace=True)
    try:
        table = {row[0]: row[1:] for row in rows if row}
        wells = [
            well_name(row, column)
            for row in range(1, int(table["YWells"][0]) + 1)
            for column, taken in enumerate(table[f"WellsSelection{row}"], 1)
            if _true(taken)
        ]
        taken_sites = _sites(table) if _true(table["Sites"][0]) else [1]
        count = int(table["NWavelengths"][0]) if _true(table["Waves"][0]) else 1
        waves = {n: table[f"WaveName{n}"][0] for n in range(1, count + 1)}
        steps = int(table["ZSteps"][0]) if _true(table["ZSeries"][0]) else 1
        times = int(table["TimePoints"][0])
    except (KeyError, IndexError, ValueError, csv.Error) as error:
        what = "The HTD file of the plate is damaged, or of an unknown kind"
        expected = "wells, sites, waves and time points as MetaXpress writes them"
        remedy = "Copy the plate again."
        raise InputError(what, where=path, expected=expected, found=error, remedy=remedy) from error
    return _Plan(path.stem, tuple(wells), tuple(taken_sites), waves, times, max(1, steps))


def _sites(table: Mapping[str, list[str]]) -> list[int]:
    """Return the sites that were chosen, by their numbers in the grid."""
    columns = int(table["XSites"][0])
    return [
        line * columns + column + 1
        for line in range(int(table["YSites"][0]))
        for column, taken in enumerate(table[f"SiteSelection{line + 1}"])
        if _true(taken)
    ]


def _true(text: str) -> bool:
    return text.strip().upper() == "TRUE"


def _scan(home: Path, stem: str) -> _Found:
    """Find the TIFFs of a plate by their names and folders."""
    found: _Found = {}
    start = len(stem)
    for (time, step), folder in _folders(home):
        for file in sorted(folder.iterdir()):
            if not file.name.lower().startswith(f"{stem.lower()}_"):
                continue
            match = _FILE.fullmatch(file.name, start)
            if match is None or match["thumb"]:
                continue
            well = f"{match['row'].upper()}{int(match['column']):02}"
            site, wave = int(match["site"] or 1), int(match["wave"] or 1)
            places = found.setdefault((well, site), {})
            places.setdefault((time, wave, step), []).append(file)
    return found


def _set(path: Path, content: bytes, plan: _Plan, found: _Found, kind: str) -> PlaneSet:
    """Put the images of a plate together, of planes or of projections."""
    warn: list[str] = []
    there = [place for files in found.values() for place in files]
    if not there:
        what = "No images of the plate are there"
        expected = f"{plan.stem}_B02_s1_w1.TIF or the like, in folders TimePoint_1 and so on"
        remedy = f"{REMEDY} A plate of CellWorx is read by Bio-Formats: set reader=bioformats."
        raise InputError(what, where=path, expected=expected, remedy=remedy)
    times = _numbers(path, "time points", {t for t, _, _ in there}, plan.times, warn)
    planned = 0 if kind else plan.steps
    steps = _numbers(path, "Z steps", {z for _, _, z in there} - {0}, planned, warn)
    waves = sorted({wave for _, wave, _ in there})
    unnamed = [str(wave) for wave in waves if wave not in plan.waves]
    if unnamed:
        warn.append(f"{path.name} does not name waves that are there: {', '.join(unnamed)}")
    lost = {n: name for n, name in plan.waves.items() if n not in waves}
    if lost:
        told = ", ".join(f"{n} {name}".strip() for n, name in lost.items())
        what = "projections" if kind else "planes"
        warn.append(f"{path.name} names waves of which no {what} are there, left out: {told}")
    images = {
        image.series: image
        for image in _images(path, plan, found, (times, waves, steps or [0]), kind)
    }
    names = tuple(plan.waves.get(wave) or str(wave) for wave in waves)
    bare = PlaneSet(
        path=path,
        images=images,
        labels=(tuple(map(str, times)), names, tuple(map(str, steps or [0]))),
        fields={"channels": tuple(Channel(name=name) for name in names)},
    )
    fields, texts = _notes(bare)
    return PlaneSet(
        path=path,
        images=images,
        labels=bare.labels,
        fields={**bare.fields, **fields},
        texts={"imagexpress.htd": content, **texts},
        warnings=tuple(warn),
        own=_stage,
    )


def _numbers(path: Path, what: str, there: set[int], planned: int, warn: list[str]) -> list[int]:
    """Return the numbers of an axis, from 1 to the last that any file has."""
    found = consecutive(path, what, there | {1}) if there else []
    if found and planned and len(found) != planned:
        warn.append(f"{path.name} plans {planned} {what}, and {len(found)} are there")
    return found


def _images(
    path: Path,
    plan: _Plan,
    found: _Found,
    axes: tuple[list[int], list[int], list[int]],
    kind: str,
) -> Iterator[PlaneImage]:
    """Make an image of each site that was planned, or is there."""
    numbers = {site for _, site in found}
    consecutive = list(range(1, len(plan.grid) + 1))
    sites = consecutive if numbers <= set(consecutive) else sorted({*plan.grid, *numbers})
    keys = [(well, site) for well in plan.wells for site in sites]
    keys += sorted(key for key in found if key not in keys)
    for well, site in keys:
        files = found.get((well, site), {})
        series = f"{well}/{site}"
        twice = [each for each in files.values() if len(each) > 1]
        yield PlaneImage(
            series=f"{series}/{kind}" if kind else series,
            name=f"{plan.stem} {series} {kind}".strip(),
            plate=plan.stem,
            well=well,
            field=str(site),
            files=dict(_planes(path, plan, (well, site), files, axes)),
            problem=_doubled(path, series, twice) if twice else None,
        )


def _planes(
    path: Path,
    plan: _Plan,
    key: tuple[str, int],
    files: Mapping[tuple[int, int, int], list[Path]],
    axes: tuple[list[int], list[int], list[int]],
) -> Iterator[tuple[Plane, Path]]:
    """Iterate over the planes of a site and their files, there or where they should be."""
    well, site = key
    names = f"{plan.stem}_{well}" + f"_s{site}" * (len(plan.grid) > 1)
    for t, time in enumerate(axes[0]):
        for c, wave in enumerate(axes[1]):
            for z, step in enumerate(axes[2]):
                there = files.get((time, wave, step))
                name = names + f"_w{wave}" * (len(plan.waves) > 1) + ".TIF"
                folder = _home(path) / f"TimePoint_{time}"
                folder = folder / f"ZStep_{step}" if plan.steps > 1 else folder
                yield (t, c, z), there[0] if there else folder / name


def _doubled(path: Path, series: str, twice: list[list[Path]]) -> InputError:
    what = "The plate holds a plane twice"
    found = " and ".join(str(file) for file in twice[0])
    remedy = "Remove the files that do not belong to the plate."
    return InputError(
        what, where=f"{path}, {series}", expected="one file a plane", found=found, remedy=remedy
    )


def _notes(planes: PlaneSet) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read from the TIFFs of a site what is the same for all, the first that can be read."""
    try:
        for image in whole_images(planes):
            with suppress(InputError):
                return _notes_of(planes, image)
    except InputError:
        pass  # none is whole, and each tells why when it is opened
    return {}, {}


def _notes_of(planes: PlaneSet, image: PlaneImage) -> tuple[dict[str, Any], dict[str, bytes]]:
    notes, text = metamorph.read_notes(image.files[0, 0, 0])
    fields = metamorph.pixel_size_um(notes)
    channels = []
    for c, name in enumerate(planes.labels[1]):
        own, _ = metamorph.read_notes(image.files[0, c, 0])
        wavelength = metamorph.number(own, "wavelength")
        known = {"emission_nm": wavelength} if wavelength and wavelength > 0 else {}
        channels.append(Channel(name=name, **known))
    fields["channels"] = tuple(channels)
    heights = [
        metamorph.number(metamorph.read_notes(image.files[0, 0, z])[0], "z-position")
        for z in range(len(planes.labels[2]))
    ]
    step = even_step([height for height in heights if height is not None])
    if step is not None and None not in heights:
        fields["z_um"] = step
    return fields, {"metamorph.xml": text} if text else {}


def _stage(image: PlaneImage, _first: Image) -> dict[str, Any]:
    return metamorph.stage_um(metamorph.read_notes(image.files[0, 0, 0])[0])


open_source = ImageXpressSource
