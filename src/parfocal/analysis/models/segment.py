"""Segment an image by a learned model of any kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from parfocal.analysis.models.labels import LabelCounts, find_labels
from parfocal.analysis.models.loading import ModelHandle
from parfocal.analysis.models.predictor import Signature
from parfocal.analysis.models.probability import predict_probability
from parfocal.analysis.models.recipe import fit_recipe
from parfocal.analysis.models.tiles import Tiles, View, plan_tiles
from parfocal.analysis.objects import SizeLimits, label_dtype
from parfocal.analysis.scan import plan_block
from parfocal.analysis.stitch import MakeVolume
from parfocal.analysis.tiling import Tiling
from parfocal.core.blocks import Readable, Shape, Writable
from parfocal.core.scheduler import Scheduler
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.image import ImageMetadata
from parfocal.models.model_options import LearnedModel, NetworkModel

__all__ = ["ModelRun", "Prepared", "prepare"]

_WARN_RATIO = 1.1
_MOST_RATIO = 2.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ModelRun:
    """Where and by what means a model runs.

    Attributes
    ----------
    make_volume : callable
        ``make_volume(shape5, dtype, block5)`` makes scratch storage.
    scheduler : Scheduler
        Where tiles are worked on.
    progress : callable
        Called as ``progress(done, total)``.
    folder : Path, optional
        Where rows of objects lie; see `Rows`.
    """

    make_volume: MakeVolume
    scheduler: Scheduler
    progress: Progress
    folder: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """A model that fits an image.

    Attributes
    ----------
    handle : ModelHandle
        The model.
    signature : Signature
        What it states.
    tiles : Tiles
        How the image is divided.
    view : View
        What it sees of the image.
    warnings : list of str
        What the user must know.
    """

    handle: ModelHandle
    signature: Signature
    tiles: Tiles
    view: View
    warnings: list[str] = field(default_factory=list)

    @property
    def planar(self) -> bool:
        """Whether the model sees single planes."""
        return self.signature.dimensions == 2

    @property
    def threshold(self) -> float:
        """Probability beyond which a pixel is of an object."""
        options = self.handle.options
        return options.threshold if isinstance(options, NetworkModel) else 0.5

    @property
    def details(self) -> dict[str, Any]:
        """What the record tells of the model."""
        options, signature = self.handle.options, self.signature
        return {
            "method": options.method,
            "digest": self.handle.digest,
            "name": Path(options.path).name,
            "runtime": signature.runtime,
            "device": signature.device,
            "exactness": "numeric",  # libraries round by the machine
            "tile": list(self.tiles.tile),
            "halo": list(self.tiles.halo),
            "channels": list(self.view.channels),
            "offsets": list(self.view.affine.offsets),
            "scales": list(self.view.affine.scales),
        }

    def probability(self, run: ModelRun) -> tuple[Writable, Shape]:
        """Return the probability of foreground, and the block in which it is stored.

        Returns
        -------
        volume : Writable
            (T, 1, Z, Y, X) float32.
        block5 : (T, C, Z, Y, X)
            Its blocks.
        """
        volume, block = self._volume(np.float32, run)
        predict_probability(
            self.handle,
            self.view,
            self.tiles,
            volume,
            scheduler=run.scheduler,
            progress=run.progress,
        )
        return volume, block

    def labels(self, limits: SizeLimits, run: ModelRun) -> tuple[Writable, LabelCounts]:
        """Return the label image (T, 1, Z, Y, X), and what was counted.

        Labels have 64 bits where the image has room for more objects than 32 can number.
        """
        most = math.prod(self.view.source.shape5) // max(1, math.ceil(limits.least))
        volume, _ = self._volume(label_dtype(most), run)
        counts = find_labels(
            self.handle,
            self.view,
            self.tiles,
            volume,
            limits,
            make_volume=run.make_volume,
            scheduler=run.scheduler,
            progress=run.progress,
            folder=run.folder,
        )
        return volume, counts

    @property
    def borders(self) -> Tiling:
        """The tiles of a time point, without what they see beyond themselves."""
        _, _, z, y, x = self.view.source.shape5
        _, rows, columns = self.tiles.core
        depth = z if self.planar else self.tiles.core[0]
        return Tiling((z, y, x), (depth, rows, columns), (0, 0, 0))

    def _volume(self, dtype: Any, run: ModelRun) -> tuple[Writable, Shape]:
        t, _, *size = self.view.source.shape5
        z, y, x = size
        block: Shape = (1, 1, *self.tiles.core)
        return run.make_volume((t, 1, z, y, x), dtype, block), block


def prepare(
    handle: ModelHandle,
    source: Readable,
    metadata: ImageMetadata,
    channels: tuple[int, ...],
    *,
    block5: Shape,
    mode: Literal["auto", "plane", "volume"],
    scheduler: Scheduler,
) -> Prepared:
    """Load a model, and check that it fits the image, before any work is done.

    Parameters
    ----------
    handle : ModelHandle
        The model.
    source : Readable
        The image.
    metadata : ImageMetadata
        What is known of it.
    channels : tuple of int
        Which channels the model sees, in its order.
    block5 : (T, C, Z, Y, X)
        The block of `source` that is cheap to read.
    mode : str
        Which objects the user wants; a model that gives labels decides it itself.
    scheduler : Scheduler
        Where blocks are worked on to measure the image.

    Raises
    ------
    ConfigurationError
        If the model does not take such an image, or such tiles, or is not installed.
    InputError
        If it is missing or damaged, or made for other pixel sizes.
    """
    signature = handle.predictor().signature
    _check_channels(signature, channels)
    if signature.dimensions == 3 and metadata.size("Z") == 1:
        what = "The model is for volumes, and the image has one plane"
        raise ConfigurationError(what, where="model", remedy="Choose a model for planes.")
    finds = "plane" if signature.dimensions == 2 else "volume"
    if signature.labels and mode not in ("auto", finds):
        what = "The model finds objects of another kind"
        raise ConfigurationError(
            what, where="mode", expected=finds, found=mode, remedy="Leave out mode."
        )
    warnings = [
        f"model.{name} is set, but has no effect with this model"
        for name in _unused(handle.options, signature)
    ]
    if len(signature.outputs) > 1:
        taken, *others = signature.outputs
        warnings.append(f"Of the model's outputs {taken} is taken, and not {', '.join(others)}")
    warnings += _compare_pixel_sizes(handle, signature, metadata)
    tiles = plan_tiles(handle.options, signature, source.shape5)
    block = plan_block(block5, source.shape5)
    affine = fit_recipe(signature.recipe, source, channels, block=block, scheduler=scheduler)
    if signature.labels and affine.not_finite:
        warnings.append(f"{affine.not_finite} pixels are NaN or infinite: the model sees them as 0")
    view = View(source, channels, affine)
    return Prepared(handle, signature, tiles, view, warnings)


def _check_channels(signature: Signature, channels: tuple[int, ...]) -> None:
    count, stated = len(channels), len(signature.recipe.offsets)
    expected = signature.channels
    if expected is None and signature.recipe.method == "fixed" and stated > 1:
        expected = stated
    if expected not in (None, count):
        what = "The model sees another number of channels"
        remedy = f"Set model.channels to a list of {expected}, in the order of its training."
        raise ConfigurationError(
            what, where="model.channels", expected=expected, found=count, remedy=remedy
        )


def _unused(options: LearnedModel, signature: Signature) -> list[str]:
    """Return the options that differ from their defaults and say nothing to this model."""
    names = [] if signature.labels else ["min_iou"]
    names += ["tile_planes", "halo_planes"] if signature.dimensions == 2 else []
    names += ["threshold", "boundary_channel", "activation"] if signature.labels else []
    if getattr(options, "normalisation", "percentile") != "percentile":
        names += ["low_percentile", "high_percentile"]
    fields = type(options).model_fields
    here = [name for name in names if name in fields]
    return [name for name in here if getattr(options, name) != fields[name].default]


def _compare_pixel_sizes(
    handle: ModelHandle, signature: Signature, metadata: ImageMetadata
) -> list[str]:
    expected = handle.options.pixel_size_um or signature.pixel_size_um
    if expected is None:
        return []
    found = metadata.x_um
    if found is None:
        return [
            f"The model is for pixels of {expected:g} um, and the image does not tell its own size"
        ]
    ratio = max(found / expected, expected / found)
    if ratio > _MOST_RATIO:
        what = "The model is for pixels of another size"
        remedy = (
            "Scale the image, or choose another model; without pixel_size_um nothing is compared."
        )
        if handle.options.pixel_size_um is None:
            remedy = "Scale the image, choose another model, or set pixel_size_um to the image's."
        raise InputError(
            what,
            where=metadata.name,
            expected=f"{expected:g} um",
            found=f"{found:g} um",
            remedy=remedy,
        )
    if ratio > _WARN_RATIO:
        return [
            f"The model is for pixels of {expected:g} um, and those of the image have {found:g} um"
        ]
    return []
