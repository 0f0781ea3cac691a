"""Images and results on OMERO servers as inputs and outputs of Snakemake's rules.

A thin plugin over `parfocal.omero` and the steps that fetch and convert images; what queries it
takes is told in docs/howto/omero-storage.md. Secrets are no settings: they are found where all of
Parfocal looks for them, in the environment or in a session file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from snakemake_interface_storage_plugins.common import Operation
from snakemake_interface_storage_plugins.io import IOCacheStorageInterface, Mtime
from snakemake_interface_storage_plugins.settings import StorageProviderSettingsBase
from snakemake_interface_storage_plugins.storage_object import StorageObjectRead, StorageObjectWrite
from snakemake_interface_storage_plugins.storage_provider import (
    ExampleQuery,
    QueryType,
    StorageProviderBase,
    StorageQueryValidationResult,
)

from parfocal.models.source import without_secret
from snakemake_storage_plugin_omero.attached import AttachedFile, AttachedTable
from snakemake_storage_plugin_omero.images import FetchedImage
from snakemake_storage_plugin_omero.labels import LabelsOfImage
from snakemake_storage_plugin_omero.parts import Part, State
from snakemake_storage_plugin_omero.queries import Form, Query, parse_query, reason_against

__all__ = ["StorageObject", "StorageProvider", "StorageProviderSettings"]

_REQUESTS_PER_SECOND = 50.0
_PARTS: dict[Form, Callable[[Query], Part]] = {
    "image": FetchedImage,
    "original": FetchedImage,
    "attachment": AttachedFile,
    "table": AttachedTable,
    "labels": LabelsOfImage,
}


@dataclass
class StorageProviderSettings(StorageProviderSettingsBase):
    """The settings that all storage plugins have."""


class StorageProvider(StorageProviderBase):
    """All that queries of one workflow name on OMERO servers."""

    @classmethod
    def example_queries(cls) -> list[ExampleQuery]:
        """Return a query of each form."""
        return [
            ExampleQuery("omero://host/image/123", "an image, as OME-Zarr", QueryType.INPUT),
            ExampleQuery(
                "omero://host/image/123/original",
                "the files that an image was imported from, with a manifest",
                QueryType.INPUT,
            ),
            ExampleQuery(
                "omero://host/dataset/45/attachment/report.html",
                "a file that is attached to an object",
                QueryType.ANY,
            ),
            ExampleQuery(
                "omero://host/plate/6/table/cells",
                "an OMERO.table of an object, as Parquet",
                QueryType.ANY,
            ),
            ExampleQuery(
                "omero://host/image/123/labels/nuclei",
                "a label image of an image, as OME-Zarr",
                QueryType.ANY,
            ),
        ]

    @classmethod
    def is_valid_query(cls, query: str) -> StorageQueryValidationResult:
        """Tell whether a query, which may have wildcards, is of one of the forms."""
        reason = reason_against(query)
        return StorageQueryValidationResult(query, reason is None, reason)

    def rate_limiter_key(self, query: str, operation: Operation) -> str:  # noqa: ARG002
        """Return the server, which is spared as a whole."""
        return parse_query(query).target.server.uri

    def default_max_requests_per_second(self) -> float:
        """Return how many requests a server is to bear, unless a setting says otherwise."""
        return _REQUESTS_PER_SECOND

    def use_rate_limiter(self) -> bool:
        """Return True."""
        return True

    def safe_print(self, query: str) -> str:
        """Return a query without what may be a secret in it."""
        return str(without_secret(query))


class StorageObject(StorageObjectRead, StorageObjectWrite):
    """One thing on an OMERO server."""

    def local_suffix(self) -> str:
        """Return where it lies below the local prefix, wildcards included."""
        query = parse_query(self.query)
        if self.retrieve or query.form not in ("image", "original"):
            return query.local_path
        # Snakemake takes what has one path for one file, whether it is to be retrieved or not.
        return f"{query.local_path}.uri"

    def get_inventory_parent(self) -> str | None:
        """Return None: nothing is known of an object by looking at another."""
        return None

    async def inventory(self, cache: IOCacheStorageInterface) -> None:
        """Ask the server once for all that Snakemake wants to know before it plans."""
        key = self.cache_key()
        if key in cache.exists_in_storage:
            return
        async with self._rate_limiter(Operation.EXISTS):
            state = self._part.state()
        cache.exists_in_storage[key] = state is not None
        if state:
            cache.mtime[key] = Mtime(storage=state.updated_s)
            cache.size[key] = state.size_bytes

    def exists(self) -> bool:
        """Tell whether it is there, for this user to see."""
        return self._part.state() is not None

    def mtime(self) -> float:
        """Return when it was last changed, by the clock of the server, in seconds since 1970."""
        return self._state().updated_s

    def size(self) -> int:
        """Return the bytes of a file, or of the pixels of what becomes a folder, not compressed."""
        return self._state().size_bytes

    def checksum(self) -> str | None:
        """Return the checksum of a file as ``sha1:<hex>``, where the server knows it."""
        return self._state().checksum

    def local_footprint(self) -> int:
        """Return how many bytes it takes here at most, as far as the server knows."""
        return self._state().size_bytes

    def retrieve_object(self) -> None:
        """Fetch it to its local path, whole or not at all."""
        self._part.retrieve(self.local_path())

    def store_object(self) -> None:
        """Write what lies at its local path to the server, in place of what was there."""
        path = self.local_path()
        self._part.store(path)
        behind_s = _modified_s(path) - self._state().updated_s
        if behind_s > 1:
            self.provider.logger.warning(
                f"The clock of the OMERO server is {behind_s:.0f} s behind: Snakemake will take "
                f"{self.print_query} for older than its inputs, and make it again."
            )

    def remove(self) -> None:
        """Remove it from the server."""
        self._part.remove()

    def cleanup(self) -> None:
        """Do nothing: nothing is left over."""

    @property
    def _part(self) -> Part:
        query = parse_query(self.query)
        return _PARTS[query.form](query)

    def _state(self) -> State:
        state = self._part.state()
        if state is None:
            raise FileNotFoundError(self.print_query)
        return state


def _modified_s(path: Path) -> float:
    return path.stat().st_mtime
