"""Models of the BioImage Model Zoo: networks whose package tells how they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from parfocal.analysis.models.onnx import OnnxPredictor, onnx_signature, open_network
from parfocal.analysis.models.package import Package, open_package
from parfocal.analysis.models.predictor import Activation, Layout, Predictor, Signature, Sizes
from parfocal.analysis.models.preprocessing import recipe_of_steps
from parfocal.analysis.models.recipe import recipe_by_name
from parfocal.analysis.models.torchscript import TorchPredictor, load_script
from parfocal.analysis.models.weights import check_path
from parfocal.errors import InputError
from parfocal.models.model_options import BioimageioModel

__all__ = ["load_bioimageio"]

_LETTERS = {"batch": "b", "channel": "c"}
_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}


def load_bioimageio(options: BioimageioModel) -> Predictor:
    """Load a package: a folder or a zip archive of version 0.4 or 0.5.

    Raises
    ------
    InputError
        If it is damaged, or says something that is not done here.
    """
    package = open_package(check_path(options))
    inputs, outputs = package.description["inputs"], package.description.get("outputs") or [{}]
    if len(inputs) != 1:
        what = "The model has not one input"
        names = ", ".join(str(one.get("name", one.get("id"))) for one in inputs)
        raise InputError(what, where=package.path, expected=1, found=names)
    layout = Layout(_axes(inputs[0], package), _axes(outputs[0], package))
    weights = package.weights()
    name = f"{package.path} ({weights.kind})"
    if weights.kind == "onnx":
        network = open_network(weights.source, name, options.device)
        recipe = recipe_by_name("none", options)
        base = onnx_signature(network, layout, options, recipe)
        signature = _described(base, inputs[0], outputs[0], package, options)
        return OnnxPredictor(network, layout, signature)
    import torch

    script, device = load_script(weights.source, name, options.device)
    base = Signature(
        runtime=f"torch {torch.__version__}",
        device=device,
        dimensions=3 if "z" in layout.taken else 2,
        labels=options.output == "labels",
        recipe=recipe_by_name("none", options),
        outputs=tuple(str(one.get("name", one.get("id"))) for one in outputs),
    )
    signature = _described(base, inputs[0], outputs[0], package, options)
    return TorchPredictor(script, name, layout, signature)


def _described(
    base: Signature,
    tensor: dict[str, Any],
    output: dict[str, Any],
    package: Package,
    options: BioimageioModel,
) -> Signature:
    """Add what the description says to what the weights say."""
    sizes = _sizes(tensor, package)
    fixed, least, step = (_along_zyx(sizes, place) for place in range(3))
    channels = sizes.get("c", (1, 1, 1))[0]
    recipe = (
        recipe_of_steps(tensor.get("preprocessing") or [], package.path)
        if options.normalisation == "model"
        else recipe_by_name(options.normalisation, options)
    )
    return replace(
        base,
        channels=base.channels or channels,
        fixed=(base.fixed[0] or fixed[0], base.fixed[1] or fixed[1], base.fixed[2] or fixed[2]),
        least=(least[0] or 1, least[1] or 1, least[2] or 1),
        step=(step[0] or 1, step[1] or 1, step[2] or 1),
        halo=_halo(output),
        pixel_size_um=_pixel_size(tensor),
        recipe=recipe,
        activation=(
            _activation(output, package) if options.activation == "model" else options.activation
        ),
    )


def _letter(axis: dict[str, Any]) -> str:
    return _LETTERS.get(str(axis.get("type")), str(axis.get("id", "?")))


def _axes(tensor: dict[str, Any], package: Package) -> str:
    """Return the axes of a tensor, such as ``bcyx``."""
    axes = tensor.get("axes", "")
    text = axes if isinstance(axes, str) else "".join(_letter(axis) for axis in axes)
    if len(set(text)) != len(text) or not set("yx") <= set(text) <= set("bczyx"):
        what = "The axes of the model are not those of an image"
        raise InputError(what, where=package.path, expected="some of b, c, z, y, x", found=text)
    return text


def _sizes(tensor: dict[str, Any], package: Package) -> dict[str, tuple[int | None, int, int]]:
    """Return for each axis the only size that is possible, or else the least and the step."""
    axes = tensor["axes"]
    if not isinstance(axes, str):
        return {_letter(axis): _size(axis) for axis in axes}
    shape = tensor.get("shape")
    if isinstance(shape, dict):
        pairs = zip(shape["min"], shape["step"], strict=True)
        found = [(None, least, step) if step else (least, least, 1) for least, step in pairs]
    elif isinstance(shape, Sequence):
        found = [(size, size, 1) for size in shape]
    else:
        what = "The package does not state the shape of its input"
        raise InputError(what, where=package.path, found=shape)
    return dict(zip(axes, found, strict=True))


def _size(axis: dict[str, Any]) -> tuple[int | None, int, int]:
    """Return the size of one axis of version 0.5."""
    if axis.get("type") == "channel":
        return len(axis["channel_names"]), 1, 1
    size = axis.get("size")
    if isinstance(size, int):
        return size, size, 1
    if isinstance(size, dict) and "min" in size:
        return None, int(size["min"]), int(size["step"])
    return None, 1, 1


def _along_zyx(
    sizes: dict[str, tuple[int | None, int, int]], place: int
) -> tuple[int | None, int | None, int | None]:
    z, y, x = (sizes[axis][place] if axis in sizes else None for axis in "zyx")
    return z, y, x


def _halo(output: dict[str, Any]) -> Sizes | None:
    """Return the margin that the description asks to cut off."""
    axes = output.get("axes", "")
    if isinstance(axes, str):
        given = dict(zip(axes, output.get("halo") or [], strict=False))
    else:
        given = {_letter(axis): axis["halo"] for axis in axes if axis.get("halo")}
    z, y, x = (int(given.get(axis, 0)) for axis in "zyx")
    return (z, y, x) if z or y or x else None


def _pixel_size(tensor: dict[str, Any]) -> float | None:
    """Return the pixel size along X in micrometres, where version 0.5 states one."""
    for axis in tensor["axes"]:
        if isinstance(axis, dict) and _letter(axis) == "x" and axis.get("unit") in _MICROMETRES:
            return float(axis.get("scale", 1.0)) * _MICROMETRES[axis["unit"]]
    return None


def _activation(output: dict[str, Any], package: Package) -> Activation:
    """Return what the description asks to do with the output."""
    names = [str(step.get("id", step.get("name"))) for step in output.get("postprocessing") or []]
    asked = [name for name in names if name not in ("ensure_dtype", "clip")]
    if not asked:
        return "none"
    if asked == ["sigmoid"]:
        return "sigmoid"
    if asked == ["softmax"]:
        return "softmax"
    what = "The package asks for postprocessing that is not done here"
    remedy = "Set activation to none, sigmoid or softmax."
    where: Path = package.path
    raise InputError(what, where=where, expected="sigmoid", found=", ".join(asked), remedy=remedy)
