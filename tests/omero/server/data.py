"""Data that no client can make: imports with original files, plates.

Asked for through the port of faults, `Control.seed(what, ...)`:

``import``
    files : paths, copied into the managed repository; series : list of images, each with ``npy``
    (path of an array, (T, C, Z, Y, X)) and, as wished, ``name``, ``channels`` (names),
    ``emission_nm``, ``colors`` (RGBA), ``pixel_size_um`` (by axis), ``levels`` (how many
    resolutions the file holds); dataset : id, optional.
``plate``
    name, rows, columns, fields, shape ((T, C, Z, Y, X) of a field), runs (plate acquisitions),
    screen (name), gaps (wells left out, such as "B02").

All take ``user`` and ``group`` by name; all return ids.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from .calls import Call
from .entities import Entity, Quantity
from .managed import repository_root
from .original_files import checksum
from .pixel_files import PIXEL_TYPES

if TYPE_CHECKING:
    from .host import Server

__all__ = ["field_pixels", "seed_data"]

_NAMES = {np.dtype(kind).newbyteorder("="): name for name, kind in PIXEL_TYPES.items()}
_NAMES[np.dtype("u1")] = "uint8"
_MODULUS = 65521


def field_pixels(number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels of a plate's field, of a type of 16 bits: (T, C, Z, Y, X).

    They follow from the number of the field alone, so that a test can tell them.
    """
    size = int(np.prod(shape))
    return ((np.arange(size) * 7 + number * 1009) % _MODULUS).astype("u2").reshape(shape)


@dataclass
class Series:
    """One image to be made."""

    array: np.ndarray
    name: str
    channels: list[str] = field(default_factory=list)
    emission_nm: list[float] = field(default_factory=list)
    colors: list[list[int]] = field(default_factory=list)
    pixel_size_um: dict[str, float] = field(default_factory=dict)
    levels: int = 1


class _Seeder:
    def __init__(self, server: Server, user: str, group: str) -> None:
        self._server, self._store = server, server.store
        person = self._find("Experimenter", "omeName", user)
        owning = self._find("ExperimenterGroup", "name", group)
        self._session = server.sessions.open(person, owning)
        self._call = Call(self._store, self._session, owning.id or 0)
        self._user, self._group = person, owning

    def close(self) -> None:
        self._server.sessions.kill(self._session.uuid)

    def _find(self, kind: str, name: str, value: str) -> Entity:
        found = self._store.find_by(kind, name, value)
        if found is None:
            raise LookupError(f"no {kind} with {name} {value!r}")
        return found

    def _add(self, kind: str, **values: Any) -> Entity:
        return self._store.add(kind, values, self._call.new_details())

    def image(self, series: Series, number: int, fileset: Entity | None) -> Entity:
        """Make an image with its pixels."""
        now = int(datetime.now(UTC).timestamp() * 1000)
        image = self._add("Image", name=series.name, series=number, acquisitionDate=now)
        if fileset is not None:
            self._store.set(image, "fileset", fileset)
        array = series.array
        lengths = {
            f"physicalSize{axis.upper()}": Quantity(size, "MICROMETER", "Length")
            for axis, size in series.pixel_size_um.items()
        }
        type_name = _NAMES[array.dtype.newbyteorder("=")]
        pixels = self._add(
            "Pixels",
            image=image,
            pixelsType=self._find("PixelsType", "value", type_name),
            dimensionOrder=self._find("DimensionOrder", "value", "XYZCT"),
            sha1="Pending...",
            significantBits=array.dtype.itemsize * 8,
            **{f"size{axis}": array.shape["TCZYX".index(axis)] for axis in "TCZYX"},
            **lengths,
        )
        for index in range(array.shape[1]):
            self._channel(pixels, series, index)
        self._write(pixels, array, type_name)
        if series.levels > 1:
            self._server.pixel_files.keep_levels(pixels.id or 0, series.levels)
        return image

    def _channel(self, pixels: Entity, series: Series, index: int) -> None:
        logical: dict[str, Any] = {}
        if index < len(series.channels):
            logical["name"] = series.channels[index]
        if index < len(series.emission_nm):
            wave = Quantity(series.emission_nm[index], "NANOMETER", "Length")
            logical["emissionWave"] = wave
        plane = series.array[:, index]
        stats = self._add("StatsInfo", globalMin=float(plane.min()), globalMax=float(plane.max()))
        values = {"logicalChannel": self._add("LogicalChannel", **logical), "statsInfo": stats}
        if index < len(series.colors):
            names = ("red", "green", "blue", "alpha")
            values |= dict(zip(names, series.colors[index], strict=True))
        self._add("Channel", pixels=pixels, **values)

    def _write(self, pixels: Entity, array: np.ndarray, type_name: str) -> None:
        path = self._server.pixel_files.path(pixels.id or 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for time_point in array:
                file.write(time_point.astype(PIXEL_TYPES[type_name]).tobytes())
        digest = checksum(path, "SHA1-160")
        self._store.set(pixels, "sha1", digest)

    def fileset(self, files: list[Path]) -> tuple[Entity, list[Entity]]:
        """Copy files into the managed repository under a name of the server's choice."""
        moment = datetime.now(UTC)
        prefix = f"{self._user['omeName']}_{self._user.id}/{moment:%Y-%m/%d/%H-%M-%S.%f}/"
        fileset = self._add("Fileset", templatePrefix=prefix)
        return fileset, [self._entry(fileset, prefix, file) for file in files]

    def _entry(self, fileset: Entity, prefix: str, source: Path) -> Entity:
        folder = self._server.original_files.managed / prefix
        folder.mkdir(parents=True, exist_ok=True)
        copied = Path(shutil.copyfile(source, folder / source.name))
        file = self._add(
            "OriginalFile",
            name=source.name,
            path=prefix,
            size=copied.stat().st_size,
            hash=checksum(copied, "SHA1-160"),
            hasher=self._find("ChecksumAlgorithm", "value", "SHA1-160"),
            mimetype="application/octet-stream",
            repo=repository_root(self._server)["hash"],
        )
        client = str(source).lstrip("/")
        self._add("FilesetEntry", fileset=fileset, originalFile=file, clientPath=client)
        return file

    def imported(
        self, files: list[str], series: list[dict[str, Any]], dataset: int | None = None
    ) -> dict[str, Any]:
        """Make a fileset and its images."""
        fileset, entries = self.fileset([Path(file) for file in files])
        images = []
        for number, one in enumerate(series):
            array = np.load(one.pop("npy"), mmap_mode="r")
            name = one.pop("name", f"{Path(files[0]).name} [{number}]")
            images.append(self.image(Series(array, name, **one), number, fileset))
        if dataset is not None:
            parent = self._store.get("Dataset", dataset)
            for image in images:
                self._add("DatasetImageLink", parent=parent, child=image)
        return {
            "fileset": fileset.id,
            "files": [file.id for file in entries],
            "images": [image.id for image in images],
        }

    def plate(
        self,
        name: str,
        rows: int = 2,
        columns: int = 3,
        fields: int = 1,
        shape: tuple[int, ...] = (1, 2, 1, 16, 24),
        runs: int = 1,
        screen: str | None = None,
        gaps: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Make a plate, each field of which is an OME-TIFF of one fileset."""
        plate = self._add("Plate", name=name, rows=rows, columns=columns)
        acquired = [
            self._add("PlateAcquisition", plate=plate, name=f"run {run + 1}") for run in range(runs)
        ]
        made: dict[str, Any] = {"plate": plate.id, "wells": {}, "images": {}}
        made["runs"] = [run.id for run in acquired]
        wells = [
            (row, column, f"{chr(65 + row)}{column + 1:02d}")
            for row in range(rows)
            for column in range(columns)
        ]
        pictures: list[tuple[Entity, Entity, str, Series]] = []
        for row, column, well_name in wells:
            if well_name in gaps:
                continue
            well = self._add("Well", plate=plate, row=row, column=column)
            made["wells"][well_name] = well.id
            for run in acquired:
                for position in range(fields):
                    array = field_pixels(len(pictures), tuple(shape))
                    label = f"{name} {well_name} field {position}"
                    pictures.append((well, run, well_name, Series(array, label)))
        self._fill(pictures, made)
        if screen is not None:
            parent = self._add("Screen", name=screen)
            self._add("ScreenPlateLink", parent=parent, child=plate)
            made["screen"] = parent.id
        return made

    def _fill(
        self, pictures: list[tuple[Entity, Entity, str, Series]], made: dict[str, Any]
    ) -> None:
        scratch = self._server.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        paths = []
        for number, (*_, series) in enumerate(pictures):
            paths.append(scratch / f"field_{number:04d}.ome.tiff")
            tifffile.imwrite(paths[-1], series.array, ome=True, metadata={"axes": "TCZYX"})
        fileset, files = self.fileset(paths)
        shutil.rmtree(scratch)
        made["fileset"], made["files"] = fileset.id, [file.id for file in files]
        for number, (well, run, name, series) in enumerate(pictures):
            image = self.image(series, number, fileset)
            self._add("WellSample", well=well, image=image, plateAcquisition=run)
            made["images"].setdefault(name, []).append(image.id)


def seed_data(
    server: Server, what: str, values: dict[str, Any], user: str = "alice", group: str = "annotate"
) -> dict[str, Any]:
    """Make data as a user; return the ids.

    Raises
    ------
    LookupError
        If there is no such kind of data, user or group.
    """
    makers = {"import": _Seeder.imported, "plate": _Seeder.plate}
    if what not in makers:
        raise LookupError(f"cannot make {what!r}")
    with server.store.transaction():
        seeder = _Seeder(server, user, group)
        try:
            return makers[what](seeder, **values)
        finally:
            seeder.close()
