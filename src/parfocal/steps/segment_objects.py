"""Find the objects of one channel and write them as a label image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from parfocal.core.step import Context, Port, Step
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters
from parfocal.models.image import ImageMetadata
from parfocal.models.label_name import LabelName
from parfocal.models.model_options import LearnedModel, ModelOptions
from parfocal.models.segment_options import (
    GlobalThreshold,
    ManualThreshold,
    PeakSeeds,
    SeedOptions,
    ThresholdOptions,
)
from parfocal.models.sheet import Row
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.analysis.findings import Findings
    from parfocal.analysis.models.segment import Prepared
    from parfocal.analysis.objects import SizeLimits
    from parfocal.analysis.segment import LocalMean, Segmentation, Settings
    from parfocal.analysis.stitch import MakeVolume
    from parfocal.analysis.windows import Windows
    from parfocal.core.blocks import Readable, Shape, Writable
    from parfocal.images import Image

__all__ = ["STEP", "SegmentObjectsParams"]


class SegmentObjectsParams(Parameters):
    """Parameters of segment-objects. Pixels are those along X; Z and Y follow the pixel sizes."""

    channel: int | str = Field(default=0, description="Index from 0, or name, of the channel.")
    label_name: LabelName = "nuclei"
    mode: Literal["auto", "plane", "volume"] = Field(
        default="auto",
        description="Objects of single planes or of volumes; auto takes volumes where Z > 1.",
    )
    polarity: Literal["bright", "dark"] = Field(
        default="bright", description="Whether objects are brighter or darker than background."
    )
    smoothing_px: float = Field(
        default=1.0,
        ge=0,
        le=50,
        description="Standard deviation of the Gaussian smoothing in pixels; 0 for none.",
    )
    smoothing_um: float | None = Field(
        default=None, gt=0, le=100, description="The same in micrometres; replaces smoothing_px."
    )
    model: ModelOptions | None = Field(
        default=None, description="A learned model that finds the objects instead of a threshold."
    )
    threshold: ThresholdOptions = Field(
        default=GlobalThreshold(), description="What separates objects from background."
    )
    seeds: SeedOptions = Field(default=PeakSeeds(), description="How touching objects are divided.")
    edge_fraction: float | None = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Where the border of an object lies between background (0) and its own "
        "brightness (1); null leaves it at the threshold.",
    )
    fill_holes: bool = Field(
        default=True, description="Whether background that an object encloses belongs to it."
    )
    min_diameter_px: float = Field(
        default=4.0,
        ge=0,
        le=1e6,
        description="Drop objects smaller than the disc or ball of this diameter in pixels.",
    )
    min_diameter_um: float | None = Field(
        default=None, gt=0, le=1e6, description="The same in micrometres; replaces min_diameter_px."
    )
    max_diameter_px: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="Drop objects larger than the disc or ball of this one.",
    )
    max_diameter_um: float | None = Field(
        default=None, gt=0, le=1e6, description="The same in micrometres; replaces max_diameter_px."
    )
    whole_mib: int = Field(
        default=1024,
        ge=1,
        le=1 << 20,
        description="Connected regions are divided whole as long as that needs no more memory than "
        "so many MiB; larger ones in overlapping windows, which is told in a warning.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: SegmentObjectsParams,
    context: Context,
) -> None:
    """Write the label image of one channel.

    Raises
    ------
    InputError
        If the channel does not exist, a length in micrometres meets an image without
        pixel size, the image falls into too many pieces, or a model cannot be used.
    """
    from parfocal.core.digest import digest_path
    from parfocal.images import ScratchVolume, ZarrOptions, open_image, write_ome_zarr

    with ExitStack() as stack:
        image = stack.enter_context(open_image(inputs["image"]))

        def make_volume(shape: Shape, dtype: Any, block: Shape) -> Writable:
            return stack.enter_context(ScratchVolume(context.scratch, shape, dtype, block))

        if params.model is None:
            labels = _by_threshold(image, params, make_volume, context)
        else:
            labels = _by_model(image, params, params.model, make_volume, context)
        write_ome_zarr(
            outputs["labels"],
            _label_metadata(image.metadata, params.label_name, labels.dtype.name),
            labels,
            ZarrOptions(halve_z=image.halves_z),  # levels as those of the image
            labels=True,
            attributes={"parfocal": {"source": {"digest": digest_path(inputs["image"])}}},
            threads=context.threads,
            scheduler=context.distributed,
        )


def _by_threshold(
    image: Image, params: SegmentObjectsParams, make_volume: MakeVolume, context: Context
) -> Readable:
    from parfocal.analysis.channels import find_channel
    from parfocal.analysis.objects import label_dtype
    from parfocal.analysis.segment import segment

    channel = find_channel(image.metadata, params.channel)
    _warn_of_rgb(image.metadata, channel, params, context)
    found = segment(
        image,
        channel,
        _settings(params, image.metadata),
        block5=image.block5,
        make_volume=make_volume,
        scheduler=context.scheduler,
        progress=context.progress,
    )
    _tell(_findings(found, params), context)
    return found.table.image(label_dtype(len(found.table)))


def _by_model(
    image: Image,
    params: SegmentObjectsParams,
    model: LearnedModel,
    make_volume: MakeVolume,
    context: Context,
) -> Readable:
    from parfocal.analysis.channels import find_channel
    from parfocal.analysis.findings import of_labels
    from parfocal.analysis.models.loading import open_model
    from parfocal.analysis.models.segment import ModelRun, prepare

    wanted = model.channels or (params.channel,)
    channels = tuple(find_channel(image.metadata, channel) for channel in wanted)
    prepared = prepare(
        open_model(model, len(channels)),
        image,
        image.metadata,
        channels,
        block5=image.block5,
        mode=params.mode,
        scheduler=context.scheduler,
    )
    context.details["model"] = prepared.details
    for name in _without_effect(params, model, labels=prepared.signature.labels):
        context.warn(f"{name} is set, but has no effect with this model")
    for warning in prepared.warnings:
        context.warn(warning)
    if prepared.signature.labels:
        limits = _limits(params, image.metadata, planar=prepared.planar)
        run = ModelRun(make_volume, context.scheduler, context.progress)
        labels, counts = prepared.labels(limits, run)
        _tell(of_labels(counts, params.label_name), context)
        return labels
    return _by_probability(prepared, image.metadata, params, make_volume, context)


def _by_probability(
    prepared: Prepared,
    metadata: ImageMetadata,
    params: SegmentObjectsParams,
    make_volume: MakeVolume,
    context: Context,
) -> Readable:
    from parfocal.analysis.models.segment import ModelRun
    from parfocal.analysis.objects import label_dtype
    from parfocal.analysis.segment import segment

    def predicting(done: int, total: int) -> None:
        context.progress(done, 2 * total)

    def dividing(done: int, total: int) -> None:
        context.progress(total + done, 2 * total)

    run = ModelRun(make_volume, context.scheduler, predicting)
    volume, block = prepared.probability(run)
    as_image = {
        "polarity": "bright",
        "smoothing_px": 0.0,
        "smoothing_um": None,
        "threshold": ManualThreshold(value=prepared.threshold),
    }
    found = segment(
        volume,
        0,
        _settings(params.model_copy(update=as_image), metadata),
        block5=block,
        make_volume=make_volume,
        scheduler=context.scheduler,
        progress=dividing,
    )
    labels = found.table.image(label_dtype(len(found.table)))
    findings = _findings(found, params)
    findings.add_seams([prepared.boxes(labels, len(found.table), block, context.scheduler)])
    _tell(findings, context)
    return labels


def _without_effect(
    params: SegmentObjectsParams, model: LearnedModel, *, labels: bool
) -> list[str]:
    """Return the parameters that differ from their defaults and say nothing to this model."""
    names = ["polarity", "smoothing_px", "smoothing_um", "threshold"]
    names += ["channel"] if model.channels else []
    names += ["seeds", "edge_fraction", "fill_holes"] if labels else []
    fields = SegmentObjectsParams.model_fields
    return [name for name in names if getattr(params, name) != fields[name].default]


def _warn_of_rgb(
    metadata: ImageMetadata, channel: int, params: SegmentObjectsParams, context: Context
) -> None:
    if metadata.rgb:
        context.warn(
            f"The image is RGB, and {params.polarity} objects are looked for in "
            f"{metadata.channel_names()[channel]} alone: what is found in stained tissue are "
            "seldom nuclei; choose channel and polarity for it"
        )


def _settings(params: SegmentObjectsParams, metadata: ImageMetadata) -> Settings:
    from parfocal.analysis.segment import Settings
    from parfocal.analysis.spacing import along_axes, in_pixels, spacing_of
    from parfocal.analysis.watershed import SplitSettings

    planar = params.mode == "plane" or (params.mode == "auto" and metadata.size("Z") == 1)
    spacing = spacing_of(metadata)
    smoothing = in_pixels(params.smoothing_px, params.smoothing_um, metadata)
    seeds = params.seeds
    return Settings(
        sigma=along_axes(smoothing, spacing, planar=planar),
        threshold=_threshold(params, metadata, planar=planar),
        dark=params.polarity == "dark",
        planar=planar,
        fill_holes=params.fill_holes,
        split=SplitSettings(
            seeds=seeds.method,
            prominence=seeds.prominence if isinstance(seeds, PeakSeeds) else 0.0,
            edge=params.edge_fraction,
            fill=params.fill_holes,
            spacing=spacing[1:] if planar else spacing,
        ),
        limits=_limits(params, metadata, planar=planar),
        windows=_windows(params, metadata),
    )


def _windows(params: SegmentObjectsParams, metadata: ImageMetadata) -> Windows:
    from parfocal.analysis.spacing import in_pixels, spacing_of
    from parfocal.analysis.windows import Windows

    reach = None
    if params.max_diameter_px is not None or params.max_diameter_um is not None:
        most = in_pixels(params.max_diameter_px, params.max_diameter_um, metadata)
        z, y, x = (math.ceil(most / step) for step in spacing_of(metadata))
        reach = (z, y, x)
    return Windows(params.whole_mib << 20, reach)


def _threshold(
    params: SegmentObjectsParams, metadata: ImageMetadata, *, planar: bool
) -> str | float | LocalMean:
    from parfocal.analysis.segment import LocalMean
    from parfocal.analysis.spacing import along_axes, in_pixels, spacing_of

    chosen = params.threshold
    if isinstance(chosen, GlobalThreshold):
        return chosen.method
    if isinstance(chosen, ManualThreshold):
        return chosen.value
    sigma = in_pixels(chosen.sigma_px, chosen.sigma_um, metadata)
    return LocalMean(along_axes(sigma, spacing_of(metadata), planar=planar), chosen.offset)


def _limits(params: SegmentObjectsParams, metadata: ImageMetadata, *, planar: bool) -> SizeLimits:
    """Turn diameters into numbers of pixels, whose size in pixels of X is that of `spacing`."""
    from parfocal.analysis.objects import SizeLimits
    from parfocal.analysis.spacing import in_pixels, spacing_of

    z, y, x = spacing_of(metadata)

    def pixels(diameter: float) -> float:
        if planar:
            return math.pi / 4 * diameter**2 / (y * x)
        return math.pi / 6 * diameter**3 / (z * y * x)

    least = in_pixels(params.min_diameter_px, params.min_diameter_um, metadata)
    most = None
    if params.max_diameter_px is not None or params.max_diameter_um is not None:
        most = pixels(in_pixels(params.max_diameter_px, params.max_diameter_um, metadata))
        if most < pixels(least):
            what = "The largest objects that are kept are smaller than the smallest"
            remedy = "Set max_diameter above min_diameter."
            raise ConfigurationError(what, where="max_diameter, min_diameter", remedy=remedy)
    return SizeLimits(pixels(least), most)


def _label_metadata(metadata: ImageMetadata, name: str, dtype: str) -> ImageMetadata:
    """Describe the label image: the axes of its image without C."""
    kept = [axis for axis in metadata.axes if axis != "C"]
    return metadata.model_copy(
        update={
            "name": name,
            "axes": "".join(kept),
            "shape": tuple(metadata.size(axis) for axis in kept),
            "dtype": dtype,
            "channels": (),
            "rgb": False,
        }
    )


def _tell(findings: Findings, context: Context) -> None:
    context.details.update(findings.details)
    for warning in findings.warnings:
        context.warn(warning)


def _findings(found: Segmentation, params: SegmentObjectsParams) -> Findings:
    from parfocal.analysis.findings import of_segmentation

    return of_segmentation(
        found,
        method=params.threshold.method,
        source="channel" if params.model is None else "model's output",
        label_name=params.label_name,
        whole_mib=params.whole_mib,
    )


def _state(params: SegmentObjectsParams, row: Row | None) -> str:  # noqa: ARG001 (is a State)
    from parfocal.analysis.models.weights import state_of_model

    return state_of_model(params.model)


STEP = Step(
    name="segment-objects",
    version="2",
    summary=SUMMARIES["segment-objects"],
    params=SegmentObjectsParams,
    inputs=(Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "The image."),),
    outputs=(
        Port(
            "labels",
            "ome-zarr",
            "images/{image_id}/labels/{label_name}.ome.zarr",
            "The label image: 0 for background, and a number for each object.",
        ),
    ),
    run=run,
    state=_state,
)
