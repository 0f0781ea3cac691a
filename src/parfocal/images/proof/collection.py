"""Prove that a collection holds all images of its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from parfocal.core.digest import digest_path, is_zarr
from parfocal.errors import InputError
from parfocal.images.image import ImageEntry
from parfocal.images.opening import check_readable, list_images
from parfocal.images.proof.certificate import Certificate, Certificates, Difference, unreadable
from parfocal.images.proof.metadata import unequal
from parfocal.images.proof.verification import ProofOptions, verify_image

__all__ = ["verify_collection"]

Progress = Callable[[int, int], None]


def verify_collection(
    source: Path,
    image: Path,
    options: ProofOptions,
    *,
    entries: list[ImageEntry] | None = None,
    progress: Progress | None = None,
) -> Certificates:
    """Compare all images of a source with those of a collection, one by one in their order.

    Parameters
    ----------
    source : Path
        As for `open_image`.
    image : Path
        The collection: an OME-Zarr in the layout of bioformats2raw, or an OME-TIFF.
    options : ProofOptions
        What was converted, and how it is to be proven; `series` is not used.
    entries : list of ImageEntry, optional
        All images of the source, where the caller has listed them.
    progress : callable, optional
        Called as ``progress(done, total)``, in images.

    Returns
    -------
    Certificates

    Raises
    ------
    InputError
        If the source cannot be read, or the result is missing.
    """
    check_readable(image)
    entries = entries or list_images(source, axes=options.axes, reader=options.reader)
    digest = digest_path(image, options.threads)
    try:
        count = len(list_images(image))
        differences = unequal("The number of images differs", "source", len(entries), count)
    except InputError as error:
        count, differences = 0, [unreadable(error)]
    images = []
    for number, entry in enumerate(entries):
        part = replace(options, series=entry.series)
        own = _digest_of_part(image, number, digest, options.threads)
        images.append(
            verify_image(source, image, part, part=str(number), entries=entries, digest=own)
        )
        if progress:
            progress(number + 1, len(entries))
    differences += [
        one.model_copy(update={"where": f"image {number}, {one.where}"})
        for number, each in enumerate(images)
        for one in each.differences
    ]
    return _conclude(images, differences, count, digest)


def _conclude(
    images: list[Certificate], differences: list[Difference], count: int, digest: str
) -> Certificates:
    proven = all(each.verdict == "verified" for each in images)
    return Certificates(
        verdict="different" if differences else "verified" if proven else "self-consistent",
        source_images=len(images),
        result_images=count,
        result_digest=digest,
        images=tuple(images),
        differences=tuple(differences),
    )


def _digest_of_part(image: Path, number: int, digest: str, threads: int) -> str:
    """Return the digest of one image of an OME-Zarr; an OME-TIFF is one file."""
    part = image / str(number)
    return digest_path(part, threads) if is_zarr(part) else digest
