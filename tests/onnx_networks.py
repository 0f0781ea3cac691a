"""Tiny networks in ONNX files, of which it is known what they find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

__all__ = ["blur", "blurred", "components", "save_network"]

RADIUS = 2
"""How far `blur` looks."""

GAIN, OFFSET = 12.0, -5.0


def save_network(path: Path, nodes, constants, given, taken, *, elem=TensorProto.FLOAT) -> Path:
    """Write a network; `given` and `taken` are the shapes of its input ``i`` and output ``o``."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("i", elem, given)],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, taken)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def blur(
    path: Path, dimensions: int = 2, *, weights=(1.0,), size=None, last=False, logits=False
) -> Path:
    """Write a network that gives the sigmoid of a weighted sum of box means of the channels.

    It takes (N, C, [Z,] Y, X), or channels last; of any size, or of `size` pixels along each axis.
    """
    width = 2 * RADIUS + 1
    channels = len(weights)
    kernel = np.full((1, channels) + (width,) * dimensions, GAIN / width**dimensions, np.float32)
    kernel *= np.reshape(weights, (1, channels) + (1,) * dimensions).astype(np.float32)
    sides = [size or f"side{i}" for i in range(dimensions)]
    first = list(range(dimensions + 2))
    to_first = [0, dimensions + 1, *first[1:-1]]
    to_last = [0, *first[2:], 1]
    nodes, taken = [], "i"
    if last:
        nodes.append(helper.make_node("Transpose", ["i"], ["t"], perm=to_first))
        taken = "t"
    pads = [RADIUS] * 2 * dimensions
    nodes.append(helper.make_node("Conv", [taken, "w", "b"], ["c"], pads=pads))
    final = "Identity" if logits else "Sigmoid"
    nodes.append(helper.make_node(final, ["c"], ["s" if last else "o"]))
    if last:
        nodes.append(helper.make_node("Transpose", ["s"], ["o"], perm=to_last))
    constants = {"w": kernel, "b": np.array([OFFSET], np.float32)}
    given = ["n", *sides, channels] if last else ["n", channels, *sides]
    gives = ["n", *sides, 1] if last else ["n", 1, *sides]
    return save_network(path, nodes, constants, given, gives)


def blurred(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what `blur` gives for one normalised channel that is mirrored at its border."""
    means = ndimage.uniform_filter(image, 2 * RADIUS + 1, mode="reflect")
    return 1 / (1 + np.exp(-(GAIN * means + OFFSET)))


def components(path: Path, steps: int = 30, dimensions: int = 2) -> Path:
    """Write a network that labels what touches among the pixels above one half.

    Each pixel above begins with a number of its own, and takes the greatest of its neighbours'
    (edges and corners included) as often as there are `steps`.
    """
    sides = [f"side{i}" for i in range(dimensions)]
    nodes = [
        helper.make_node("Greater", ["i", "half"], ["above"]),
        helper.make_node("Cast", ["above"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["i", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["ones"]),
    ]
    constants = {
        "half": np.float32(0.5),
        "zero": np.float32(0),
        "one": np.float32(1),
    }
    name = None
    for axis in range(dimensions):
        constants[f"axis{axis}"] = np.int64(axis + 2)
        constants[f"weight{axis}"] = np.float32(160.0 ** (dimensions - 1 - axis))
        nodes.append(helper.make_node("CumSum", ["ones", f"axis{axis}"], [f"count{axis}"]))
        nodes.append(helper.make_node("Mul", [f"count{axis}", f"weight{axis}"], [f"part{axis}"]))
        if name is None:
            name = f"part{axis}"
        else:
            nodes.append(helper.make_node("Add", [name, f"part{axis}"], [f"number{axis}"]))
            name = f"number{axis}"
    nodes.append(helper.make_node("Mul", [name, "mask"], ["label0"]))
    for step in range(steps):
        pool = {"kernel_shape": [3] * dimensions, "pads": [1] * 2 * dimensions}
        nodes.append(helper.make_node("MaxPool", [f"label{step}"], [f"wide{step}"], **pool))
        nodes.append(helper.make_node("Mul", [f"wide{step}", "mask"], [f"label{step + 1}"]))
    nodes.append(helper.make_node("Identity", [f"label{steps}"], ["o"]))
    return save_network(path, nodes, constants, ["n", 1, *sides], ["n", 1, *sides])
