"""Files of strangers, which must not have other files of the machine read in their name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from parfocal.core.zipped_zarr import is_zip
from parfocal.engine.job import Job
from parfocal.errors import InputError
from parfocal.models.strangers import from_strangers

__all__ = ["refuse_references"]

_IMAGES = ("ome-zarr", "image", "file")


def refuse_references(job: Job, inputs: Mapping[str, Path], scratch: Path) -> None:
    """Let images of strangers consist of no files but those that came with them.

    An OME-TIFF, for one, may name any file of the machine as the one that its planes lie in.

    Parameters
    ----------
    job : Job
        What is attempted.
    inputs : mapping of str to Path
        What the step will see of its inputs.
    scratch : Path
        Where what came with them was unpacked.

    Raises
    ------
    InputError
        If an image names other files, or one of a format of ours cannot be read.
    """
    if not from_strangers() or job.step.scope != "image":
        return
    for port in job.step.inputs:
        path = inputs.get(port.name)
        if path is None or port.kind not in _IMAGES or not path.is_file() or is_zip(path):
            continue
        reader = getattr(job.params, "reader", None)
        _refuse(_named(path, reader), path, scratch.resolve())


def _named(path: Path, reader: str | None) -> list[Path]:
    from parfocal.images.opening import find_reader, format_of
    from parfocal.images.readers import source

    files: list[Path] = []
    for wanted in dict.fromkeys((None, reader)):  # each by itself: where one fails, one may read
        try:
            files += source.other_files(find_reader(path, wanted), path)
        except InputError:
            if wanted is not None or format_of(path) is not None:
                raise  # else no image, which the step refuses if it takes it for one
    return files


def _refuse(named: Iterable[Path], path: Path, scratch: Path) -> None:
    own = path.resolve()
    for file in named:
        real = file.resolve()
        if real != own and not real.is_relative_to(scratch):
            what = "The image names a file that did not come with it"
            remedy = "Pack the image and all files that belong to it into one zip file."
            raise InputError(what, where=path.name, found=file.name, remedy=remedy)
