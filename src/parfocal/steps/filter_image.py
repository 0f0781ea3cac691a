"""Filter an image: smooth it, sharpen blobs, or take the background away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import ConfigurationError
from parfocal.models.base import Model, Parameters
from parfocal.models.image import ImageMetadata
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    import numpy as np

    from parfocal.analysis.filters import Filter
    from parfocal.analysis.spacing import Spacing

__all__ = [
    "STEP",
    "DifferenceFilter",
    "FilterImageParams",
    "GaussianFilter",
    "MedianFilter",
    "SubtractMeanFilter",
    "TopHatFilter",
]


MOST_PX, MOST_MEDIAN_PX = 200.0, 50.0
"""The widest filters, as standard deviation or radius in pixels."""


class GaussianFilter(Model):
    """Smooth with a Gaussian, cut off at four standard deviations."""

    method: Literal["gaussian"] = "gaussian"
    sigma_px: float = Field(
        default=1.0, gt=0, le=MOST_PX, description="Standard deviation in pixels of X."
    )
    sigma_um: float | None = Field(
        default=None, gt=0, le=1000, description="The same in micrometres; replaces sigma_px."
    )


class MedianFilter(Model):
    """Take the median of a box."""

    method: Literal["median"] = "median"
    radius_px: float = Field(
        default=1.0,
        gt=0,
        le=MOST_MEDIAN_PX,
        description="The box reaches so far to each side, in pixels of X, rounded along each axis.",
    )
    radius_um: float | None = Field(
        default=None, gt=0, le=1000, description="The same in micrometres; replaces radius_px."
    )


class DifferenceFilter(Model):
    """Subtract a wide Gaussian mean from a narrow one; the result is float32 or float64."""

    method: Literal["difference_of_gaussians"] = "difference_of_gaussians"
    narrow_px: float = Field(
        default=1.0, gt=0, le=MOST_PX, description="Standard deviation of the narrow one in pixels."
    )
    wide_px: float = Field(
        default=4.0, gt=0, le=MOST_PX, description="Standard deviation of the wide one in pixels."
    )
    narrow_um: float | None = Field(
        default=None, gt=0, le=1000, description="In micrometres; replaces narrow_px."
    )
    wide_um: float | None = Field(
        default=None, gt=0, le=1000, description="In micrometres; replaces wide_px."
    )


class SubtractMeanFilter(Model):
    """Subtract a wide Gaussian mean as background; what lies below it becomes 0."""

    method: Literal["subtract_mean"] = "subtract_mean"
    sigma_px: float = Field(
        default=50.0,
        gt=0,
        le=MOST_PX,
        description="Standard deviation in pixels of X; several times the size of an object.",
    )
    sigma_um: float | None = Field(
        default=None, gt=0, le=1000, description="The same in micrometres; replaces sigma_px."
    )


class TopHatFilter(Model):
    """Subtract as background what a box that fits no object can reach from below."""

    method: Literal["top_hat"] = "top_hat"
    radius_px: float = Field(
        default=25.0,
        gt=0,
        le=MOST_PX,
        description="Half the side of the box in pixels of X; larger than the radius of an object.",
    )
    radius_um: float | None = Field(
        default=None, gt=0, le=1000, description="The same in micrometres; replaces radius_px."
    )


AnyFilter = GaussianFilter | MedianFilter | DifferenceFilter | SubtractMeanFilter | TopHatFilter


class FilterImageParams(Parameters):
    """Parameters of filter-image. Pixels are those along X; Z and Y follow the pixel sizes."""

    filter: Annotated[AnyFilter, Field(discriminator="method")] = Field(
        default=GaussianFilter(), description="The filter and its sizes."
    )
    mode: Literal["auto", "plane", "volume"] = Field(
        default="auto",
        description="Filter each plane by itself, or volumes; auto takes volumes where Z > 1.",
    )
    channels: tuple[int | str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Indices or names of the channels to filter, the others pass unchanged; "
        "null for all.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: FilterImageParams,
    context: Context,
) -> None:
    """Write the filtered image.

    Integers stay integers of the same type, rounded half up, except for differences of
    Gaussians, which are written as floats.

    Raises
    ------
    InputError
        If a channel does not exist, a length in micrometres meets an image without pixel
        size or is too many pixels, or a box is smaller than a pixel.
    """
    import numpy as np

    from parfocal.analysis.channels import find_channel
    from parfocal.analysis.filters import FilteredSource, Tally
    from parfocal.images import open_image, write_ome_zarr
    from parfocal.images.writers.alike import options_like

    with open_image(inputs["image"]) as image:
        metadata = image.metadata
        wanted = params.channels
        if wanted is None:
            wanted = tuple(range(metadata.size("C")))
        chosen, sizes = _build(params, metadata)
        dtype = _result_dtype(np.dtype(image.dtype), params)
        tally = Tally()
        source = FilteredSource(
            image,
            chosen,
            frozenset(find_channel(metadata, channel) for channel in wanted),
            dtype,
            image.block5,
            tally,
        )
        write_ome_zarr(
            outputs["filtered"],
            metadata.model_copy(update={"dtype": dtype.name}),
            source,
            options_like(inputs["image"], image),
            threads=context.threads,
            scheduler=context.distributed,
            progress=context.progress,
        )
    context.details.update({name: list(size) for name, size in sizes.items()})
    if tally.not_finite:
        context.warn(f"{tally.not_finite} results are NaN since a pixel near them is not finite")


def _result_dtype(dtype: np.dtype[Any], params: FilterImageParams) -> np.dtype[Any]:
    import numpy as np

    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if params.filter.method == "difference_of_gaussians":
        return np.result_type(dtype, np.float32)
    return dtype


def _build(params: FilterImageParams, metadata: ImageMetadata) -> tuple[Filter, dict[str, Any]]:
    """Return the filter, and its sizes in pixels along Z, Y, X for the record."""
    from parfocal.analysis import filters
    from parfocal.analysis.spacing import along_axes, in_pixels, spacing_of

    planar = params.mode == "plane" or (params.mode == "auto" and metadata.size("Z") == 1)
    spacing = spacing_of(metadata)

    wanted = params.filter
    most_px = MOST_MEDIAN_PX if isinstance(wanted, MedianFilter) else MOST_PX

    def sigma(length_px: float, length_um: float | None) -> Spacing:
        length = in_pixels(length_px, length_um, metadata, most_px)
        return along_axes(length, spacing, planar=planar)

    if isinstance(wanted, DifferenceFilter):
        narrow = sigma(wanted.narrow_px, wanted.narrow_um)
        wide = sigma(wanted.wide_px, wanted.wide_um)
        if narrow[2] >= wide[2]:
            what = "The narrow Gaussian is not narrower than the wide one"
            raise ConfigurationError(what, where="filter", found=f"{narrow[2]} and {wide[2]} px")
        sizes = {"narrow_px": narrow, "wide_px": wide}
        return filters.DifferenceOfGaussians(narrow, wide), sizes
    if isinstance(wanted, MedianFilter | TopHatFilter):
        radius = _whole(sigma(wanted.radius_px, wanted.radius_um))
        box = filters.Median if isinstance(wanted, MedianFilter) else filters.TopHat
        return box(radius), {"radius_px": radius}
    size = sigma(wanted.sigma_px, wanted.sigma_um)
    if isinstance(wanted, SubtractMeanFilter):
        return filters.BackgroundGaussian(size), {"sigma_px": size}
    return filters.Gaussian(size), {"sigma_px": size}


def _whole(radius: Spacing) -> tuple[int, int, int]:
    z, y, x = (int(length + 0.5) for length in radius)
    if not (y and x):
        what = "The radius is less than half a pixel"
        raise ConfigurationError(what, where="filter", expected=">= 0.5 px", found=radius[1:])
    return z, y, x


STEP = Step(
    name="filter-image",
    version="1",
    summary=SUMMARIES["filter-image"],
    params=FilterImageParams,
    inputs=(Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "The image."),),
    outputs=(
        Port(
            "filtered",
            "ome-zarr",
            "images/{image_id}/filtered.ome.zarr",
            "The filtered image, with the same axes and channels.",
        ),
    ),
    run=run,
    exactness=exact(),
)
