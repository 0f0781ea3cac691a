"""From the parameters of segment-objects to what they mean for one image."""

from __future__ import annotations

import math

from parfocal.analysis.objects import SizeLimits
from parfocal.analysis.segment import LocalMean, Settings
from parfocal.analysis.spacing import along_axes, in_pixels, spacing_of
from parfocal.analysis.watershed import SplitSettings
from parfocal.analysis.windows import Windows
from parfocal.errors import ConfigurationError
from parfocal.models.image import ImageMetadata
from parfocal.models.segment_options import (
    MOST_MEAN_PX,
    GlobalThreshold,
    ManualThreshold,
    PeakSeeds,
)
from parfocal.models.segment_params import MOST_SMOOTHING_PX, SegmentObjectsParams

__all__ = ["limits_of", "settings_of"]


def settings_of(params: SegmentObjectsParams, metadata: ImageMetadata) -> Settings:
    """Return how to segment an image.

    Raises
    ------
    InputError
        If a length in micrometres meets an image without pixel size, or is too many pixels.
    ConfigurationError
        If the largest objects that are kept are smaller than the smallest.
    """
    planar = params.mode == "plane" or (params.mode == "auto" and metadata.size("Z") == 1)
    spacing = spacing_of(metadata)
    smoothing = in_pixels(params.smoothing_px, params.smoothing_um, metadata, MOST_SMOOTHING_PX)
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
        limits=limits_of(params, metadata, planar=planar),
        windows=_windows(params, metadata),
    )


def _windows(params: SegmentObjectsParams, metadata: ImageMetadata) -> Windows:
    reach = None
    if params.max_diameter_px is not None or params.max_diameter_um is not None:
        most = in_pixels(params.max_diameter_px, params.max_diameter_um, metadata)
        z, y, x = (math.ceil(most / step) for step in spacing_of(metadata))
        reach = (z, y, x)
    return Windows(params.whole_mib << 20, reach)


def _threshold(
    params: SegmentObjectsParams, metadata: ImageMetadata, *, planar: bool
) -> str | float | LocalMean:
    chosen = params.threshold
    if isinstance(chosen, GlobalThreshold):
        return chosen.method
    if isinstance(chosen, ManualThreshold):
        return chosen.value
    sigma = in_pixels(chosen.sigma_px, chosen.sigma_um, metadata, MOST_MEAN_PX)
    return LocalMean(along_axes(sigma, spacing_of(metadata), planar=planar), chosen.offset)


def limits_of(params: SegmentObjectsParams, metadata: ImageMetadata, *, planar: bool) -> SizeLimits:
    """Turn diameters into numbers of pixels.

    Raises
    ------
    InputError, ConfigurationError
        See `settings_of`.
    """
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
