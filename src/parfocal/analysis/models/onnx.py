"""Networks in ONNX files, run by ONNX Runtime on one thread a tile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.models.predictor import (
    Layout,
    Signature,
    choose_device,
    refuse,
)
from parfocal.analysis.models.recipe import Recipe, recipe_by_name
from parfocal.analysis.models.weights import single_file
from parfocal.errors import InputError
from parfocal.models.model_options import NetworkModel, OnnxModel

__all__ = ["OnnxNetwork", "OnnxPredictor", "load_onnx", "onnx_signature", "open_network"]

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}

_LOCATION = b"\x0a\x08location\x12"
"""How the key of the name of another file is written in an ONNX file."""


@dataclass(frozen=True)
class OnnxNetwork:
    """An open file.

    Attributes
    ----------
    session : onnxruntime.InferenceSession
        What runs it; threads may share it.
    source : str
        Its name, for errors.
    device : str
        ``cpu`` or ``cuda``.
    """

    session: Any
    source: str
    device: str

    @property
    def shape(self) -> list[int | None]:
        """Sizes of the input; None where any will do."""
        return [
            size if isinstance(size, int) else None for size in self.session.get_inputs()[0].shape
        ]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the input."""
        found = self.session.get_inputs()[0].type
        if found not in _TYPES:
            what = "The model takes another type of pixels"
            raise refuse(what, ", ".join(_TYPES), found)
        return np.dtype(_TYPES[found])

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Return the first output for one input.

        Raises
        ------
        InputError
            If the network does not take it, or its type of pixels does not hold it.
        """
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        name = self.session.get_inputs()[0].name
        wanted = [self.session.get_outputs()[0].name]
        try:
            output: NDArray[Any] = self.session.run(wanted, {name: self._pixels(batch)})[0]
        except (errors.InvalidArgument, errors.Fail, errors.RuntimeException) as error:
            what = f"The model does not take a tile: {_first_line(error)}"
            remedy = "Set tile_px, tile_planes and channels to what the model was made for."
            raise InputError(
                what, where=self.source, expected=self.shape, found=batch.shape, remedy=remedy
            ) from error
        return output

    def _pixels(self, batch: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is told
            pixels = batch.astype(self.dtype)
        whole = self.dtype.kind != "f"
        if not (np.array_equal(pixels, batch) if whole else np.isfinite(pixels).all()):
            what = "The model's type of pixels does not hold those of the image"
            found = f"{batch.min():.6g} to {batch.max():.6g}"
            remedy = "Choose another model, or convert the image to what it was trained on."
            raise refuse(what, self.dtype.name, found, remedy)
        return pixels


def open_network(source: Path | bytes, name: str, device: str) -> OnnxNetwork:
    """Open a network from a file or its bytes.

    Raises
    ------
    InputError
        If it is damaged, or has not one input.
    ConfigurationError
        If the device is not there.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    if isinstance(source, bytes):
        _refuse_other_files(source, name)
    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    chosen = choose_device(device, gpu=gpu)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    providers = ["CUDAExecutionProvider"] if chosen == "cuda" else []
    try:
        session = onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else str(source),
            options,
            providers=[*providers, "CPUExecutionProvider"],
        )
    except (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.NoSuchFile,
        errors.NotImplemented,
        errors.RuntimeException,
    ) as error:
        what = f"The file is no ONNX model that ONNX Runtime can run: {_first_line(error)}"
        raise InputError(what, where=name, remedy=OnnxModel.weights_from) from error
    inputs = [one.name for one in session.get_inputs()]
    if len(inputs) != 1:
        what = "The model has not one input"
        raise InputError(what, where=name, expected=1, found=", ".join(inputs) or "none")
    used = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"
    if device == "cuda":
        choose_device(device, gpu=used == "cuda")
    return OnnxNetwork(session, name, used)


def _refuse_other_files(content: bytes, name: str) -> None:
    """Refuse a network that keeps weights in files beside it, which its digest would not cover."""
    found = content.find(_LOCATION)
    if found >= 0:
        start = found + len(_LOCATION) + 1
        other = content[start : start + content[start - 1]].decode("utf-8", "replace")
        what = "The model keeps its weights in another file"
        remedy = "Save it as one file: onnx.save(onnx.load(path), other_path)."
        raise InputError(what, where=name, found=other, remedy=remedy)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


@dataclass(frozen=True)
class OnnxPredictor:
    """A network with its axes."""

    network: OnnxNetwork
    layout: Layout
    signature: Signature

    def predict(self, tile: NDArray[np.float32]) -> NDArray[Any]:
        """Return what the network gives for a tile (C, Z, Y, X)."""
        output = self.network.run(self.layout.to_network(tile))
        z, y, x = tile.shape[1:]
        return self.layout.from_network(output, (z, y, x))


def load_onnx(options: OnnxModel, count: int) -> OnnxPredictor:
    """Load an ONNX file; its axes are told by its input, and by the number of channels.

    Raises
    ------
    InputError
        If it is missing or damaged, or its input is no image.
    """
    path = single_file(options)
    network = open_network(path.read_bytes(), str(path), options.device)
    layout = Layout(_axes(network, count))
    recipe = recipe_by_name(options.normalisation, options)
    signature = replace(
        onnx_signature(network, layout, options, recipe), activation=options.activation
    )
    if options.normalisation != "none" and network.dtype.kind != "f":
        what = "The model takes whole numbers, which normalised pixels are not"
        raise refuse(what, "normalisation none", options.normalisation, "Set normalisation=none.")
    return OnnxPredictor(network, layout, signature)


def _axes(network: OnnxNetwork, count: int) -> str:
    """Tell where channels are: the axis of their number, else the shorter one, else the first."""
    shape = network.shape
    if len(shape) not in (4, 5):
        what = "The model's input is no image"
        raise refuse(what, "axes N, C, Y, X or N, C, Z, Y, X", f"{len(shape)} axes")
    if shape[0] not in (None, 1):
        what = "The model takes batches of a fixed size"
        raise refuse(what, 1, shape[0])
    spatial = "zyx"[5 - len(shape) :]
    first, near, last = shape[1], shape[-2], shape[-1]
    if first == count or last is None:
        return f"bc{spatial}"
    shorter = near is None if first is None else last < first
    return f"b{spatial}c" if last == count or shorter else f"bc{spatial}"


def onnx_signature(
    network: OnnxNetwork, layout: Layout, options: NetworkModel, recipe: Recipe
) -> Signature:
    """Return what the network states by the shape of its input."""
    import onnxruntime

    sizes = dict(zip(layout.taken, network.shape, strict=True))
    return Signature(
        runtime=f"onnxruntime {onnxruntime.__version__}",
        device=network.device,
        dimensions=3 if "z" in layout.taken else 2,
        labels=options.output == "labels",
        recipe=recipe,
        channels=sizes.get("c", 1),
        fixed=(sizes.get("z"), sizes["y"], sizes["x"]),
        outputs=tuple(one.name for one in network.session.get_outputs()),
    )
