"""The files of a model: whether they are there, and their digest."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from parfocal.core.digest import digest_path, fingerprint
from parfocal.errors import InputError
from parfocal.models.model_options import LearnedModel

__all__ = ["check_path", "digest_model", "single_file", "state_of_model"]


def check_path(options: LearnedModel) -> Path:
    """Return where the model lies.

    Raises
    ------
    InputError
        If nothing is there.
    """
    path = Path(options.path)
    if not path.exists():
        what = "There is no such model, and models are not downloaded"
        raise InputError(what, where=path, remedy=options.weights_from)
    return path


def single_file(options: LearnedModel) -> Path:
    """Return where a model lies that is one file.

    Raises
    ------
    InputError
        If nothing is there, or a folder.
    """
    path = check_path(options)
    if not path.is_file():
        what = "The model is not a file"
        raise InputError(what, where=path, found="a folder", remedy=options.weights_from)
    return path


def digest_model(path: Path) -> str:
    """Return the digest of a model's file, or of all files in its folder.

    A model that was digested before and has not changed since is not read again.

    Raises
    ------
    InputError
        If nothing lies there, or it may not be read.
    """
    return _digest(path, fingerprint(path))


@lru_cache(maxsize=8)
def _digest(path: Path, _fingerprint: str) -> str:
    return digest_path(path)


def state_of_model(options: LearnedModel | None) -> str:
    """Return what changes with the bytes of a model; of a model that is missing, that it is."""
    if options is None:
        return "no model"
    path = Path(options.path)
    return digest_model(path) if path.exists() else f"{path} is missing"
