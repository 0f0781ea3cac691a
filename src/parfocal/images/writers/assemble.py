"""Join an image and a label image in one OME-Zarr that shares their chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.core.digest import zarr_keys
from parfocal.errors import InputError
from parfocal.images.writers.groups import read_document, write_document, write_group
from parfocal.images.writers.sharing import share_all

__all__ = ["assemble"]

_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zmetadata")
# Validators and schemas ask for at least one colour: background is transparent.
_COLORS = [{"label-value": 0, "rgba": [0, 0, 0, 0]}]


def assemble(
    image: Path,
    labels: Path,
    label_name: str,
    target: Path,
    progress: Callable[[int, int], None],
) -> dict[str, int]:
    """Write an OME-Zarr of `image` with `labels` below ``labels/<label_name>``.

    Chunks are hard links, or clones or copies where the file system has no hard links or the
    target lies on another one. The group documents are written anew: those of the label
    image say which image it belongs to.

    Parameters
    ----------
    image, labels : Path
        OME-Zarrs of one image each, of one version of NGFF, of the same size but for C, and
        with as many levels.
    label_name : str
        Name of the label image.
    target : Path
        Folder to be made.
    progress : callable
        Called as ``progress(done, total)`` with numbers of keys.

    Returns
    -------
    dict of str to int
        How many files were ``linked``, ``cloned`` and ``copied``.

    Raises
    ------
    InputError
        If one is no OME-Zarr image, they do not fit, or the image has such labels already.
    """
    groups = _Group.read(image), _Group.read(labels)
    _check_fit(*groups)
    names = _label_names(groups[0])
    if label_name in names:
        what = "The image has a label image of this name already"
        remedy = "Choose another label_name."
        raise InputError(what, where=image, found=label_name, remedy=remedy)
    inner = target / "labels" / label_name
    jobs = [(image / key, target / key) for key in _shared_keys(groups[0])]
    jobs += [(labels / key, inner / key) for key in _shared_keys(groups[1])]
    counts = share_all(jobs, progress)
    groups[1].write_label(inner)
    groups[0].write_listing(target / "labels", [*names, label_name])
    groups[0].write(target)
    return counts


@dataclass(frozen=True)
class _Group:
    """A multiscales group: its documents as they were read."""

    path: Path
    attributes: dict[str, Any]
    document: dict[str, Any]
    zarr_format: int

    @classmethod
    def read(cls, path: Path) -> _Group:
        """Read the root documents of an OME-Zarr image."""
        zarr_format = 3 if (path / "zarr.json").is_file() else 2
        document = read_document(path / ("zarr.json" if zarr_format == 3 else ".zattrs"))
        attributes = document.get("attributes", {}) if zarr_format == 3 else document
        group = cls(path, attributes, document, zarr_format)
        if not group.ngff.get("multiscales"):
            what = "The folder is not an OME-Zarr image"
            remedy = "Convert it with 'parfocal convert-image'."
            raise InputError(what, where=path, expected="multiscales metadata", remedy=remedy)
        return group

    @property
    def ngff(self) -> dict[str, Any]:
        """The part of the attributes that NGFF describes."""
        ngff: dict[str, Any] = self.attributes.get("ome", self.attributes)
        return ngff

    @property
    def version(self) -> str:
        """The version of NGFF."""
        return str(self.ngff.get("version") or self.ngff["multiscales"][0].get("version"))

    @property
    def levels(self) -> list[str]:
        """The paths of the levels."""
        return [str(level["path"]) for level in self.ngff["multiscales"][0]["datasets"]]

    def shapes(self) -> list[dict[str, int]]:
        """Return the size of each level by axis."""
        name = "zarr.json" if self.zarr_format == 3 else ".zarray"
        axes = [axis["name"] for axis in self.ngff["multiscales"][0]["axes"]]
        shapes = []
        for level in self.levels:
            sizes = read_document(self.path / level / name)["shape"]
            shapes.append(dict(zip(axes, sizes, strict=True)))
        return shapes

    def write(self, target: Path) -> None:
        """Write the group's documents, without a copy of those below it, which is out of date."""
        if self.zarr_format == 2:
            write_document(target / ".zgroup", {"zarr_format": 2})
            write_document(target / ".zattrs", self.document)
        else:
            document = {k: v for k, v in self.document.items() if k != "consolidated_metadata"}
            write_document(target / "zarr.json", document)

    def write_label(self, target: Path) -> None:
        """Write the group's documents as those of a label image of the image two levels up."""
        label = dict(self.ngff.get("image-label", {}))
        if not label.get("colors") and not label.get("properties"):
            label["colors"] = _COLORS
        label["source"] = {"image": "../../"}
        ngff = self.ngff | {"image-label": label}
        attributes = self.attributes | {"ome": ngff} if "ome" in self.attributes else ngff
        document = self.document | {"attributes": attributes}
        if self.zarr_format == 2:
            document = attributes
        _Group(self.path, attributes, document, self.zarr_format).write(target)

    def write_listing(self, target: Path, names: list[str]) -> None:
        """Write the documents of the group that lists label images."""
        version = self.version if self.zarr_format == 3 else "0.4"
        write_group(target, {"labels": names}, version)


def _check_fit(image: _Group, labels: _Group) -> None:
    without_c = [{k: v for k, v in level.items() if k != "c"} for level in image.shapes()]
    shapes = without_c, labels.shapes()
    checks: list[tuple[str, object, object]] = [
        ("versions of NGFF", image.version, labels.version),
        ("sizes", shapes[0][0], shapes[1][0]),
        ("numbers of levels", len(shapes[0]), len(shapes[1])),
        ("sizes of levels", shapes[0], shapes[1]),
    ]
    for name, expected, found in checks:
        if expected != found:
            what = f"The {name} of image and label image differ"
            remedy = "Segment this very image."
            raise InputError(what, where=labels.path, expected=expected, found=found, remedy=remedy)


def _label_names(image: _Group) -> list[str]:
    path = image.path / "labels" / ("zarr.json" if image.zarr_format == 3 else ".zattrs")
    if not path.is_file():
        return []
    document = read_document(path)
    attributes = document.get("attributes", {}) if image.zarr_format == 3 else document
    return list(attributes.get("ome", attributes).get("labels", []))


def _shared_keys(group: _Group) -> list[str]:
    """Return the keys that are taken over as they are."""
    anew = {*_METADATA, *(f"labels/{name}" for name in _METADATA)}
    return [key for key in zarr_keys(group.path) if key not in anew]
