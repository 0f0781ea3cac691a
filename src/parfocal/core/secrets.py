"""Logins that the environment holds, and that are kept from whoever does not need them."""

from __future__ import annotations

import os

__all__ = ["SECRET_VARIABLES", "forget_secrets"]

SECRET_VARIABLES = (
    *("OMERO_PASSWORD", "OMERO_SESSION", "OMERO_SESSION_KEY"),
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)
"""Environment variables that hold a secret."""


def forget_secrets() -> None:
    """Take the secrets out of the environment of this process, and so of all that it starts."""
    for name in SECRET_VARIABLES:
        os.environ.pop(name, None)
