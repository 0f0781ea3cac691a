"""Reading outcomes: one file, or what all those of a results folder say of some images."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import ValidationError

from parfocal.errors import ConfigurationError
from parfocal.models.outcome import ImageOutcome, Outcome

__all__ = ["current_outcomes", "read_outcome"]


def read_outcome(path: Path) -> Outcome:
    """Read an outcome.

    Raises
    ------
    ConfigurationError
        If the file is not an outcome.
    """
    try:
        return Outcome.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        what = "An outcome cannot be read"
        remedy = "Remove the file and run the workflow again."
        raise ConfigurationError(what, where=path, found=error, remedy=remedy) from error


def current_outcomes(
    results: Path, image_ids: Collection[str]
) -> dict[str, dict[str, ImageOutcome]]:
    """Return how the images ended in each step.

    Where several files tell of an image, because the sheet grew or shrank and images moved to
    other batches, the newest file counts.

    Returns
    -------
    dict of str to dict of str to ImageOutcome
        By the name of the step, then by image_id in the order of `image_ids`.
    """
    files = (results / "outcomes").glob("*/[0-9]*.json")
    newest: dict[str, dict[str, ImageOutcome]] = {}
    for path in sorted(files, key=lambda file: (file.stat().st_mtime_ns, file)):
        outcome = read_outcome(path)
        newest.setdefault(outcome.step, {}).update({i.image_id: i for i in outcome.images})
    return {
        step: {name: images[name] for name in image_ids if name in images}
        for step, images in sorted(newest.items())
    }
