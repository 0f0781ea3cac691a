"""Write an OME-Zarr: the pixels shard by shard, the pyramid, and the metadata last."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, Writable, iter_blocks, whole
from parfocal.errors import InputError
from parfocal.images.ngff import image_attributes
from parfocal.images.pyramid import halve, halve_labels
from parfocal.images.rawfile import storage_error
from parfocal.images.stores import create_level
from parfocal.images.writers.layout import LevelLayout, plan_levels
from parfocal.images.writers.windows import Windows
from parfocal.models.image import ImageMetadata
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["write_ome_zarr"]

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
_KINDS = {"i", "u", "f"}


def write_ome_zarr(
    path: Path,
    metadata: ImageMetadata,
    source: Readable,
    options: ZarrOptions | None = None,
    *,
    labels: bool = False,
    attributes: Mapping[str, Any] | None = None,
    original_metadata: Mapping[str, bytes] | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write an image with its pyramid as OME-Zarr.

    The same input gives the same bytes, whatever the `threads`. Memory is a few shards a thread.

    Parameters
    ----------
    path : Path
        The folder to make; it must not exist.
    metadata : ImageMetadata
        What to write about the image; its shape and dtype are those of `source`.
    source : Readable
        Each region is read once, from `threads` threads at once.
    options : ZarrOptions, optional
        Version, compression, chunks and shards.
    labels : bool
        Whether they are labels, which are never averaged.
    attributes : mapping, optional
        Further attributes of the group, such as ``{"parfocal": {...}}``.
    original_metadata : mapping of str to bytes, optional
        Texts of the source to keep below ``OME/``, by file name.
    threads : int
        How many threads read, average and compress.
    progress : callable, optional
        Called as ``progress(done, total)``, in pixels of all levels.

    Raises
    ------
    InputError, StorageError
        If the data type cannot be stored, or the disk does not take the result.
    """
    options = options or ZarrOptions()
    _check(metadata, source, path)
    levels = plan_levels(source.shape5, source.dtype.itemsize, options, rgb=metadata.rgb)
    try:
        path.mkdir(parents=True)
        _write_group(path, {}, options.ngff)
        stores = [
            create_level(path / str(n), layout, source.dtype, metadata.axes, options, threads)
            for n, layout in enumerate(levels)
        ]
        windows = None if labels else Windows(source.shape5[1])
        _write_pixels(source, stores, levels, windows, threads, progress)
        _write_originals(path, original_metadata or {}, options.ngff)
        shown = windows.shown() if windows else None
        ngff = image_attributes(metadata, levels, options.ngff, windows=shown)
        _write_group(path, _group_attributes(ngff, metadata, attributes, options), options.ngff)
    except OSError as error:
        raise storage_error(error, path) from error


def _check(metadata: ImageMetadata, source: Readable, path: Path) -> None:
    if metadata.shape5 != source.shape5 or metadata.dtype != source.dtype.name:
        msg = (
            f"metadata {metadata.shape5} {metadata.dtype} are not those of the pixels, "
            f"{source.shape5} {source.dtype}"
        )
        raise ValueError(msg)
    if source.dtype.kind not in _KINDS:
        what = "The data type cannot be stored"
        expected = "integers or floats"
        remedy = "Convert the pixels to one of these first."
        raise InputError(what, where=path, expected=expected, found=source.dtype, remedy=remedy)


Halve = Callable[[NDArray[Any]], NDArray[Any]]


def _write_pixels(
    source: Readable,
    stores: list[Any],
    levels: list[LevelLayout],
    windows: Windows | None,
    threads: int,
    progress: Progress | None,
) -> None:
    """Write all levels, in as few passes over the pixels as shards allow.

    A pass takes each shard of its first level in memory through all the levels of which a
    shard comes from one shard of the level before. The next pass reads the last of them.
    """
    shrink = halve if windows else halve_labels
    sizes = [_pixels(layout.shape) for layout in levels]
    total, done = sum(sizes), 0
    first, reader = 0, source
    while first < len(levels):
        last = first
        while last + 1 < len(levels) and levels[last].feeds(levels[last + 1]):
            last += 1
        regions = iter_blocks(whole(levels[first].shape), levels[first].shard)
        chain: list[Writable] = stores[first : last + 1]
        note = windows.note if windows and last + 1 == len(levels) else _ignore
        work = _BlockWriter(reader, chain, shrink, note, halved=first > 0)
        for count in _in_threads(work, regions, threads):
            done += count
            if progress:
                progress(min(done, total), total)
        first, reader = last + 1, stores[last]


def _pixels(shape: Shape) -> int:
    t, c, z, y, x = shape
    return t * c * z * y * x


def _ignore(_region: Region, _block: NDArray[Any]) -> None:
    """Take no note of a block."""


@dataclass(frozen=True)
class _BlockWriter:
    """Writes a region of the first level of `chain`, and what follows from it.

    With `halved`, `reader` holds the level before the first one. `note` is told the
    region and the pixels of the last level.
    """

    reader: Readable
    chain: Sequence[Writable]
    shrink: Halve
    note: Callable[[Region, NDArray[Any]], None]
    halved: bool = field(kw_only=True)

    def __call__(self, region: Region) -> int:
        """Write `region`; return how many pixels of all levels were written."""
        block = self._first(region)
        count = block.size
        self.chain[0].write(region, block)
        for store in self.chain[1:]:
            block = self.shrink(block)
            region = _halved(region)
            store.write(region, block)
            count += block.size
        self.note(region, block)
        return int(count)

    def _first(self, region: Region) -> NDArray[Any]:
        if not self.halved:
            return self.reader.read(region)
        t, c, z, y, x = region
        height, width = self.reader.shape5[3:]
        ys = slice(2 * y.start, min(2 * y.stop, height))
        xs = slice(2 * x.start, min(2 * x.stop, width))
        return self.shrink(self.reader.read((t, c, z, ys, xs)))


def _halved(region: Region) -> Region:
    t, c, z, y, x = region
    half = [slice(part.start // 2, -(-part.stop // 2)) for part in (y, x)]
    return t, c, z, half[0], half[1]


def _in_threads(work: Callable[[Region], int], regions: Any, threads: int) -> Any:
    """Yield what `work` returns for each region, with no more under way than `threads`."""
    if threads <= 1:
        yield from map(work, regions)
        return
    with ThreadPoolExecutor(threads) as pool:
        running: set[Future[int]] = set()
        for region in regions:
            running.add(pool.submit(work, region))
            if len(running) > threads:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        yield from (future.result() for future in running)


def _group_attributes(
    ngff: dict[str, Any],
    metadata: ImageMetadata,
    attributes: Mapping[str, Any] | None,
    options: ZarrOptions,
) -> dict[str, Any]:
    """Return all attributes of the group: NGFF's, ours on what it cannot say, the caller's."""
    extra = dict(attributes or {})
    own: dict[str, Any] = {}
    if metadata.rgb:
        own["rgb"] = True
    if any(channel != type(channel)() for channel in metadata.channels):
        own["channels"] = [c.model_dump(exclude_none=True) for c in metadata.channels]
    if own:
        extra["parfocal"] = own | dict(extra.get("parfocal", {}))
    return (ngff if options.ngff == "0.4" else {"ome": ngff}) | extra


def _write_group(path: Path, attributes: Mapping[str, Any], version: str) -> None:
    """Write the metadata of a Zarr group, with sorted keys."""
    path.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        _write_json(path / ".zgroup", {"zarr_format": 2})
        if attributes:
            _write_json(path / ".zattrs", attributes)
        return
    if attributes or path.name == "OME":
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        _write_json(path / "zarr.json", group)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _write_originals(path: Path, texts: Mapping[str, bytes], version: str) -> None:
    if not texts:
        return
    _write_group(path / "OME", {}, version)
    for name, content in texts.items():
        (path / "OME" / name).write_bytes(content)
