"""Join an image and a label image in one OME-Zarr that shares their chunks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.core.digest import zarr_keys
from parfocal.errors import InputError

__all__ = ["assemble"]

_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zmetadata")
# Validators and schemas ask for at least one colour: background is transparent.
_COLORS = [{"label-value": 0, "rgba": [0, 0, 0, 0]}]
_FICLONE = 0x40049409  # ioctl_ficlonerange(2)
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)
_CANNOT_CLONE = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EPERM)


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
    counts = {"linked": 0, "cloned": 0, "copied": 0} | _share_all(jobs, progress)
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
        document = _read_json(path / ("zarr.json" if zarr_format == 3 else ".zattrs"))
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

    def shape(self) -> dict[str, int]:
        """Return the size of the full resolution by axis."""
        name = "zarr.json" if self.zarr_format == 3 else ".zarray"
        sizes = _read_json(self.path / self.levels[0] / name)["shape"]
        axes = [axis["name"] for axis in self.ngff["multiscales"][0]["axes"]]
        return dict(zip(axes, sizes, strict=True))

    def write(self, target: Path) -> None:
        """Write the group's documents, without a copy of those below it, which is out of date."""
        if self.zarr_format == 2:
            _write_json(target / ".zgroup", {"zarr_format": 2})
            _write_json(target / ".zattrs", self.document)
        else:
            document = {k: v for k, v in self.document.items() if k != "consolidated_metadata"}
            _write_json(target / "zarr.json", document)

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
        if self.zarr_format == 2:
            _write_json(target / ".zgroup", {"zarr_format": 2})
            _write_json(target / ".zattrs", {"labels": names})
        else:
            attributes = {"ome": {"version": self.version, "labels": names}}
            group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
            _write_json(target / "zarr.json", group)


def _check_fit(image: _Group, labels: _Group) -> None:
    checks = [
        ("versions of NGFF", image.version, labels.version),
        ("sizes", {k: v for k, v in image.shape().items() if k != "c"}, labels.shape()),
        ("numbers of levels", len(image.levels), len(labels.levels)),
    ]
    for name, expected, found in checks:
        if expected != found:
            what = f"The {name} of image and label image differ"
            remedy = "Segment this very image, with the same NGFF version and chunks."
            raise InputError(what, where=labels.path, expected=expected, found=found, remedy=remedy)


def _label_names(image: _Group) -> list[str]:
    path = image.path / "labels" / ("zarr.json" if image.zarr_format == 3 else ".zattrs")
    if not path.is_file():
        return []
    document = _read_json(path)
    attributes = document.get("attributes", {}) if image.zarr_format == 3 else document
    return list(attributes.get("ome", attributes).get("labels", []))


def _shared_keys(group: _Group) -> list[str]:
    """Return the keys that are taken over as they are."""
    anew = {*_METADATA, *(f"labels/{name}" for name in _METADATA)}
    return [key for key in zarr_keys(group.path) if key not in anew]


def _share_all(jobs: list[tuple[Path, Path]], progress: Callable[[int, int], None]) -> Counter[str]:
    counts: Counter[str] = Counter()
    made: set[Path] = set()
    for done, (source, target) in enumerate(jobs, 1):
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        counts[_share(source, target)] += 1
        progress(done, len(jobs))
    return counts


def _share(source: Path, target: Path) -> str:
    # The link is to the file itself, should the input be a symbolic link.
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
    else:
        return "linked"
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer, _FICLONE, reader.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_CLONE:
                raise
        else:
            return "cloned"
        shutil.copyfileobj(reader, writer, 1 << 20)
    return "copied"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = "The metadata of an OME-Zarr cannot be read"
        remedy = "Check that the path is that of an OME-Zarr."
        raise InputError(what, where=path, found=error, remedy=remedy) from error
    if not isinstance(document, dict):
        what = "The metadata of an OME-Zarr is not valid"
        found = type(document).__name__
        raise InputError(what, where=path, expected="a JSON object", found=found)
    return document


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
