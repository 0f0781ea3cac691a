"""Prove that a result holds what its source holds, or that it is what was certified."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from parfocal.core.blocks import Readable
from parfocal.core.digest import digest_path
from parfocal.images.image import Image, ImageEntry
from parfocal.images.opening import check_readable, list_images, open_image
from parfocal.images.proof.certificate import (
    Certificate,
    Difference,
    Side,
    described,
    unreadable,
)
from parfocal.images.proof.compare import PIXELS_DIFFER, Comparison, compare_images
from parfocal.images.proof.metadata import metadata_differences, whole_levels
from parfocal.images.proof.result import Result, ResultError, open_result
from parfocal.images.proof.second_reader import (
    READERS_DISAGREE,
    SecondReader,
    SecondReaderError,
    second_readers,
)
from parfocal.images.readers.registry import ReadOptions
from parfocal.images.writers.narrow import NarrowedLabels
from parfocal.models.image_part import FetchedPart

__all__ = ["ProofOptions", "verify_image"]

Progress = Callable[[int, int], None]

_ROUNDING = 2  # counts by which decoders of lossy compression may differ


@dataclass(frozen=True)
class ProofOptions:
    """What was converted, and how it is to be proven.

    Parameters
    ----------
    series, axes, labels, reader
        As the conversion was told.
    second_reader : str, optional
        The reader that proves; the best that is installed where None, and none for ``none``.
    threads : int
        How many blocks are compared at once.
    fetched : FetchedPart, optional
        Which part of an image the source is, for the certificate to tell.
    """

    series: str = ""
    axes: str | None = None
    labels: bool = False
    reader: str | None = None
    second_reader: str | None = None
    threads: int = 1
    fetched: FetchedPart | None = None


@dataclass(frozen=True)
class _Proof:
    """What came of the comparison of pixels, and the reader of the source that it is owed to."""

    comparison: Comparison
    library: str
    independent: bool
    reason: str | None = None
    differences: tuple[Difference, ...] = ()


def verify_image(
    source: Path,
    image: Path,
    options: ProofOptions,
    *,
    part: str = "",
    entries: list[ImageEntry] | None = None,
    digest: str | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Compare an OME-Zarr or OME-TIFF with the source that it was converted from.

    Compared are axes, sizes, data type, sizes of pixels, place of the stage, number, order,
    names, colours and wavelengths of channels, the texts of the source, each pixel of the
    full resolution, and each pixel of each further level with the rule of the pyramid.

    Parameters
    ----------
    source : Path
        As for `open_image`.
    image : Path
        The result.
    options : ProofOptions
        What was converted, and how it is to be proven.
    part : str
        Which image of the result, where it holds several.
    entries : list of ImageEntry, optional
        All images of the source, where the caller has listed them.
    digest : str, optional
        Digest of the result, where the caller has it.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    Certificate
        ``verified`` only where both sides were read by libraries that had no part in the
        conversion.

    Raises
    ------
    InputError
        If the source cannot be read, or the result is missing.
    """
    check_readable(image)
    entries = entries or list_images(source, axes=options.axes, reader=options.reader)
    with open_image(
        source, options.series, axes=options.axes, threads=options.threads, reader=options.reader
    ) as opened:
        asked = _Asked(source, opened, entries, options)
        digest = digest or digest_path(image, options.threads)
        try:
            with closing(open_result(image, part, options.threads)) as result:
                return _compare(asked, result, digest, progress)
        except ResultError as error:
            return _unreadable(asked, error, digest)


@dataclass(frozen=True)
class _Asked:
    """The source as the converter reads it, and what is asked about it."""

    path: Path
    image: Image
    entries: list[ImageEntry]
    options: ProofOptions

    @property
    def place(self) -> int:
        """Which of the images of the source it is."""
        names = [entry.series for entry in self.entries]
        return names.index(self.options.series) if self.options.series in names else 0

    def truth(self, pixels: Readable, result: Result) -> Readable:
        """Return what the result should hold: labels of 64 bits in 32 where these are in it."""
        base = result.levels[0]
        narrow = self.options.labels and not result.is_zarr and base.dtype == np.uint32
        if narrow and pixels.dtype in (np.int64, np.uint64):
            return NarrowedLabels(pixels, self.path)
        return pixels


def _compare(asked: _Asked, result: Result, digest: str, progress: Progress | None) -> Certificate:
    truth = asked.truth(asked.image, result)
    differences = metadata_differences(asked.image, result, truth.dtype.name)
    base = result.levels[0]
    if (truth.shape5, truth.dtype) == (base.shape5, base.dtype):
        proof = _prove(asked, result, progress)
    else:
        proof = _Proof(_levels_only(asked, result), asked.image.reader, independent=False)
    every = (*proof.differences, *differences, *proof.comparison.differences)
    verdict = "verified" if proof.independent else "self-consistent"
    metadata = result.metadata
    return Certificate(
        verdict="different" if every else verdict,
        reason=proof.reason,
        series=asked.options.series,
        source_images=len(asked.entries),
        part=asked.options.fetched,
        source=Side.of(proof.library, proof.comparison.source_digests, proof.independent),
        result=Side.of(result.library, [one.digest for one in proof.comparison.planes], True),
        result_digest=digest,
        shape=result.shape,
        dtype=base.dtype.name,
        labels=asked.options.labels,
        levels=len(result.levels),
        **described(metadata),
        planes=proof.comparison.planes,
        differences=every,
    )


def _unreadable(asked: _Asked, error: ResultError, digest: str) -> Certificate:
    """Return the certificate of a result that cannot be read."""
    image = asked.image
    return Certificate(
        verdict="different",
        series=asked.options.series,
        source_images=len(asked.entries),
        part=asked.options.fetched,
        source=Side.of(image.reader, (), False),
        result=Side(reader="none", version="", independent=True, digest=""),
        result_digest=digest,
        shape=image.metadata.shape,
        dtype=image.metadata.dtype,
        labels=asked.options.labels,
        levels=0,
        **described(image.metadata),
        planes=(),
        differences=(unreadable(error),),
    )


def _levels_only(asked: _Asked, result: Result) -> Comparison:
    options = asked.options
    levels = whole_levels(result.levels)
    return compare_images(None, levels, labels=options.labels, threads=options.threads)


def _prove(asked: _Asked, result: Result, progress: Progress | None) -> _Proof:
    """Compare pixels with the source as a second reader shows it, or else as the converter does."""
    options = asked.options
    wanted = options.second_reader
    reading = ReadOptions(options.axes, options.threads)
    reasons = []
    for found in second_readers(
        asked.path, asked.image, asked.entries, asked.place, reading, wanted
    ):
        if isinstance(found, str):
            reasons.append(found)
            continue
        try:
            if found.differences:
                return _Proof(Comparison(), found.library, True, None, found.differences)
            comparison = _pixels(asked, result, found.pixels, progress)
        except SecondReaderError as error:
            reasons.append(str(error))
            continue
        finally:
            found.close()
        if not _only_rounding(asked, comparison):
            return _told_apart(asked, result, found, comparison)
        reasons.append(
            f"{found.library} decodes the lossy compression with other rounding, "
            f"by {comparison.largest:g} at most"
        )
    if wanted not in (None, "none"):
        what = f"The second reader {wanted} cannot prove the conversion"
        remedy = "Name another one, or none at all."
        found = "; ".join(reason.rstrip(".") for reason in reasons)
        raise SecondReaderError(what, where=asked.path, found=found, remedy=remedy)
    comparison = _pixels(asked, result, asked.image, progress)
    return _Proof(comparison, asked.image.reader, False, "; ".join(reasons))


def _pixels(
    asked: _Asked, result: Result, pixels: Readable, progress: Progress | None
) -> Comparison:
    return compare_images(
        asked.truth(pixels, result),
        whole_levels(result.levels),
        labels=asked.options.labels,
        together=3 if asked.image.metadata.rgb else 1,
        threads=asked.options.threads,
        progress=progress,
    )


def _only_rounding(asked: _Asked, comparison: Comparison) -> bool:
    """Tell whether pixels differ only as decoders of lossy compression do."""
    differ = any(one.what == PIXELS_DIFFER for one in comparison.differences)
    return differ and asked.image.lossy and comparison.largest <= _ROUNDING


def _told_apart(
    asked: _Asked, result: Result, second: SecondReader, comparison: Comparison
) -> _Proof:
    """Tell a wrong result from two readers of the source that disagree."""
    proof = _Proof(comparison, second.library, independent=True)
    if not any(one.what == PIXELS_DIFFER for one in comparison.differences):
        return proof
    own = compare_images(
        asked.truth(asked.image, result), result.levels[:1], threads=asked.options.threads
    )
    if own.differences:
        return proof
    told = Difference(
        what=READERS_DISAGREE,
        where=f"pixels of {asked.path.name}",
        expected=f"those of {second.library}",
        found=f"those of {asked.image.reader}",
    )
    return replace(proof, differences=(told,))
