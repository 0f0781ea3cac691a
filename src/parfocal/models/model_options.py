"""Which learned model finds the objects, and how an image is handed to it."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from parfocal.models.base import Model

__all__ = [
    "BioimageioModel",
    "CellposeModel",
    "InstansegModel",
    "LearnedModel",
    "ModelOptions",
    "NetworkModel",
    "OnnxModel",
    "StardistModel",
    "TorchscriptModel",
]

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")


class LearnedModel(Model):
    """What all learned models have in common."""

    weights_from: ClassVar[str]
    """Where the user gets such a model, for errors."""

    method: str
    path: str = Field(
        min_length=1, description="File or folder of the model on this machine; never downloaded."
    )
    channels: tuple[int | str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Indices or names of the channels that the model sees, in its order; null "
        "for the step's channel alone.",
    )
    tile_px: int | None = Field(
        default=None,
        ge=16,
        le=16384,
        description="Height and width that the model sees at once, margin included; null for "
        "what the model states, else 512, or 256 in volumes.",
    )
    halo_px: int | None = Field(
        default=None,
        ge=0,
        le=4096,
        description="Margin of a tile on each side; null for what the model states, else 64, or "
        "32 in volumes.",
    )
    tile_planes: int | None = Field(
        default=None, ge=1, le=4096, description="The same along Z in volumes; null for 32."
    )
    halo_planes: int | None = Field(
        default=None, ge=0, le=1024, description="The same along Z in volumes; null for 8."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the model runs; auto takes a GPU if there is one."
    )
    low_percentile: float = Field(
        default=1.0, ge=0, lt=100, description="The percentile of a channel that becomes 0."
    )
    high_percentile: float = Field(
        default=99.8, gt=0, le=100, description="The percentile of a channel that becomes 1."
    )
    pixel_size_um: float | None = Field(
        default=None,
        gt=0,
        description="Pixel size that the model was made for; another one by a tenth is warned "
        "of, and by a factor of two refused.",
    )
    min_iou: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="From which intersection over union in the overlap two pieces of an object "
        "that no tile sees whole are joined; of labels only.",
    )

    @field_validator("path")
    @classmethod
    def _local(cls, path: str) -> str:
        if _URL.match(path):
            msg = "must be a path on this machine, since models are not downloaded. "
            raise ValueError(msg + cls.weights_from)
        return path

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low_percentile >= self.high_percentile:
            msg = "low_percentile must be less than high_percentile"
            raise ValueError(msg)
        return self


class NetworkModel(LearnedModel):
    """A network whose output is taken as it is, without a library of its own around it."""

    output: Literal["probability", "labels"] = Field(
        default="probability",
        description="What the model gives: the probability of foreground, in which objects are "
        "found by threshold and watershed; or the label of each pixel.",
    )
    foreground_channel: int = Field(
        default=0, ge=0, description="Which channel of the output is foreground, or the labels."
    )
    boundary_channel: int | None = Field(
        default=None,
        ge=0,
        description="Which one is the border of objects; lowers the probability there.",
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="Probability beyond which a pixel is of an object."
    )


class OnnxModel(NetworkModel):
    """An ONNX file, run by ONNX Runtime."""

    weights_from: ClassVar[str] = (
        "Export your network with the library that trained it, such as torch.onnx.export, and "
        "give the .onnx file."
    )
    method: Literal["onnx"] = "onnx"
    normalisation: Literal["percentile", "standard", "none"] = Field(
        default="percentile",
        description="Scale channels by percentiles, or to mean 0 and standard deviation 1, of "
        "the whole image.",
    )
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        default="none", description="What turns the output into probabilities."
    )


class TorchscriptModel(NetworkModel):
    """A TorchScript file, run by PyTorch."""

    weights_from: ClassVar[str] = (
        "Save your network with torch.jit.script or torch.jit.trace, and give the file."
    )
    method: Literal["torchscript"] = "torchscript"
    dimensions: Literal[2, 3] = Field(
        default=2, description="Whether it sees planes (N, C, Y, X) or volumes (N, C, Z, Y, X)."
    )
    normalisation: Literal["percentile", "standard", "none"] = Field(
        default="percentile",
        description="Scale channels by percentiles, or to mean 0 and standard deviation 1, of "
        "the whole image.",
    )
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        default="none", description="What turns the output into probabilities."
    )


class BioimageioModel(NetworkModel):
    """A model package of the BioImage Model Zoo with ONNX or TorchScript weights."""

    weights_from: ClassVar[str] = (
        "Download the package with its weights from https://bioimage.io, and give the .zip or "
        "the folder that it unpacks to."
    )
    method: Literal["bioimageio"] = "bioimageio"
    normalisation: Literal["model", "percentile", "standard", "none"] = Field(
        default="model",
        description="model does what the package states; see the others at `OnnxModel`.",
    )
    activation: Literal["model", "none", "sigmoid", "softmax"] = Field(
        default="model",
        description="What turns the output into probabilities; model does what the package states.",
    )


class CellposeModel(LearnedModel):
    """A model of Cellpose 4."""

    weights_from: ClassVar[str] = (
        "Let Cellpose itself download or train one, on a machine of your choice: it keeps them in "
        "~/.cellpose/models; give the file."
    )
    method: Literal["cellpose"] = "cellpose"
    volume: bool = Field(
        default=False, description="Find objects of volumes, from the flows of three directions."
    )
    normalisation: Literal["percentile", "standard", "none"] = Field(
        default="percentile", description="See `OnnxModel`."
    )
    diameter_px: float | None = Field(
        default=None,
        gt=0,
        description="Mean diameter of the objects, which are scaled to 30 pixels; null for as is.",
    )
    flow_threshold: float = Field(
        default=0.4, ge=0, description="Greatest error of the flows of an object; 0 for any."
    )
    cellprob_threshold: float = Field(
        default=0.0, ge=-20, le=20, description="Least logit of a pixel of an object."
    )


class StardistModel(LearnedModel):
    """A model of StarDist for planes or volumes."""

    weights_from: ClassVar[str] = (
        "Let StarDist train one, or load one by from_pretrained on a machine of your choice, which "
        "keeps it in ~/.keras/models; give the folder with config.json and the weights."
    )
    method: Literal["stardist"] = "stardist"
    normalisation: Literal["percentile", "standard", "none"] = Field(
        default="percentile", description="See `OnnxModel`."
    )
    probability_threshold: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Least probability of an object; null for the model's.",
    )
    overlap_threshold: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Overlap from which the less probable of two objects is dropped; null for the "
        "model's.",
    )


class InstansegModel(LearnedModel):
    """A TorchScript file of InstanSeg, run by PyTorch."""

    weights_from: ClassVar[str] = (
        "Download a model from the releases of https://github.com/instanseg/instanseg, and give "
        "its instanseg.pt."
    )
    method: Literal["instanseg"] = "instanseg"
    target: Literal["nuclei", "cells"] = Field(
        default="nuclei", description="Which objects, where the model finds both."
    )
    normalisation: Literal["percentile", "standard", "none"] = Field(
        default="percentile", description="See `OnnxModel`."
    )


ModelOptions = Annotated[
    OnnxModel | TorchscriptModel | BioimageioModel | CellposeModel | StardistModel | InstansegModel,
    Field(discriminator="method"),
]
"""A learned model of any kind."""
