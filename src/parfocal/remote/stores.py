"""Open what a source names: a web server, or a bucket of an object store."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from obstore.store import HTTPStore, S3Store

from parfocal.errors import ConfigurationError
from parfocal.models.source import HttpSource, S3Source

__all__ = ["open_bucket", "open_store"]

_OPTIONS: dict[str, Any] = {
    "allow_http": True,
    "connect_timeout": timedelta(seconds=20),
    "read_timeout": timedelta(seconds=60),
    "timeout": timedelta(days=7),  # of a whole download; read_timeout finds what hangs
    "user_agent": "parfocal",
}
_NO_RETRIES = {"max_retries": 0}  # Site sees to them


def open_store(source: HttpSource | S3Source) -> Any:
    """Return the store of obstore whose keys are below the URL, or are those of the bucket.

    A bucket is read with the key, secret and token of ``AWS_ACCESS_KEY_ID`` and the like, or
    unsigned where there are none. ``AWS_ENDPOINT_URL`` and ``AWS_REGION`` say where it is.

    Raises
    ------
    ConfigurationError
        If the environment is not valid.
    """
    if isinstance(source, HttpSource):
        return HTTPStore.from_url(source.url, client_options=_OPTIONS, retry_config=_NO_RETRIES)
    return S3Store(source.bucket, client_options=_OPTIONS, retry_config=_NO_RETRIES, **_access())


def open_bucket(endpoint: str, bucket: str) -> S3Store:
    """Return a public bucket of an object store, which is read unsigned."""
    return S3Store(
        bucket,
        endpoint=endpoint,
        region="us-east-1",
        skip_signature=True,
        client_options=_OPTIONS,
        retry_config=_NO_RETRIES,
    )


def _access() -> dict[str, Any]:
    """Return place and credentials of the object store, from the environment alone."""
    endpoint = _variable("AWS_ENDPOINT_URL_S3") or _variable("AWS_ENDPOINT_URL")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        what = "The endpoint of the object store is not a URL"
        where, expected = "AWS_ENDPOINT_URL", "https://host[:port]"
        raise ConfigurationError(what, where=where, expected=expected)
    found = {
        "endpoint": endpoint,
        "region": _variable("AWS_REGION") or _variable("AWS_DEFAULT_REGION") or "us-east-1",
        "access_key_id": _variable("AWS_ACCESS_KEY_ID"),
        "secret_access_key": _variable("AWS_SECRET_ACCESS_KEY"),
        "session_token": _variable("AWS_SESSION_TOKEN"),
    }
    access: dict[str, Any] = {key: value for key, value in found.items() if value}
    return access | {"skip_signature": "access_key_id" not in access}


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()
