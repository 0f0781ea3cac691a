"""Project an image along Z or T: one plane for each stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters
from parfocal.models.image import ImageMetadata
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "ProjectImageParams"]


class ProjectImageParams(Parameters):
    """Parameters of project-image."""

    method: Literal["max", "min", "mean", "sum", "std", "median"] = Field(
        default="max", description="What is taken of the pixels that lie behind each other."
    )
    axis: Literal["Z", "T"] = Field(default="Z", description="The axis that is projected.")
    first: int = Field(default=0, ge=0, description="Index of the first plane to take, from 0.")
    last: int | None = Field(
        default=None,
        ge=0,
        description="Index of the last plane to take, which is taken too; null for the last one "
        "there is.",
    )
    as_float: bool = Field(
        default=False,
        description="Write the mean or the median as floats, not rounded to the type of the image.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.last is not None and self.last < self.first:
            msg = f"last ({self.last}) must not lie before first ({self.first})"
            raise ValueError(msg)
        if self.as_float and self.method not in ("mean", "median"):
            msg = f"as_float is for mean and median, not for {self.method}"
            raise ValueError(msg)
        return self


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: ProjectImageParams,
    context: Context,
) -> None:
    """Write the projected image, which lacks the axis.

    Raises
    ------
    InputError
        If there are no such planes, or a sum does not fit into 64 bits.
    """
    import numpy as np

    from parfocal.analysis.projection import ProjectedSource, projected_dtype
    from parfocal.core.tally import Tally
    from parfocal.images import open_image, write_ome_zarr
    from parfocal.images.writers.alike import options_like

    with open_image(inputs["image"]) as image:
        for warning in image.warnings:
            context.warn(warning)
        planes = _planes(params, image.metadata)
        count = planes.stop - planes.start
        dtype = projected_dtype(
            np.dtype(image.dtype), params.method, count, as_float=params.as_float
        )
        tally = Tally()
        source = ProjectedSource(
            image, params.axis, planes, params.method, dtype, image.block5, tally
        )
        told = _tell(params, image.metadata, planes)
        write_ome_zarr(
            outputs["projected"],
            _projected(image.metadata, params.axis, dtype.name),
            source,
            options_like(inputs["image"], image),
            attributes={"parfocal": {"projection": told}},
            threads=context.threads,
            scheduler=context.distributed,
            progress=context.progress,
        )
    context.details |= told | {"dtype": dtype.name}
    if count == 1:
        context.warn(f"The image has one plane along {params.axis} to project: it is taken alone")
    if tally.not_finite:
        context.warn(
            f"{tally.not_finite} results are NaN or infinite: so is a pixel behind them, or their "
            "sum is too large for a float"
        )


def _planes(params: ProjectImageParams, metadata: ImageMetadata) -> slice:
    size = metadata.size(params.axis)
    last = size - 1 if params.last is None else params.last
    wrong = next((n for n in ("first", "last") if (getattr(params, n) or 0) >= size), None)
    if wrong:
        what = f"The image has no such plane along {params.axis}"
        raise ConfigurationError(
            what,
            where=f"{metadata.name}, {wrong}",
            expected=f"0 to {size - 1}",
            found=getattr(params, wrong),
        )
    return slice(params.first, last + 1)


def _projected(metadata: ImageMetadata, axis: str, dtype: str) -> ImageMetadata:
    """Describe the result: the axes of the image without the one that is projected."""
    kept = [name for name in metadata.axes if name != axis]
    unknown = {"Z": "z_um", "T": "time_increment_s"}[axis]
    return metadata.model_copy(
        update={
            "axes": "".join(kept),
            "shape": tuple(metadata.size(name) for name in kept),
            "dtype": dtype,
            unknown: None,
        }
    )


def _tell(params: ProjectImageParams, metadata: ImageMetadata, planes: slice) -> dict[str, Any]:
    """Return what is projected, for the record and for the image itself."""
    return {
        "method": params.method,
        "axis": params.axis,
        "first": planes.start,
        "last": planes.stop - 1,
        "planes_of_image": metadata.size(params.axis),
    }


STEP = Step(
    name="project-image",
    version="1",
    summary=SUMMARIES["project-image"],
    params=ProjectImageParams,
    inputs=(Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "The image."),),
    outputs=(
        Port(
            "projected",
            "ome-zarr",
            "images/{image_id}/projected.ome.zarr",
            "The projected image, without the axis.",
        ),
    ),
    run=run,
    exactness=exact(),
)
