"""What the datasets of Galaxy are called: files of a path that says nothing, ``dataset_1.dat``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from parfocal.cli.galaxy_params import text_of_option
from parfocal.core.step import Step
from parfocal.errors import ConfigurationError

__all__ = ["read_file_names"]

_SUFFIXES = {"nii1": "nii", "nii2": "nii", "nii1.gz": "nii.gz", "nii2.gz": "nii.gz"}
"""What files of a datatype are called, where that is not the name of the datatype."""
_LONGEST_BYTES = 255


def read_file_names(step: Step, given: Sequence[str]) -> dict[str, str]:
    """Return what input files are called, by the names of their ports.

    Parameters
    ----------
    step : Step
        The step.
    given : sequence of str
        ``PORT=FILE``, where the file says on its first line what the dataset is called, and may
        name its datatype on the second. One without a name says nothing.

    Raises
    ------
    ConfigurationError
        If there is no such input, or a file cannot be read or holds no name for a file.
    """
    ports = {port.name for port in step.inputs}
    names = {}
    for text in given:
        port, _, path = text.partition("=")
        if port not in ports or not path:
            what = "A name is not of the form PORT=FILE"
            expected = f"as PORT one of {', '.join(sorted(ports))}"
            raise ConfigurationError(what, where=f"--name-file {text}", expected=expected)
        name, _, rest = text_of_option(Path(path), "--name-file").partition("\n")
        if name.strip():
            names[port] = _file_name(name.strip(), rest.partition("\n")[0].strip())
    return names


def _file_name(name: str, datatype: str) -> str:
    """Return a name for a file, with the suffix of its datatype where it has none of an image."""
    from parfocal.images.candidates import is_image_name

    name = name.replace("/", "_")
    suffix = "." + _SUFFIXES.get(datatype, datatype)
    if not is_image_name(name) and is_image_name(suffix):
        name += suffix
    if name in (".", "..") or "\0" in name or len(name.encode()) > _LONGEST_BYTES:
        what = "The dataset has a name that no file can have"
        expected = f"at most {_LONGEST_BYTES} bytes, and more than dots"
        remedy = "Rename the dataset."
        raise ConfigurationError(what, expected=expected, found=name[:80], remedy=remedy)
    return name
