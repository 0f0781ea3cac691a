"""What the datasets of Galaxy are called: files of a path that says nothing, ``dataset_1.dat``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from parfocal.cli.galaxy_params import text_of_option
from parfocal.cli.galaxy_words import field_name
from parfocal.core.step import Step
from parfocal.errors import ConfigurationError, ParfocalError
from parfocal.models.strangers import from_strangers

__all__ = ["names_of_inputs", "read_file_names", "told_by_names"]

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


def names_of_inputs(
    paths: Mapping[str, str], names: Mapping[str, str], image: Path | None
) -> dict[str, str]:
    """Return what users call the inputs of a step, by their paths.

    In Galaxy what has no name is called as the form of the tool calls it: a path of the server
    tells users nothing.

    Parameters
    ----------
    paths : mapping of str to str
        The paths by the names of the ports, the image first.
    names : mapping of str to str
        What some of them are called, by the names of the ports.
    image : Path, optional
        The file whose first line says what the first input is called, if `names` does not.
    """
    fields = {}
    if from_strangers():
        fields = {p: field_name(p) for p, path in paths.items() if Path(path).is_absolute()}
    known = {next(iter(paths)): _first_line(image)} if image and paths else {}
    told = {**fields, **known, **names}
    return {paths[port]: name for port, name in told.items() if port in paths}


def _first_line(path: Path) -> str:
    return text_of_option(path, "--image-id-file").partition("\n")[0].strip()


@contextmanager
def told_by_names(names: Mapping[str, str]) -> Iterator[None]:
    """Let errors call data by their names, where they would tell a path that says nothing.

    Parameters
    ----------
    names : mapping of str to str
        The names of data by their paths. What was linked or unpacked in a folder of the attempt's
        own is told without that folder.
    """
    try:
        yield
    except ParfocalError as error:
        error.where, error.found = (
            told if told is None else _renamed(str(told), names)
            for told in (error.where, error.found)
        )
        raise


def _renamed(text: str, names: Mapping[str, str]) -> str:
    if names:
        text = re.sub(r"[^\s'\",;]*/(?:named|input)-\w+/", "", text)
    for path in sorted(names, key=len, reverse=True):
        text = text.replace(path, names[path])
    return text


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
