"""The manifest of fetched originals: which files there are, and which one to open."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from parfocal.errors import InputError
from parfocal.models.base import Model, explain_validation
from parfocal.models.image_part import FetchedPart
from parfocal.models.strangers import refuse_files_elsewhere

__all__ = [
    "MANIFEST_NAME",
    "Manifest",
    "ManifestFile",
    "fetched_part",
    "meant_series",
    "primary_path",
    "read_manifest",
]

MANIFEST_NAME = "manifest.json"


class ManifestFile(Model):
    """One original: a file, or an OME-Zarr as a whole."""

    path: str = Field(description="Absolute when left in place, else relative to the manifest.")
    size_bytes: int = Field(ge=0, description="Size; of an OME-Zarr, of all its keys.")
    digest: str = Field(description="sha256:<hex> or zarr-merkle-sha256:<hex>.")
    etag: str | None = Field(default=None, description="What the server called this version.")


class Manifest(Model):
    """The originals of one source."""

    format: Literal["parfocal-manifest-1"] = "parfocal-manifest-1"
    source: str = Field(description="The source as the sample sheet has it.")
    files: tuple[ManifestFile, ...]
    primary: str = Field(description="The path of the file to open.")
    series: str | None = Field(
        default=None, description="Which image of several it is, where the source says so."
    )
    part: FetchedPart | None = Field(
        default=None, description="Which part of the source it is, where it is not the whole."
    )

    def primary_path(self, folder: Path) -> Path:
        """Return where the file to open lies, for a manifest in `folder`."""
        return folder / self.primary


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of fetched originals.

    Raises
    ------
    InputError
        If `folder` holds no manifest, one that is not valid, or in Galaxy one that names
        files elsewhere.
    """
    path = folder / MANIFEST_NAME
    remedy = "Fetch the source again with 'parfocal fetch-image'."
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        what = f"The manifest is not valid: {explain_validation(error)}"
        raise InputError(what, where=path, remedy=remedy) from error
    except OSError as error:
        what = "The manifest cannot be read"
        raise InputError(what, where=path, found=error, remedy=remedy) from error
    named = (*(file.path for file in manifest.files), manifest.primary)
    refuse_files_elsewhere(named, path)
    return manifest


def primary_path(source: Path) -> Path:
    """Return what to open: `source` itself, or what the manifest in it names as primary.

    Parameters
    ----------
    source : Path
        A file, an OME-Zarr, or a folder of fetched originals.

    Raises
    ------
    InputError
        If there is a manifest that is not valid.
    """
    if not (source / MANIFEST_NAME).is_file():
        return source
    return read_manifest(source).primary_path(source)


def meant_series(source: Path) -> str:
    """Return which image the manifest in `source` means; empty where it says nothing.

    Raises
    ------
    InputError
        If there is a manifest that is not valid.
    """
    there = (source / MANIFEST_NAME).is_file()
    return (read_manifest(source).series or "") if there else ""


def fetched_part(source: Path) -> FetchedPart | None:
    """Return which part of its source the manifest in `source` says that it is; None for all.

    Raises
    ------
    InputError
        If there is a manifest that is not valid.
    """
    there = (source / MANIFEST_NAME).is_file()
    return read_manifest(source).part if there else None
