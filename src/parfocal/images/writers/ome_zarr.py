"""Write an OME-Zarr: the pixels shard by shard, the pyramid, and the metadata last."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.core.blocks import Readable
from parfocal.core.scheduler import Scheduler
from parfocal.errors import InputError
from parfocal.images.ngff import image_attributes
from parfocal.images.pyramid import halve, halve_labels
from parfocal.images.rawfile import storage_error
from parfocal.images.stores import ZarrLevel, create_level
from parfocal.images.writers.codecs import make_encoder
from parfocal.images.writers.layout import LevelLayout, plan_levels
from parfocal.images.writers.passes import Progress, write_levels
from parfocal.images.writers.shards import TEMPORARY, LevelWriter
from parfocal.images.writers.transcode import find_stored
from parfocal.images.writers.windows import channel_windows
from parfocal.models.image import ImageMetadata
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["Written", "write_ome_zarr"]

logger = logging.getLogger(__name__)

_KINDS = {"i", "u", "f"}


@dataclass(frozen=True)
class Written:
    """What of an OME-Zarr was not made anew.

    Parameters
    ----------
    kept : int
        How many shards (or chunks, where there are none) an interrupted writer had left.
    recompressed : bool
        Whether any chunk was compressed; False where all could be taken from an OME-Zarr 0.4.
    """

    kept: int
    recompressed: bool = field(kw_only=True)


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
    scheduler: Scheduler | None = None,
    progress: Progress | None = None,
    resume: bool = False,
) -> Written:
    """Write an image with its pyramid as OME-Zarr.

    The same input gives the same bytes, whatever the `threads` or the `scheduler`, and whether
    or not it was interrupted and resumed. Memory is a few planes a thread, of at most 4 by 4
    chunks.

    Parameters
    ----------
    path : Path
        The folder to make; it must not exist, unless with `resume`.
    metadata : ImageMetadata
        What to write about the image; its shape and dtype are those of `source`.
    source : Readable
        Each region is read once, from `threads` threads at once.
    options : ZarrOptions, optional
        Version, compression, chunks and shards. With their defaults, chunks of an OME-Zarr
        0.4 are taken over as they are where that is possible; see `find_stored`.
    labels : bool
        Whether they are labels, which are never averaged.
    attributes : mapping, optional
        Further attributes of the group, such as ``{"parfocal": {...}}``.
    original_metadata : mapping of str to bytes, optional
        Texts of the source to keep below ``OME/``, by file name.
    threads : int
        How many threads read, average and compress.
    scheduler : Scheduler, optional
        Where shards are read, averaged, compressed and written instead, each as a whole;
        `source` must be picklable then. None, or one of this process, for `threads`.
    progress : callable, optional
        Called as ``progress(done, total)``, in pixels of all levels.
    resume : bool
        Whether to go on where an interrupted writer of the same image with the same options
        stopped: its whole shards are kept.

    Returns
    -------
    Written
        What was not made anew.

    Raises
    ------
    InputError, StorageError
        If the data type cannot be stored, or the disk does not take the result.
    """
    options = options or ZarrOptions()
    if scheduler and scheduler.local:
        scheduler = None
    stored = find_stored(source, options)
    if stored:
        options = stored[0]
    _check(metadata, source, path)
    levels = plan_levels(source.shape5, source.dtype.itemsize, options, rgb=metadata.rgb)
    try:
        _prepare(path, resume=resume)
        _write_group(path, {}, options.ngff)
        stores = [
            _create(path / str(n), layout, source.dtype, metadata.axes, options, threads)
            for n, layout in enumerate(levels)
        ]
        encode = make_encoder(options, source.dtype)
        sharded = options.ngff == "0.5" and options.shard_mib > 0
        writers = [
            LevelWriter(
                path / str(n),
                layout,
                metadata.axes,
                encode,
                version=options.ngff,
                sharded=sharded,
                reuse=partial(stored[1].reuse, n) if stored else None,
            )
            for n, layout in enumerate(levels)
        ]
        shrink = halve_labels if labels else halve
        passed = write_levels(
            source,
            writers,
            stores,
            shrink,
            threads=threads,
            scheduler=scheduler,
            progress=progress,
        )
        if scheduler:
            _remove_drafts(path)  # those of workers that died
        _write_originals(path, original_metadata or {}, options.ngff)
        windows = None if labels else channel_windows(stores[-1], levels[-1].shard)
        ngff = image_attributes(metadata, levels, options.ngff, windows=windows)
        _write_group(path, _group_attributes(ngff, metadata, attributes, options), options.ngff)
    except OSError as error:
        raise storage_error(error, path) from error
    return Written(passed.found, recompressed=stored is None or passed.compressed > 0)


def _prepare(path: Path, *, resume: bool) -> None:
    """Make the folder, or remove the files that an interrupted writer had not finished."""
    path.mkdir(parents=True, exist_ok=resume)
    _remove_drafts(path)


def _remove_drafts(path: Path) -> None:
    for pattern in (f"*{TEMPORARY}", "*.__lock"):  # ours, and tensorstore's
        for file in path.rglob(pattern):
            file.unlink(missing_ok=True)


def _create(
    path: Path,
    layout: LevelLayout,
    dtype: np.dtype[Any],
    axes: str,
    options: ZarrOptions,
    threads: int,
) -> ZarrLevel:
    """Make an array; keep the chunks that are there if they are of the very same."""
    document = path / ("zarr.json" if options.ngff == "0.5" else ".zarray")
    before = document.read_bytes() if document.is_file() else None
    document.unlink(missing_ok=True)
    level = create_level(path, layout, dtype, axes, options, threads)
    if before in (None, document.read_bytes()):
        return level
    shutil.rmtree(path)
    return create_level(path, layout, dtype, axes, options, threads)


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
    stage = {axis: getattr(metadata, f"stage_{axis}_um") for axis in "xyz"}
    if any(place is not None for place in stage.values()):
        own["stage_um"] = {axis: place for axis, place in stage.items() if place is not None}
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
