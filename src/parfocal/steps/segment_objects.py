"""Find the objects of one channel and write them as a label image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.core.step import Context, Port, Step, numeric
from parfocal.models.image import ImageMetadata
from parfocal.models.model_options import LearnedModel
from parfocal.models.segment_options import ManualThreshold
from parfocal.models.segment_params import SegmentObjectsParams
from parfocal.models.sheet import Row
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.analysis.findings import Findings
    from parfocal.analysis.models.segment import Prepared
    from parfocal.analysis.segment import Segmentation
    from parfocal.analysis.tiling import Tiling
    from parfocal.core.blocks import Readable
    from parfocal.images import Image, ScratchVolumes

__all__ = ["STEP", "SegmentObjectsParams"]


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
    from parfocal.images import ScratchVolumes, open_image, write_ome_zarr
    from parfocal.images.writers.alike import options_like

    with open_image(inputs["image"]) as image, ScratchVolumes(context.scratch) as volumes:
        if params.model is None:
            labels = _by_threshold(image, params, volumes, context)
        else:
            labels = _by_model(image, params, params.model, volumes, context)
        write_ome_zarr(
            outputs["labels"],
            _label_metadata(image.metadata, params.label_name, labels.dtype.name),
            labels,
            options_like(inputs["image"], image),
            labels=True,
            attributes={"parfocal": {"source": {"digest": digest_path(inputs["image"])}}},
            threads=context.threads,
            scheduler=context.distributed,
        )


def _by_threshold(
    image: Image, params: SegmentObjectsParams, volumes: ScratchVolumes, context: Context
) -> Readable:
    from parfocal.analysis.channels import find_channel
    from parfocal.analysis.objects import label_dtype
    from parfocal.analysis.segment import segment
    from parfocal.analysis.segment_settings import settings_of

    channel = find_channel(image.metadata, params.channel)
    _warn_of_rgb(image.metadata, channel, params, context)
    found = segment(
        image,
        channel,
        settings_of(params, image.metadata),
        block5=image.block5,
        make_volume=volumes,
        scheduler=context.scheduler,
        progress=context.progress,
        folder=context.scratch,
    )
    _tell(_findings(found, params), context)
    volumes.keep_only(found.table.labels)
    return found.table.image(label_dtype(len(found.table)))


def _by_model(
    image: Image,
    params: SegmentObjectsParams,
    model: LearnedModel,
    volumes: ScratchVolumes,
    context: Context,
) -> Readable:
    from parfocal.analysis.channels import find_channel
    from parfocal.analysis.findings import of_labels
    from parfocal.analysis.models.loading import open_model
    from parfocal.analysis.models.segment import ModelRun, prepare
    from parfocal.analysis.segment_settings import limits_of

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
        limits = limits_of(params, image.metadata, planar=prepared.planar)
        run = ModelRun(volumes, context.scheduler, context.progress, context.scratch)
        labels, counts = prepared.labels(limits, run)
        _tell(of_labels(counts, params.label_name), context)
        volumes.keep_only(labels)
        return labels
    return _by_probability(prepared, image.metadata, params, volumes, context)


def _by_probability(
    prepared: Prepared,
    metadata: ImageMetadata,
    params: SegmentObjectsParams,
    volumes: ScratchVolumes,
    context: Context,
) -> Readable:
    from parfocal.analysis.models.segment import ModelRun
    from parfocal.analysis.objects import label_dtype
    from parfocal.analysis.segment import segment
    from parfocal.analysis.segment_settings import settings_of

    def predicting(done: int, total: int) -> None:
        context.progress(done, 2 * total)

    def dividing(done: int, total: int) -> None:
        context.progress(total + done, 2 * total)

    run = ModelRun(volumes, context.scheduler, predicting)
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
        settings_of(params.model_copy(update=as_image), metadata),
        block5=block,
        make_volume=volumes,
        scheduler=context.scheduler,
        progress=dividing,
        folder=context.scratch,
    )
    _tell(_findings(found, params, prepared.borders), context)
    volumes.keep_only(found.table.labels)
    return found.table.image(label_dtype(len(found.table)))


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


def _findings(
    found: Segmentation, params: SegmentObjectsParams, tiles: Tiling | None = None
) -> Findings:
    from parfocal.analysis.findings import of_segmentation

    return of_segmentation(
        found,
        method=params.threshold.method,
        source="channel" if params.model is None else "model's output",
        label_name=params.label_name,
        whole_mib=params.whole_mib,
        tiles=tiles,
    )


def _state(params: SegmentObjectsParams, row: Row | None) -> str:  # noqa: ARG001 (is a State)
    from parfocal.analysis.models.weights import state_of_model

    return state_of_model(params.model)


def _check(inputs: Mapping[str, Path], params: SegmentObjectsParams) -> None:  # noqa: ARG001
    """Refuse a model that is missing, or that cannot be run here."""
    if params.model is not None:
        from parfocal.analysis.models.loading import check_model

        check_model(params.model)


STEP = Step(
    name="segment-objects",
    version="3",
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
    exactness=numeric(
        0.01, parameter="model", unless="a learned model is used, which the record tells"
    ),
    state=_state,
    check=_check,
)
