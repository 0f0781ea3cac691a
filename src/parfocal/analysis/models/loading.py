"""Load a model once in each process that uses it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock

from parfocal.analysis.models.predictor import Predictor
from parfocal.analysis.models.weights import check_path, digest_model, single_file
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.model_options import (
    BioimageioModel,
    CellposeModel,
    InstansegModel,
    LearnedModel,
    OnnxModel,
    StardistModel,
    TorchscriptModel,
)

__all__ = ["ModelHandle", "check_model", "open_model"]

_EXTRAS = {
    "onnxruntime": "models",
    "torch": "torch",
    "cellpose": "cellpose",
    "csbdeep": "stardist",
    "stardist": "stardist",
    "tensorflow": "stardist",
}

_LIBRARIES = {
    OnnxModel: "onnxruntime",
    TorchscriptModel: "torch",
    InstansegModel: "torch",
    CellposeModel: "cellpose",
    StardistModel: "stardist",
}
"""What each needs; a package of bioimage.io tells itself."""

_FILES = (OnnxModel, TorchscriptModel, CellposeModel)
"""Those that are one file."""

_lock = Lock()
_loaded: dict[ModelHandle, Predictor] = {}
"""The model that was used last; there is no more than one."""


@dataclass(frozen=True)
class ModelHandle:
    """A model that is loaded where it is used, for handing it to other processes.

    Attributes
    ----------
    options : LearnedModel
        What the user chose.
    count : int
        How many channels it will see.
    digest : str
        Digest of its file or folder.
    """

    options: LearnedModel
    count: int
    digest: str

    def predictor(self) -> Predictor:
        """Return the model, loaded.

        Raises
        ------
        InputError
            If it is missing, damaged, or was changed since it was opened first.
        ConfigurationError
            If its library is not installed.
        """
        with _lock:
            if self not in _loaded:
                _loaded.clear()
                found = digest_model(check_path(self.options))
                if found != self.digest:
                    what = "The model was changed while it was used"
                    where = self.options.path
                    raise InputError(what, where=where, expected=self.digest, found=found)
                _loaded[self] = _load(self.options, self.count)
            return _loaded[self]


def check_model(options: LearnedModel) -> None:
    """Make sure, without loading it, that a model is there and could be run here.

    Raises
    ------
    InputError
        If nothing lies at its path, or a folder instead of a file.
    ConfigurationError
        If its library is not installed.
    """
    find = single_file if isinstance(options, _FILES) else check_path
    find(options)
    package = _LIBRARIES.get(type(options))
    if package and find_spec(package) is None:
        raise _not_installed(package)


def open_model(options: LearnedModel, count: int) -> ModelHandle:
    """Find a model, and return what loads it; `count` is the number of channels it will see.

    Raises
    ------
    InputError
        If nothing lies at its path; the error tells where to get such a model.
    """
    return ModelHandle(options, count, digest_model(check_path(options)))


def _load(options: LearnedModel, count: int) -> Predictor:
    try:
        return _load_by_method(options, count)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise _not_installed(package) from error


def _not_installed(package: str) -> ConfigurationError:
    what = f"The model needs {package}, which is not installed"
    remedy = f"pip install 'parfocal[{_EXTRAS[package]}]'"
    return ConfigurationError(what, where="model", remedy=remedy)


def _load_by_method(options: LearnedModel, count: int) -> Predictor:
    match options:
        case OnnxModel():
            from parfocal.analysis.models.onnx import load_onnx

            return load_onnx(options, count)
        case TorchscriptModel():
            from parfocal.analysis.models.torchscript import load_torchscript

            return load_torchscript(options)
        case BioimageioModel():
            from parfocal.analysis.models.bioimageio import load_bioimageio

            return load_bioimageio(options)
        case CellposeModel():
            from parfocal.analysis.models.cellpose import load_cellpose

            return load_cellpose(options)
        case StardistModel():
            from parfocal.analysis.models.stardist import load_stardist

            return load_stardist(options)
        case InstansegModel():
            from parfocal.analysis.models.instanseg import load_instanseg

            return load_instanseg(options)
    msg = f"no loader for {type(options).__name__}"
    raise TypeError(msg)
