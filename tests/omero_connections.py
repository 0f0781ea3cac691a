"""The connections to OMERO that Parfocal keeps for its process."""

from __future__ import annotations

from parfocal.omero import connection

__all__ = ["forget_connections"]


def forget_connections() -> None:
    """Close those of `connect`, which others would find with another login."""
    while connection._SHARED:
        connection._SHARED.popitem()[1].close()
    while connection._SPARE:
        for spare in connection._SPARE.popitem()[1]:
            spare.close()
