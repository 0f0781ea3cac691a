"""A model package of the BioImage Model Zoo: its description, and its files."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile

from parfocal.errors import InputError
from parfocal.models.model_options import BioimageioModel

__all__ = ["Package", "Weights", "open_package"]

_DESCRIPTIONS = ("bioimageio.yaml", "rdf.yaml")
_KINDS = ("onnx", "torchscript")


@dataclass(frozen=True)
class Weights:
    """The weights of a package that can be run here.

    Attributes
    ----------
    kind : str
        ``onnx`` or ``torchscript``.
    source : Path or bytes
        Where they lie; what they are, if in an archive.
    """

    kind: str
    source: Path | bytes


@dataclass(frozen=True)
class Package:
    """A folder, or a zip archive.

    Attributes
    ----------
    path : Path
        Where it lies.
    description : dict
        What its ``rdf.yaml`` or ``bioimageio.yaml`` says.
    """

    path: Path
    description: dict[str, Any]

    def weights(self) -> Weights:
        """Return the weights in ONNX, else those in TorchScript.

        Raises
        ------
        InputError
            If there are none, or they differ from what the description says.
        """
        stated = self.description.get("weights") or {}
        for kind in _KINDS:
            entry = stated.get(kind)
            if entry:
                name = str(entry.get("source"))
                content = _read(self.path, name)
                self._check(name, content, entry.get("sha256"))
                outside = self.path.is_dir()
                return Weights(kind, self.path / name if outside else content)
        what = "The package has no weights that can be run here"
        raise InputError(
            what,
            where=self.path,
            expected=" or ".join(_KINDS),
            found=", ".join(stated) or "none",
            remedy="Take a model of bioimage.io that offers them.",
        )

    def _check(self, name: str, content: bytes, expected: str | None) -> None:
        found = sha256(content).hexdigest()
        if expected and found != expected:
            what = f"The weights {name} differ from what the package says of them"
            remedy = "Download the package again."
            raise InputError(
                what, where=self.path, expected=f"sha256 {expected}", found=found, remedy=remedy
            )


def open_package(path: Path) -> Package:
    """Read the description of a package.

    Raises
    ------
    InputError
        If it is no package of a model, or of a version that is not known.
    """
    import yaml

    content = _description(path)
    try:
        described = yaml.safe_load(content)
    except yaml.YAMLError as error:
        what = "The description of the model cannot be read"
        raise InputError(what, where=path, found=str(error).splitlines()[0]) from error
    if not isinstance(described, dict) or not isinstance(described.get("inputs"), list):
        what = "The package describes no model"
        raise InputError(what, where=path, remedy=BioimageioModel.weights_from)
    found = str(described.get("format_version", "none"))
    if not found.startswith(("0.4.", "0.5.")):
        what = "The package has another version of the description"
        raise InputError(what, where=path, expected="format_version 0.4 or 0.5", found=found)
    return Package(path, described)


def _description(path: Path) -> bytes:
    if path.is_dir():
        for name in _DESCRIPTIONS:
            if (path / name).is_file():
                return (path / name).read_bytes()
    elif path.suffix.lower() == ".yaml":
        what = "The model is given by its description"
        raise InputError(what, where=path, remedy="Give the folder with it, or the .zip.")
    else:
        for name in _DESCRIPTIONS:
            if name in _names(path):
                return _read(path, name)
    what = "The package has no description"
    expected = " or ".join(_DESCRIPTIONS)
    raise InputError(what, where=path, expected=expected, remedy=BioimageioModel.weights_from)


def _names(path: Path) -> list[str]:
    try:
        with ZipFile(path) as archive:
            return archive.namelist()
    except BadZipFile as error:
        what = "The file is no zip archive"
        raise InputError(what, where=path, remedy=BioimageioModel.weights_from) from error


def _read(path: Path, name: str) -> bytes:
    """Return a file of a package."""
    inside = PurePosixPath(name)
    if "://" in name or inside.is_absolute() or ".." in inside.parts:
        what = "The package does not hold its weights"
        raise InputError(what, where=path, found=name, remedy=BioimageioModel.weights_from)
    try:
        if path.is_dir():
            return (path / name).read_bytes()
        with ZipFile(path) as archive:
            return archive.read(inside.as_posix())
    except (KeyError, FileNotFoundError, BadZipFile, zlib.error) as error:
        what = f"The package lacks {name}, or it is damaged"
        raise InputError(what, where=path, remedy="Download the package again.") from error
