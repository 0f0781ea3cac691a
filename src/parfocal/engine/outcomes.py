"""What the outcomes of a results folder say about its images."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from parfocal.engine.batch import read_outcome
from parfocal.models.outcome import ImageOutcome

__all__ = ["failed_images"]


def failed_images(results: Path, image_ids: Set[str]) -> list[ImageOutcome]:
    """Return the failures among `image_ids`, one an image and step, sorted by image."""
    failed = [
        image
        for path in sorted((results / "outcomes").glob("*/[0-9]*.json"))
        for image in read_outcome(path).images
        if image.image_id in image_ids and image.status == "failed"
    ]
    return sorted(failed, key=lambda image: (image.image_id, image.failed_step or ""))
