"""omero-py, which is loaded where it is used and kept from logging secrets."""

from __future__ import annotations

import logging
import re
from typing import Any

from parfocal.errors import InputError

__all__ = ["load_omero", "without_keys"]

_KEY = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_LOGGERS = ("omero.gateway", "omero.client", "omero.clients")


def load_omero() -> Any:
    """Return the module ``omero`` with its client and gateway.

    Raises
    ------
    InputError
        If omero-py is not installed, or cannot be imported.
    """
    try:
        import omero
        import omero.clients
        import omero.gateway
    except ImportError as error:
        what = "omero-py, which speaks to OMERO, cannot be imported"
        remedy = "Install it: pip install 'parfocal[omero]'; docs/howto/omero-install.md tells more"
        raise InputError(what, found=error, remedy=f"{remedy}.") from error
    for name in _LOGGERS:
        _quieten(logging.getLogger(name))
    return omero


def without_keys(text: str, *secrets: str) -> str:
    """Return `text` without `secrets`, and without anything that looks like a session key."""
    for secret in secrets:
        text = text.replace(secret, "(removed)") if secret else text
    return _KEY.sub("(removed)", text)


def _quieten(logger: logging.Logger) -> None:
    """Let a logger tell no session keys, nor once more what it raises anyway."""
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    if not any(isinstance(each, _NoKeys) for each in logger.filters):
        logger.addFilter(_NoKeys())


class _NoKeys(logging.Filter):
    """Removes what looks like a session key from messages of omero-py, and tracebacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record, and let it pass."""
        record.msg, record.args = without_keys(record.getMessage()), ()
        record.exc_info = record.exc_text = None
        return True
