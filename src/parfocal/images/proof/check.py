"""Compare a result with the certificate that was made of it before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from parfocal.core.digest import digest_path
from parfocal.errors import InputError
from parfocal.images.opening import check_readable
from parfocal.images.proof.certificate import (
    Certificate,
    Certificates,
    Difference,
    Side,
    described,
    unreadable,
)
from parfocal.images.proof.compare import Comparison, compare_images
from parfocal.images.proof.metadata import level_differences, unequal, whole_levels
from parfocal.images.proof.result import Result, open_result

__all__ = ["check_certificate"]

Progress = Callable[[int, int], None]

# What libraries raise of metadata in which any byte may have been changed.
_DAMAGE = (InputError, ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError)


def check_certificate(
    certificate: Certificate | Certificates,
    image: Path,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> Certificate | Certificates:
    """Compare an OME-Zarr or OME-TIFF with a certificate that was made of it before.

    All bytes are compared by their digest, and all pixels and levels once more, which tells
    where a change lies.

    Parameters
    ----------
    certificate : Certificate or Certificates
        The earlier one, of an image or of a collection.
    image : Path
        The result.
    threads : int
        How many blocks are compared at once.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    Certificate or Certificates
        With the source and at most the verdict of the earlier one.

    Raises
    ------
    InputError
        If there is no result.
    """
    check_readable(image)
    digest = digest_path(image, threads)
    changed = digest != certificate.result_digest
    if isinstance(certificate, Certificate):
        again = _check(certificate, image, "", changed=changed, threads=threads, progress=progress)
        again = again.model_copy(update={"result_digest": digest})
        return _with_bytes(again, certificate.result_digest, digest)
    checked = tuple(
        _check(one, image, str(number), changed=changed, threads=threads)
        for number, one in enumerate(certificate.images)
    )
    differences = tuple(one for image in checked for one in image.differences)
    update = {"images": checked, "result_digest": digest, "differences": differences}
    again_all = certificate.model_copy(
        update=update | ({"verdict": "different"} if differences else {})
    )
    return _with_bytes(again_all, certificate.result_digest, digest)


Kind = TypeVar("Kind", Certificate, Certificates)


def _with_bytes(again: Kind, expected: str, found: str) -> Kind:
    """Add that bytes differ, where nothing else tells it."""
    if expected == found or again.differences:
        return again
    difference = Difference(
        what="The bytes of the result differ while its pixels are the same",
        where="all files of the result",
        expected=expected,
        found=found,
    )
    return again.model_copy(update={"verdict": "different", "differences": (difference,)})


def _check(
    certificate: Certificate,
    image: Path,
    part: str,
    *,
    changed: bool,
    threads: int,
    progress: Progress | None = None,
) -> Certificate:
    """Compare one image with its certificate."""
    try:
        with closing(open_result(image, part, threads)) as result:
            levels = whole_levels(result.levels)
            comparison = compare_images(
                None, levels, labels=certificate.labels, threads=threads, progress=progress
            )
            differences = _differences(certificate, result, comparison)
    except _DAMAGE as error:
        if not changed and not isinstance(error, InputError):
            raise
        fault = error if isinstance(error, InputError) else InputError(repr(error), where=image)
        update: dict[str, Any] = {"verdict": "different", "differences": (unreadable(fault),)}
        return certificate.model_copy(update=update)
    side = Side.of(result.library, [plane.digest for plane in comparison.planes], True)
    update = {"result": side, "planes": comparison.planes, "differences": tuple(differences)}
    if differences:
        update["verdict"] = "different"
    return certificate.model_copy(update=update)


def _differences(
    certificate: Certificate, result: Result, comparison: Comparison
) -> list[Difference]:
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
    differences += level_differences(result.levels)
    differences += comparison.differences
    stated = described(result.metadata) | {
        "shape": result.shape,
        "dtype": result.levels[0].dtype.name,
        "levels": len(result.levels),
    }
    for name, value in stated.items():
        what = "What the result says is not what was certified"
        differences += unequal(what, name, getattr(certificate, name), value)
    return differences
