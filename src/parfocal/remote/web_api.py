"""Ask a web server for JSON, page by page where there is much of it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.source import HttpSource, parse_source
from parfocal.remote.retry import Retry
from parfocal.remote.site import Site

__all__ = ["WebApi", "base_url"]


def base_url(variable: str, default: str) -> str:
    """Return where a service is: as an environment variable says, or as usual.

    Raises
    ------
    ConfigurationError
        If the variable is no URL.
    """
    text = os.environ.get(variable, "").strip() or default
    source = parse_source(text)
    if not isinstance(source, HttpSource):
        what = "An environment variable is not a URL"
        raise ConfigurationError(what, where=variable, expected="https://host", found=repr(text))
    return source.url


class WebApi:
    """A service that answers with JSON.

    Parameters
    ----------
    base : str
        URL without slash at the end.
    retry : Retry, optional
        How often to try.
    """

    def __init__(self, base: str, retry: Retry | None = None) -> None:
        self.base = base
        self._retry = retry

    async def get(self, path: str, query: Sequence[tuple[str, object]] = ()) -> Any:
        """Return what the service says; None where it has nothing.

        Parameters
        ----------
        path : str
            Below the base, with its slashes.
        query : sequence of (name, value)
            In order.

        Raises
        ------
        RemoteError
            If it refuses, breaks off, does not answer, or answers with something else.
        """
        url = f"{self.base}{path}" + (f"?{urlencode(query)}" if query else "")
        data = await Site(HttpSource(url), self._retry).read("")
        if data is None:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            what = "The server did not answer with JSON"
            remedy = "It may be down for maintenance: try again later."
            raise RemoteError(what, where=url, expected="JSON", remedy=remedy) from error
