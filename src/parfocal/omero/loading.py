"""omero-py, which is loaded where it is used and kept from logging secrets."""

from __future__ import annotations

import logging
import re
from importlib.util import find_spec
from typing import Any

from parfocal.errors import InputError

__all__ = ["check_installed", "load_omero", "without_keys"]

_KEY = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)


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
        raise _missing(error) from error
    _quieten("omero")
    return omero


def check_installed() -> None:
    """Look for omero-py without loading it, which takes a second.

    Raises
    ------
    InputError
        If it is not installed.
    """
    if find_spec("omero") is None:
        found = "no module 'omero'"
        raise _missing(found)


def _missing(found: object) -> InputError:
    what = "omero-py, which speaks to OMERO, cannot be imported"
    remedy = "Install it: pip install 'parfocal[omero]'; docs/howto/omero-install.md tells more."
    return InputError(what, found=found, remedy=remedy)


def without_keys(text: str, *secrets: str) -> str:
    """Return `text` without `secrets`, and without anything that looks like a session key."""
    for secret in secrets:
        text = text.replace(secret, "(removed)") if secret else text
    return _KEY.sub("(removed)", text)


def _quieten(name: str) -> None:
    """Let a logger and those below it tell no session keys, nor once more what they raise anyway.

    omero-py logs the context of each call that fails, in which the key of the session is.
    """
    top = logging.getLogger(name)
    if top.level == logging.NOTSET:
        top.setLevel(logging.CRITICAL)
    below = [each for each in logging.root.manager.loggerDict if each.startswith(f"{name}.")]
    for logger in (top, *map(logging.getLogger, below)):
        if not any(isinstance(each, _NoKeys) for each in logger.filters):
            logger.addFilter(_NoKeys())


class _NoKeys(logging.Filter):
    """Removes what looks like a session key from messages of omero-py, and tracebacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record, and let it pass."""
        record.msg, record.args = without_keys(record.getMessage()), ()
        record.exc_info = record.exc_text = None
        return True
