"""The outcome of one step on one batch of images: the only declared output of a batch job."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from parfocal.models.base import Model

__all__ = ["ImageOutcome", "Outcome"]


class ImageOutcome(Model):
    """How one image of the batch ended. It holds no times, so that equal work gives equal bytes."""

    image_id: str
    status: Literal["done", "failed", "skipped"]
    digests: dict[str, str] = Field(
        default_factory=dict, description="Digest of each output by its role, when done."
    )
    failed_step: str | None = Field(
        default=None, description="The step that failed, this one or an earlier one."
    )
    error: str | None = None


class Outcome(Model):
    """The outcomes of all images of one batch, in the order of the sheet."""

    step: str
    images: tuple[ImageOutcome, ...]
