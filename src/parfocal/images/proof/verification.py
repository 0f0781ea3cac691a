"""Prove that an OME-Zarr holds what its source holds, or that it is what was certified."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from parfocal.core.blocks import Readable
from parfocal.errors import InputError
from parfocal.images.libraries import library
from parfocal.images.ngff import read_axes, read_scales
from parfocal.images.opening import open_image
from parfocal.images.proof.certificate import Certificate, Difference, Side, pixels_digest
from parfocal.images.proof.compare import Comparison, compare_images
from parfocal.images.proof.independent import OtherReader, read_otherwise, zarr_python_levels
from parfocal.images.readers.ome_zarr import read_attributes
from parfocal.models.image import ImageMetadata

__all__ = ["check_certificate", "read_certificate", "verify_image"]

Progress = Callable[[int, int], None]


class _Result:
    """An OME-Zarr as zarr-python and the JSON of its metadata show it."""

    def __init__(self, path: Path, threads: int) -> None:
        self.ome: Mapping[str, Any] = read_attributes(path)["ome"]
        try:
            self.multiscale = self.ome["multiscales"][0]
            self.datasets = [str(dataset["path"]) for dataset in self.multiscale["datasets"]]
        except (KeyError, IndexError, TypeError) as error:
            what = "The result is no OME-Zarr image"
            expected = "multiscales with datasets"
            raise InputError(what, where=path, expected=expected, found=repr(error)) from error
        self.axes, self.units = read_axes(self.multiscale, path)
        self.levels = zarr_python_levels(path, self.datasets, self.axes, threads)

    def side(self, comparison: Comparison) -> Side:
        """Describe the result for the certificate."""
        name, _, number = library("zarr", "zarr-python").rpartition(" ")
        digest = pixels_digest(plane.digest for plane in comparison.planes)
        return Side(reader=name, version=number, independent=True, digest=digest)

    def shape(self) -> tuple[int, ...]:
        """Return its size along each of its axes."""
        sizes = zip("TCZYX", self.levels[0].shape5, strict=True)
        return tuple(size for axis, size in sizes if axis in self.axes)


def verify_image(
    source: Path,
    image: Path,
    *,
    series: str = "",
    axes: str | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Certificate:
    """Compare an OME-Zarr with the source that it was converted from.

    Compared are axes, sizes, data type, sizes of pixels, number and names of channels,
    each pixel of the full resolution, and each pixel of each further level with the rule
    of the pyramid.

    Parameters
    ----------
    source : Path
        As for `open_image`.
    image : Path
        The OME-Zarr.
    series, axes : str
        As the conversion was told.
    threads : int
        How many blocks are compared at once.
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
        If one of the two cannot be read.
    """
    with open_image(source, series, axes=axes, threads=threads) as opened:
        result = _Result(image, threads)
        other = read_otherwise(source, series, axes, opened, threads)
        try:
            differences = _metadata_differences(opened.metadata, result)
            same_shape = opened.shape5 == result.levels[0].shape5
            comparable = same_shape and opened.dtype == result.levels[0].dtype
            truth = other.pixels if comparable else None
            comparison = compare_images(
                truth, _whole_levels(result.levels), threads=threads, progress=progress
            )
        finally:
            other.close()
    return _certificate(result, comparison, _source_side(other, comparison), differences)


def check_certificate(
    certificate: Certificate,
    image: Path,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> Certificate:
    """Compare an OME-Zarr with a certificate that was made of it before.

    Parameters
    ----------
    certificate : Certificate
        The earlier one.
    image : Path
        The OME-Zarr.
    threads : int
        How many blocks are compared at once.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    Certificate
        With the source and at most the verdict of the earlier one.

    Raises
    ------
    InputError
        If the image cannot be read.
    """
    result = _Result(image, threads)
    comparison = compare_images(
        None, _whole_levels(result.levels), threads=threads, progress=progress
    )
    known = {(plane.t, plane.c, plane.z): plane.digest for plane in certificate.planes}
    found = {(plane.t, plane.c, plane.z): plane.digest for plane in comparison.planes}
    differences = [
        Difference(
            what="A plane is not the certified one",
            where="t={} c={} z={}".format(*key),
            expected=known.get(key, "no such plane"),
            found=found.get(key, "no such plane"),
        )
        for key in sorted(known.keys() | found.keys())
        if known.get(key) != found.get(key)
    ]
    differences += _level_sizes(result.levels)
    for what, expected, value in (
        ("The axes differ", certificate.axes, result.axes),
        ("The shape differs", certificate.shape, result.shape()),
        ("The data type differs", certificate.dtype, result.levels[0].dtype.name),
        ("The number of levels differs", certificate.levels, len(result.levels)),
    ):
        differences += _unequal(what, "image", expected, value)
    again = _certificate(result, comparison, certificate.source, differences)
    if again.verdict == "different" or certificate.verdict == "verified":
        return again
    return again.model_copy(update={"verdict": certificate.verdict})


def read_certificate(path: Path) -> Certificate:
    """Read a certificate.

    Raises
    ------
    InputError
        If it is missing or not valid.
    """
    try:
        return Certificate.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        what = "The certificate cannot be read"
        expected = "what convert-image or verify-image wrote"
        raise InputError(what, where=path, expected=expected, found=error) from error


def _certificate(
    result: _Result, comparison: Comparison, source: Side, differences: Sequence[Difference]
) -> Certificate:
    every = (*differences, *comparison.differences)
    side = result.side(comparison)
    independent = source.independent and side.independent
    verdict = "verified" if independent else "self-consistent"
    return Certificate.model_validate(
        {
            "verdict": "different" if every else verdict,
            "source": source,
            "result": side,
            "axes": result.axes,
            "shape": result.shape(),
            "dtype": result.levels[0].dtype.name,
            "levels": len(result.levels),
            "planes": comparison.planes,
            "differences": every,
        }
    )


def _source_side(other: OtherReader, comparison: Comparison) -> Side:
    name, _, number = other.library.rpartition(" ")
    digest = pixels_digest(comparison.source_digests)
    return Side(reader=name, version=number, independent=other.independent, digest=digest)


def _whole_levels(levels: Sequence[Readable]) -> Sequence[Readable]:
    """Return the levels up to the first whose size does not follow, which is told apart."""
    wrong = _level_sizes(levels)
    return levels[:1] if wrong else levels


def _level_sizes(levels: Sequence[Readable]) -> list[Difference]:
    differences: list[Difference] = []
    for number, (level, smaller) in enumerate(itertools.pairwise(levels)):
        t, c, z, y, x = level.shape5
        expected = (t, c, z, -(-y // 2), -(-x // 2))
        what = "The size of a level does not follow from the one before"
        differences += _unequal(what, f"level {number + 1}", expected, smaller.shape5)
        differences += _unequal(
            "The data type of a level differs", f"level {number + 1}", level.dtype, smaller.dtype
        )
    return differences


def _metadata_differences(metadata: ImageMetadata, result: _Result) -> list[Difference]:
    """Compare what the source says about the image with what the result says."""
    base = result.levels[0]
    differences = _unequal("The axes differ", "image", metadata.axes, result.axes)
    differences += _unequal("The shape differs", "image", metadata.shape5, base.shape5)
    differences += _unequal("The data type differs", "image", metadata.dtype, base.dtype.name)
    sizes = read_scales(result.multiscale, result.axes, result.units, [])
    stated = {
        "Z": metadata.z_um,
        "Y": metadata.y_um,
        "X": metadata.x_um,
        "T": metadata.time_increment_s,
    }
    for axis, size in stated.items():
        if axis in result.axes and not _close(size, sizes.get(axis)):
            what = "The size of pixels differs"
            differences += _unequal(what, f"axis {axis}", size, sizes.get(axis))
    if metadata.channels:
        found = [row.get("label") for row in (result.ome.get("omero") or {}).get("channels", ())]
        what = "The names of channels differ"
        differences += _unequal(what, "omero", metadata.channel_names(), found)
    return differences + _level_sizes(result.levels)


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9)


def _unequal(what: str, where: str, expected: object, found: object) -> list[Difference]:
    if expected == found:
        return []
    return [Difference(what=what, where=where, expected=str(expected), found=str(found))]
