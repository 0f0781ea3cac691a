"""Write all images of a source into one OME-Zarr, in the layout of bioformats2raw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from parfocal.core.scheduler import Scheduler
from parfocal.images.image import Image, ImageEntry
from parfocal.images.writers.groups import write_group
from parfocal.images.writers.ome_plate import ome_plate
from parfocal.images.writers.ome_xml import ome_xml
from parfocal.images.writers.ome_zarr import write_ome_zarr
from parfocal.models.image import ImageMetadata
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["OME_XML", "write_collection"]

OME_XML = "METADATA.ome.xml"
"""Name of the OME-XML of a collection, in its group ``OME``."""

_LAYOUT = 3


def write_collection(
    path: Path,
    entries: Sequence[ImageEntry],
    open_one: Callable[[str], Image],
    options: ZarrOptions,
    *,
    labels: bool = False,
    original_metadata: Mapping[str, bytes] | None = None,
    threads: int = 1,
    scheduler: Scheduler | None = None,
    progress: Callable[[int, int], None] | None = None,
    resume: bool = False,
) -> list[ImageMetadata]:
    """Write images one after the other into the groups ``0``, ``1``, and so on.

    Parameters
    ----------
    path : Path
        The folder to make; it must not exist, unless with `resume`.
    entries : sequence of ImageEntry
        The images, as `list_images` lists them.
    open_one : callable
        Opens the image of a series; it is closed here.
    options : ZarrOptions
        Version, compression, chunks and shards.
    labels : bool
        Whether they are labels, which are never averaged.
    original_metadata : mapping of str to bytes, optional
        Texts of the source to keep below ``OME/``; without an OME-XML one is made.
    threads : int
        How many threads read, average and compress.
    scheduler : Scheduler, optional
        Where shards are worked on instead; see `write_ome_zarr`.
    progress : callable, optional
        Called as ``progress(done, total)``, in pixels.
    resume : bool
        Whether to go on where an interrupted writer of the same images stopped.

    Returns
    -------
    list of ImageMetadata
        Of the images in their order.

    Raises
    ------
    InputError, StorageError
        If an image cannot be read or stored, or the disk does not take the result.

    Source: bioformats2raw layout, https://ngff.openmicroscopy.org/0.5/#bf2raw.
    """
    report = _Progress(entries, progress)
    written = []
    for number, entry in enumerate(entries):
        with open_one(entry.series) as image:
            write_ome_zarr(
                path / str(number),
                image.metadata,
                image,
                options,
                labels=labels,
                threads=threads,
                scheduler=scheduler,
                progress=report.of(number),
                resume=resume,
            )
            written.append(image.metadata)
    texts = dict(original_metadata or {})
    texts.setdefault(OME_XML, ome_xml(written, tiff=False, plate=ome_plate(entries)))
    _write_documents(path, len(entries), texts, options.ngff)
    return written


def _write_documents(path: Path, count: int, texts: Mapping[str, bytes], version: str) -> None:
    write_group(path / "OME", {"series": [str(number) for number in range(count)]}, version)
    for name, content in texts.items():
        (path / "OME" / name).write_bytes(content)
    write_group(path, {"bioformats2raw.layout": _LAYOUT}, version)


class _Progress:
    """Turns the progress within each image into that of all."""

    def __init__(
        self, entries: Sequence[ImageEntry], report: Callable[[int, int], None] | None
    ) -> None:
        self._pixels = [_pixels(entry.metadata) for entry in entries]
        self._report = report

    def of(self, number: int) -> Callable[[int, int], None] | None:
        """Return the progress callback of one image."""
        report = self._report
        if report is None:
            return None
        before, total = sum(self._pixels[:number]), sum(self._pixels)
        return lambda done, whole: report(before + self._pixels[number] * done // whole, total)


def _pixels(metadata: ImageMetadata) -> int:
    t, c, z, y, x = metadata.shape5
    return t * c * z * y * x
