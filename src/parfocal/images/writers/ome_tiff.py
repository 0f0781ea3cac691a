"""Write an OME-TIFF: tiled, with a pyramid in SubIFDs, as BigTIFF where needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Writable, iter_blocks, whole
from parfocal.core.ordered import in_order
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.pyramid import halve, halve_labels
from parfocal.images.rawfile import storage_error
from parfocal.images.scratch import ScratchVolume
from parfocal.images.writers.narrow import NarrowedLabels
from parfocal.images.writers.ome_xml import PIXEL_TYPES, OmePlate, has_samples, ome_xml
from parfocal.images.writers.tiff_file import CLASSIC_LIMIT, Directory, TiffFile, Value
from parfocal.images.writers.tiff_pages import LevelTable, page_directories
from parfocal.images.writers.tiff_plan import plan_block, plan_grids
from parfocal.images.writers.tiff_tiles import TileEncoder
from parfocal.models.image import ImageMetadata
from parfocal.models.tiff_options import TiffOptions

__all__ = ["check_ome_tiff", "write_ome_tiff"]

Progress = Callable[[int, int], None]
_NARROWED = ("int64", "uint64")


def check_ome_tiff(metadata: ImageMetadata, where: Path, *, labels: bool = False) -> None:
    """Refuse an image that an OME-TIFF cannot hold, before any work is done.

    Parameters
    ----------
    metadata : ImageMetadata
        Of the image.
    where : Path
        What to name in the error.
    labels : bool
        Whether they are labels, which are narrowed from 64 to 32 bits where they fit.

    Raises
    ------
    InputError
        If OME has no such data type.
    """
    if metadata.dtype in PIXEL_TYPES or (labels and metadata.dtype in _NARROWED):
        return
    what = "OME-TIFF has no such data type"
    remedy = "Write an OME-Zarr, which has it (format: ome.zarr)"
    if metadata.dtype in _NARROWED:
        remedy += "; labels (labels: true) are stored in 32 bits where they fit"
    expected = ", ".join(PIXEL_TYPES)
    found = metadata.dtype
    raise InputError(what, where=where, expected=expected, found=found, remedy=f"{remedy}.")


def write_ome_tiff(
    path: Path,
    images: Sequence[tuple[ImageMetadata, Readable]],
    options: TiffOptions | None = None,
    *,
    labels: bool = False,
    original_metadata: Mapping[str, bytes] | None = None,
    plate: OmePlate | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> list[ImageMetadata]:
    """Write images with their pyramids into one OME-TIFF.

    The same input gives the same bytes, whatever the `threads`. Memory is a few blocks of
    16 MiB a thread; levels far up a large pyramid wait in a file beside `path`.

    Parameters
    ----------
    path : Path
        The file to make; it must not exist.
    images : sequence of (ImageMetadata, Readable)
        Each region is read once, from `threads` threads at once. An `Image` tells besides how
        many planes it stores together.
    options : TiffOptions, optional
        Compression and tiles.
    labels : bool
        Whether they are labels, which are never averaged.
    original_metadata : mapping of str to bytes, optional
        Texts of the source to enclose, by file name.
    plate : OmePlate, optional
        The plate that the images are fields of.
    threads : int
        How many threads read, average and compress.
    progress : callable, optional
        Called as ``progress(done, total)``, in pixels of all levels.

    Returns
    -------
    list of ImageMetadata
        Of the images as they were written: labels of 64 bits are uint32 now.

    Raises
    ------
    InputError
        If OME-TIFF has no such data type, or a label does not fit into 32 bits.
    StorageError
        If the disk does not take the result.
    """
    options = options or TiffOptions()
    sources = [_prepared(path, *image, labels=labels) for image in images]
    written = [metadata for metadata, _ in sources]
    xml = ome_xml(written, tiff=True, plate=plate, originals=original_metadata)
    shrink = halve_labels if labels else halve
    depths = [_depth(source) for _, source in images]
    works = [
        _ImageWork(*source, depth, options, shrink)
        for source, depth in zip(sources, depths, strict=True)
    ]
    big = len(xml) + sum(work.most_bytes() for work in works) > CLASSIC_LIMIT
    report = _Report(sum(work.values() for work in works), progress)
    try:
        with TiffFile(path, big=big) as file:
            for work in works:
                work.write_pixels(file, path.parent, threads, report)
            file.finish(_described(works, xml))
    except OSError as error:
        raise storage_error(error, path) from error
    return written


def _described(works: Sequence[_ImageWork], xml: bytes) -> Iterator[Directory]:
    """Yield the directories of all pages, the first of which holds the OME-XML."""
    description: dict[int, tuple[str, Value]] = {270: ("s", xml)}
    for work in works:
        for page in work.directories():
            yield Directory(page.tags | description, page.below)
            description = {}


def _prepared(
    path: Path, metadata: ImageMetadata, source: Readable, *, labels: bool
) -> tuple[ImageMetadata, Readable]:
    if metadata.shape5 != source.shape5 or metadata.dtype != source.dtype.name:
        msg = (
            f"metadata {metadata.shape5} {metadata.dtype} are not those of the pixels, "
            f"{source.shape5} {source.dtype}"
        )
        raise ValueError(msg)
    check_ome_tiff(metadata, path, labels=labels)
    if metadata.dtype in PIXEL_TYPES:
        return metadata, source
    return metadata.model_copy(update={"dtype": "uint32"}), NarrowedLabels(source, metadata.name)


def _depth(source: Readable) -> int:
    """Return how many planes a source stores together, as far as it tells."""
    return source.block5[2] if isinstance(source, Image) else 1


class _Report:
    """Adds up what is done."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._done, self._progress = total, 0, progress

    def __call__(self, count: int) -> None:
        self._done += count
        if self._progress:
            self._progress(self._done, self._total)


class _ImageWork:
    """One image that is written: its levels, and where their tiles lie."""

    def __init__(
        self,
        metadata: ImageMetadata,
        source: Readable,
        depth: int,
        options: TiffOptions,
        shrink: Callable[[NDArray[Any]], NDArray[Any]],
    ) -> None:
        self._metadata, self._source, self._depth = metadata, source, depth
        self._shrink = shrink
        self._encoder = TileEncoder(options, source.dtype)
        self._samples = 3 if has_samples(metadata) else 1
        grids = plan_grids(source.shape5, options.tile_px)
        self._tables = [LevelTable(grid, self._samples) for grid in grids]

    def values(self) -> int:
        """Return the number of values of all levels."""
        return sum(table.grid.values for table in self._tables)

    def most_bytes(self) -> int:
        """Return a number of bytes that the image does not exceed, however badly it shrinks."""
        return sum(table.most_bytes(self._source.dtype.itemsize) for table in self._tables)

    def write_pixels(self, file: TiffFile, folder: Path, threads: int, report: _Report) -> None:
        """Append the tiles of all levels to `file`.

        A pass takes each block through all levels of which it holds whole tiles. What follows
        from them waits in a scratch file in `folder` for the next pass.
        """
        first, reader = 0, self._source
        with ExitStack() as undo:
            while first < len(self._tables):
                tables = self._tables[first:]
                grids = [table.grid for table in tables]
                block, count = plan_block(
                    grids, reader.dtype.itemsize, samples=self._samples, depth=self._depth
                )
                rest = None
                if count < len(grids):
                    y, x = (-(-size // 2**count) for size in block[3:])
                    scratch = ScratchVolume(
                        folder, grids[count].shape, reader.dtype, (*block[:3], y, x)
                    )
                    rest = undo.enter_context(scratch)
                work = _BlockWork(reader, tables[:count], rest, self._encoder, self._shrink)
                regions = iter_blocks(whole(grids[0].shape), block)
                for done in in_order(work, regions, threads):
                    for table, page, number, data in done.tiles:
                        table.note(page, number, file.append(data), len(data))
                    report(done.values)
                if rest is None:
                    return
                first, reader = first + count, rest

    def directories(self) -> Iterator[Directory]:
        """Yield the directories of all pages, each with its reduced images below it."""
        return page_directories(self._metadata, self._tables, self._encoder)


@dataclass(frozen=True)
class _Encoded:
    """What became of a block: tiles as (level, page, number, bytes), and the values in them."""

    tiles: list[tuple[LevelTable, int, int, bytes]]
    values: int


@dataclass(frozen=True)
class _BlockWork:
    """Encodes a block of the first of `tables` and of all levels after it.

    What is smaller than the last of them is written to `rest`.
    """

    reader: Readable
    tables: Sequence[LevelTable]
    rest: Writable | None
    encoder: TileEncoder
    shrink: Callable[[NDArray[Any]], NDArray[Any]]

    def __call__(self, region: Region) -> _Encoded:
        """Read `region` (T, C, Z, Y, X) and encode its tiles."""
        block = self.reader.read(region)
        tiles: list[tuple[LevelTable, int, int, bytes]] = []
        values = 0
        for level, table in enumerate(self.tables):
            if level:
                block, region = self.shrink(block), _halved(region)
            values += block.size
            tiles += self._tiles(table, block, region)
        if self.rest is not None:
            self.rest.write(_halved(region), np.ascontiguousarray(self.shrink(block)))
        return _Encoded(tiles, values)

    def _tiles(
        self, table: LevelTable, block: NDArray[Any], region: Region
    ) -> list[tuple[LevelTable, int, int, bytes]]:
        t, c, z, y, x = region
        return [
            (table, table.page(t.start, c.start, z.start + depth), number, data)
            for depth in range(block.shape[2])
            for number, data in self.encoder.tiles(
                block[0, :, depth], table.grid, (y.start, x.start)
            )
        ]


def _halved(region: Region) -> Region:
    t, c, z, y, x = region
    half = [slice(part.start // 2, -(-part.stop // 2)) for part in (y, x)]
    return t, c, z, half[0], half[1]
