"""Even out the illumination of an image: by a profile that was measured, or an estimate of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.base import Model, Parameters
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.analysis.illumination import GainRange
    from parfocal.analysis.shading import Shading
    from parfocal.core.blocks import Readable, Shape, Writable
    from parfocal.core.tally import Tally
    from parfocal.images import Image
    from parfocal.models.image import ImageMetadata

__all__ = ["STEP", "CorrectIlluminationParams", "EstimatedProfile", "MeasuredProfile"]

MOST_PX = 500.0
"""The widest Gaussian, as a standard deviation in pixels."""

_DARK_CORNER = 0.1
"""Below this part of its mean, a profile is told to enlarge the noise."""


class MeasuredProfile(Model):
    """Divide by a flat field: an image of something that is equally bright everywhere."""

    method: Literal["profile"] = "profile"
    flat_includes_dark: bool = Field(
        default=True,
        description="Whether the flat field holds the camera's offset, which is then subtracted "
        "from it too; false for profiles that a program has computed, such as BaSiC's.",
    )


class EstimatedProfile(Model):
    """Divide by what all planes and time points of the image have in common, smoothed."""

    method: Literal["estimate"] = "estimate"
    sigma_px: float = Field(
        default=50.0,
        gt=0,
        le=MOST_PX,
        description="Standard deviation of the Gaussian in pixels of X; several times the size of "
        "an object.",
    )
    sigma_um: float | None = Field(
        default=None, gt=0, le=5000, description="The same in micrometres; replaces sigma_px."
    )
    percentile: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Which percentile of all planes and time points to take at each place, such as "
        "50, so that few bright objects do not count; null for their mean.",
    )


class CorrectIlluminationParams(Parameters):
    """Parameters of correct-illumination."""

    illumination: Annotated[MeasuredProfile | EstimatedProfile, Field(discriminator="method")] = (
        Field(default=EstimatedProfile(), description="Where the profile comes from.")
    )
    dark_offset: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="What the camera gives without light, in units of the image; subtracted first. "
        "Instead of a dark field.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: CorrectIlluminationParams,
    context: Context,
) -> None:
    """Write the corrected image: ``(image - dark) / profile``, the mean of the profile being 1.

    Raises
    ------
    InputError
        If a field is missing, does not fit the image, or the profile is not above 0 everywhere.
    """
    from parfocal.analysis.illumination import CorrectedSource, survey_gain
    from parfocal.core.tally import Tally
    from parfocal.images import open_image, write_ome_zarr
    from parfocal.images.writers.alike import options_like

    _check_fields(inputs, params)
    with ExitStack() as stack:
        image = stack.enter_context(open_image(inputs["image"]))
        for warning in image.warnings:
            context.warn(warning)
        dark = _dark(inputs, params, image, context, stack)
        gain = _gain(inputs, params, image, dark, context, stack)
        found = survey_gain(gain, context.scheduler)
        _tell_gain(found, params, image.metadata, context)
        tally = Tally()
        source = CorrectedSource(
            image, gain, tuple(one.mean for one in found), dark, image.block5, tally
        )
        write_ome_zarr(
            outputs["corrected"],
            image.metadata,
            source,
            options_like(inputs["image"], image),
            threads=context.threads,
            scheduler=context.distributed,
            progress=context.progress,
        )
    _tell_clipping(tally, image.metadata, context)


def _check_fields(inputs: Mapping[str, Path], params: CorrectIlluminationParams) -> None:
    """Refuse fields that are missing, or that would have no effect."""
    measured = isinstance(params.illumination, MeasuredProfile)
    if measured and "flat_field" not in inputs:
        what = "Method profile needs a flat field, and there is none"
        remedy = "Give a flat field: --flat-field, or the column flat_field of the sheet."
        raise ConfigurationError(what, where="illumination.method", remedy=remedy)
    if not measured and "flat_field" in inputs:
        what = "There is a flat field, and method estimate does not use it"
        remedy = "Set illumination.method=profile, or take the flat field away."
        found = inputs["flat_field"]
        raise ConfigurationError(what, where="illumination.method", found=found, remedy=remedy)
    if params.dark_offset and "dark_field" in inputs:
        what = "There are both a dark field and a dark offset"
        remedy = "Leave one of them out."
        raise ConfigurationError(what, where="dark_offset", found=params.dark_offset, remedy=remedy)


def _dark(
    inputs: Mapping[str, Path],
    params: CorrectIlluminationParams,
    image: Image,
    context: Context,
    stack: ExitStack,
) -> Readable | float:
    """Return the dark field, or the offset that stands for it."""
    if "dark_field" not in inputs:
        return params.dark_offset
    return _open_field(inputs["dark_field"], "dark field", image, context, stack)


def _gain(
    inputs: Mapping[str, Path],
    params: CorrectIlluminationParams,
    image: Image,
    dark: Readable | float,
    context: Context,
    stack: ExitStack,
) -> Readable:
    """Return what the pixels are divided by, up to a factor for each channel."""
    from parfocal.analysis.illumination import Offset
    from parfocal.analysis.shading import estimate_shading
    from parfocal.images import ScratchVolume

    chosen = params.illumination
    if isinstance(chosen, MeasuredProfile):
        flat = _open_field(inputs["flat_field"], "flat field", image, context, stack)
        return Offset(flat, dark if chosen.flat_includes_dark else 0.0)

    def make_volume(shape: Shape, dtype: Any, block: Shape) -> Writable:
        return stack.enter_context(ScratchVolume(context.scratch, shape, dtype, block))

    metadata = image.metadata
    planes = metadata.size("T") * metadata.size("Z")
    context.details["planes"] = planes
    if planes == 1:
        context.warn(
            "The illumination is estimated from a single plane: whatever in it is as large as the "
            "smoothing counts as illumination"
        )
    shading = _shading(chosen, metadata)
    context.details["sigma_px"] = list(shading.sigma)
    return estimate_shading(
        image,
        shading,
        dark,
        block5=image.block5,
        make_volume=make_volume,
        scheduler=context.scheduler,
    )


def _shading(chosen: EstimatedProfile, metadata: ImageMetadata) -> Shading:
    from parfocal.analysis.shading import Shading
    from parfocal.analysis.spacing import along_axes, in_pixels, spacing_of

    length = in_pixels(chosen.sigma_px, chosen.sigma_um, metadata, MOST_PX)
    _, y, x = along_axes(length, spacing_of(metadata), planar=True)
    return Shading((y, x), chosen.percentile)


def _open_field(
    path: Path, name: str, image: Image, context: Context, stack: ExitStack
) -> Readable:
    """Open a flat or dark field, and check that it fits the image."""
    from parfocal.analysis.illumination import Field as FieldOf
    from parfocal.images import open_image

    opened = stack.enter_context(open_image(path))
    for warning in opened.warnings:
        context.warn(f"{name}: {warning}")
    channels = image.metadata.size("C")
    t, c, z, y, x = opened.shape5
    if (t, z, y, x) != (1, 1, *image.shape5[3:]) or c not in (1, channels):
        what = f"The {name} does not fit the image"
        _, _, _, height, width = image.shape5
        allowed = "1 channel" if channels == 1 else f"1 or {channels} channels"
        raise InputError(
            what,
            where=path,
            expected=f"1 plane of {height} x {width} pixels (Y x X) in {allowed}",
            found=f"T {t}, C {c}, Z {z}, {y} x {x} pixels",
            remedy="Take one of the same camera, binning and region.",
        )
    if c < channels:
        context.warn(f"One {name} stands for all {channels} channels")
    return FieldOf(opened, channels)


def _tell_gain(
    found: Sequence[GainRange],
    params: CorrectIlluminationParams,
    metadata: ImageMetadata,
    context: Context,
) -> None:
    """Put the range of each channel's profile on record; refuse what cannot be divided by."""
    measured = isinstance(params.illumination, MeasuredProfile)
    ranges = {}
    for name, one in zip(metadata.channel_names(), found, strict=True):
        if not one.lowest > 0 or (measured and one.missing):
            what = f"The illumination of channel {name} is not above 0 everywhere"
            least = f"{one.missing} values that are not finite" if one.lowest > 0 else one.lowest
            raise InputError(what, where=metadata.name, found=least, remedy=_remedy(params))
        ranges[name] = [one.lowest / one.mean, one.highest / one.mean]
        if ranges[name][0] < _DARK_CORNER:
            context.warn(
                f"The illumination of channel {name} falls to {ranges[name][0]:.2g} of its mean: "
                "noise is enlarged there as much as the image"
            )
    context.details["profile_range"] = ranges


def _remedy(params: CorrectIlluminationParams) -> str:
    chosen = params.illumination
    if isinstance(chosen, EstimatedProfile):
        return "Lower the dark offset, raise sigma_px, or measure a flat field."
    if chosen.flat_includes_dark:
        return (
            "Give the dark field of this camera; where the flat field was computed by a program, "
            "without the camera's offset, set illumination.flat_includes_dark=false."
        )
    return "Mend these pixels of the flat field."


def _tell_clipping(tally: Tally, metadata: ImageMetadata, context: Context) -> None:
    if metadata.dtype.startswith("float"):
        if tally.not_finite:
            context.warn(f"{tally.not_finite} results are NaN or infinite, as their pixels are")
        return
    context.details |= {"clipped_below": tally.below, "clipped_above": tally.above}
    for count, side in ((tally.below, "below"), (tally.above, "above")):
        if count:
            context.warn(
                f"{count} results lie {side} the range of {metadata.dtype}, and became its end"
            )


STEP = Step(
    name="correct-illumination",
    version="1",
    summary=SUMMARIES["correct-illumination"],
    params=CorrectIlluminationParams,
    inputs=(
        Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "The image."),
        Port(
            "flat_field",
            "file",
            "{flat_field}",
            "For method profile: an image of even brightness, in any format or as OME-Zarr.",
            required=False,
        ),
        Port(
            "dark_field",
            "file",
            "{dark_field}",
            "An image taken without light, in any format or as OME-Zarr.",
            required=False,
        ),
    ),
    outputs=(
        Port(
            "corrected",
            "ome-zarr",
            "images/{image_id}/corrected.ome.zarr",
            "The corrected image, in the data type of the image.",
        ),
    ),
    run=run,
    exactness=exact(),
    check=_check_fields,
)
