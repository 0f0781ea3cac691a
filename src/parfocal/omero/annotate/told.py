"""Errors that name the entry of the plan, its target, and the permission that is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from parfocal.errors import AccessError, ParfocalError
from parfocal.models.annotation_entries import LabelImage, PlannedEntry
from parfocal.omero.annotate.targets import MAY_ANNOTATE, Place

__all__ = ["MAY_LINK", "told_of"]

MAY_LINK = "the permission to put images into datasets: those of one's own, or in a group that is "
MAY_LINK += "read-write"


@contextmanager
def told_of(entries: Sequence[PlannedEntry], place: Place) -> Iterator[None]:
    """Let errors of the block say which entries of a plan they are about.

    Parameters
    ----------
    entries : sequence of PlannedEntry
        What is being written; several where it is one call.
    place : Place
        Their target.

    Raises
    ------
    ParfocalError
        What the block raised, with more to it.
    """
    try:
        yield
    except ParfocalError as error:
        source = place.source
        if source.uri not in str(error.where):
            more = "" if error.where in (None, source.server.uri) else f", {error.where}"
            error.where = f"{', '.join(entry.title for entry in entries)} of {source.uri}{more}"
        if isinstance(error, AccessError):
            linked = any(isinstance(entry, LabelImage) for entry in entries)
            error.expected = MAY_LINK if linked else MAY_ANNOTATE
            error.found = f"{error.found}, in the group {place.group}"
            error.remedy = (
                "Ask the owner of the group to change it, log in as who owns the object, or take "
                "the entry out of the plan."
            )
        raise
