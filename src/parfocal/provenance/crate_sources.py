"""Where fetched originals came from: the files of their manifest, as inputs of the fetching."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from parfocal.core.digest import digest_path
from parfocal.errors import InputError
from parfocal.models.manifest import Manifest, ManifestFile, read_manifest
from parfocal.models.record import Artifact, Record
from parfocal.models.source import is_uri, link_of

__all__ = ["with_sources"]


def with_sources(record: Record, results: Path, warn: Callable[[str], None]) -> Record:
    """Return a record of fetching with the sources among its inputs; any other as it is.

    A source is no input of a step, since it may lie on another machine; the manifest in the
    folder of originals tells its files with their digests.

    Parameters
    ----------
    results : Path
        The results folder that the outputs of the record are relative to.
    warn : callable
        Told when the folder of originals is not what the record says, or when it holds a part of
        a source on this machine: the digest of that would not be the source's.
    """
    found: list[Artifact] = []
    for artifact in record.outputs:
        if artifact.digest.startswith("manifest-sha256:"):
            folder = results / artifact.uri
            try:
                same = digest_path(folder) == artifact.digest
                found += _sources(read_manifest(folder), warn) if same else []
            except InputError:
                same = False
            if not same:
                warn(f"{artifact.uri} is gone or was changed: its sources are not in the crate")
    return record.model_copy(update={"inputs": record.inputs + tuple(found)}) if found else record


def _sources(manifest: Manifest, warn: Callable[[str], None]) -> list[Artifact]:
    if manifest.part is not None and not is_uri(manifest.source):
        warn(
            f"Of {manifest.source} a part was taken: the crate has the digest of the part, and none"
            " of the source, which is not in it"
        )
        return []
    return [
        Artifact(
            role="source",
            kind="file",
            uri=_address(manifest, file),
            size_bytes=file.size_bytes,
            digest=file.digest,
        )
        for file in manifest.files
    ]


def _address(manifest: Manifest, file: ManifestFile) -> str:
    if Path(file.path).is_absolute():
        return file.path
    return link_of(manifest.source, "" if file.path == manifest.primary else file.path)
