"""The copies of inputs that a crate carries, taken out of it to repeat its run."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from parfocal.core.digest import digest_path
from parfocal.core.publish import write_json
from parfocal.core.zipped_zarr import find_zipped_zarr
from parfocal.errors import InputError, StorageError
from parfocal.models.manifest import MANIFEST_NAME, Manifest, read_manifest
from parfocal.models.source import is_uri
from parfocal.provenance.crate_terms import short_digest
from parfocal.provenance.read_crate import Action, Crate, Datum
from parfocal.provenance.verify_places import Places

__all__ = ["take_out"]

_CHUNK = 1 << 20
_REMEDY = "Take the crate from a backup; 'parfocal verify-run' tells what else is changed."


def take_out(
    crate: Crate, actions: Sequence[Action], folder: Path, places: Places
) -> dict[str, Path]:
    """Write the copies of what attempts used into a folder, and return where they lie.

    They lie there as they lay on the machine of the run, so that files of a set stay together.
    Originals that were fetched before the run, and left in place, and that are gone since, are
    told where the copies of them lie.

    Parameters
    ----------
    actions : sequence of Action
        The attempts that are to be repeated, the oldest first where the state of a file changed.
    folder : Path
        It is made.
    places : Places
        Where inputs lie now of which the crate has no copy.

    Returns
    -------
    dict of str to Path
        By the names that the crate has for the inputs.

    Raises
    ------
    InputError
        If a copy was changed, or the name of an input would lead out of the folder.
    StorageError
        If they cannot be written.
    """
    used = {n: None for one in actions for n in one.used if n in crate.copies and n in crate.data}
    states = {crate.data[name].name: name for name in used}
    pairs = [(crate.data[n], crate.data[crate.copies[n]]) for n in states.values()]
    _room(crate, folder, sum(copy.size_bytes or 0 for _, copy in pairs))
    taken = {}
    for datum, copy in pairs:
        taken[datum.name] = folder / _below(crate, datum)
        try:
            taken[datum.name].parent.mkdir(parents=True, exist_ok=True)
            _write(crate, datum, copy, taken[datum.name])
        except (OSError, ValueError) as error:
            what = "A copy in the crate cannot be written"
            raise StorageError(what, where=ascii(datum.name)[1:-1], found=error) from error
    copies = {datum.digest: str(taken[datum.name]) for datum, _ in pairs}
    return taken | _originals(crate, actions, folder, places, copies)


def _originals(
    crate: Crate,
    actions: Iterable[Action],
    folder: Path,
    places: Places,
    copies: Mapping[str, str],
) -> dict[str, Path]:
    """Write manifests of originals of which files are gone, with the copies in their place."""
    used = {name for one in actions for name in one.used if name in crate.data} - crate.made()
    found = {}
    for datum in sorted((crate.data[name] for name in used), key=lambda one: one.name):
        there = places.of(datum.name) if datum.digest.startswith("manifest-") else None
        if there is None or not there.is_dir() or digest_path(there) != datum.digest:
            continue
        manifest = read_manifest(there)
        gone = {
            file.path: copies[file.digest]
            for file in manifest.files
            if file.digest in copies and not (places.of(str(there / file.path)) or there).exists()
        }
        if gone:
            found[datum.name] = folder / "originals" / short_digest(datum.name)
            _write_manifest(found[datum.name], manifest, there, gone)
    return found


def _write_manifest(folder: Path, manifest: Manifest, was: Path, moved: Mapping[str, str]) -> None:
    def path(name: str) -> str:
        return moved.get(name, str(was / name))

    files = [file.model_copy(update={"path": path(file.path)}) for file in manifest.files]
    told = {"files": tuple(files), "primary": path(manifest.primary)}
    content = manifest.model_copy(update=told).model_dump(mode="json", exclude_none=True)
    write_json(folder / MANIFEST_NAME, content)


def _below(crate: Crate, datum: Datum) -> PurePosixPath:
    path = PurePosixPath(datum.name)
    if ".." in path.parts or is_uri(datum.name) or not path.name:
        what = "The crate has a copy of an input whose name is no path"
        raise InputError(what, where=crate.path, found=ascii(datum.name)[1:-1], remedy=_REMEDY)
    # Those that were relative to the results folder lie apart: they could have the same names.
    return PurePosixPath("root", *path.parts[1:]) if path.is_absolute() else "results" / path


def _room(crate: Crate, folder: Path, size: int) -> None:
    there = next(each for each in folder.absolute().parents if each.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        what = "The disk has no room for the inputs that the crate carries"
        remedy = "Free some space, or name a --folder on another disk."
        expected, found = f"{size} bytes free in {there}", f"{free}"
        raise StorageError(what, where=crate.path, expected=expected, found=found, remedy=remedy)


def _write(crate: Crate, datum: Datum, copy: Datum, target: Path) -> None:
    if not datum.digest.startswith("zarr-merkle-sha256:"):
        _copy(crate, copy, target)
        return
    with TemporaryDirectory(dir=target.parent) as folder:
        packed = Path(folder) / "packed"
        _copy(crate, copy, packed)
        zipped = find_zipped_zarr(packed)
        if zipped is None:
            what = "The crate's copy of an OME-Zarr holds none"
            where = f"{crate.path}, {ascii(copy.name)[1:-1]}"
            raise InputError(what, where=where, remedy=_REMEDY)
        (Path(folder) / "made").mkdir()
        zipped.unpack(Path(folder) / "made").rename(target)


def _copy(crate: Crate, copy: Datum, target: Path) -> None:
    """Write a file of the crate, no more of it than the crate tells, if it is what it tells."""
    digest, left = hashlib.sha256(), copy.size_bytes or 0
    with crate.files.opened(copy.name) as stream, target.open("xb") as sink:
        while left >= 0 and (block := stream.read(_CHUNK)):
            left -= len(block)
            digest.update(block)
            sink.write(block)
    found = f"sha256:{digest.hexdigest()}"
    if found != copy.digest:
        what = "The crate's copy of an input was changed"
        where = f"{crate.path}, {ascii(copy.name)[1:-1]}"
        raise InputError(what, where=where, expected=copy.digest, found=found, remedy=_REMEDY)
