"""Files and tables that are attached to objects."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.errors import ConfigurationError
from snakemake_storage_plugin_omero.parts import NAMESPACE, State, connection_to, new_beside
from snakemake_storage_plugin_omero.queries import Query

if TYPE_CHECKING:
    from parfocal.omero.attachments import Attachment

__all__ = ["AttachedFile", "AttachedTable"]

logger = logging.getLogger(__name__)


class _Attached:
    """Something attached to an object by a file annotation, in a namespace of this plugin."""

    namespace = NAMESPACE
    as_it_is = True
    """Whether the bytes of the server are those of the file here."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def state(self) -> State | None:
        """Return when it was attached, its size, and its checksum where the server has it."""
        found = self._find()
        if found is None:
            return None
        checksum = f"sha1:{found.sha1}" if found.sha1 and self.as_it_is else None
        return State(found.updated_s, found.size_bytes, checksum)

    def remove(self) -> None:
        """Remove what has that name; all else that the object has stays."""
        from parfocal.omero.attachments import remove

        query = self._query
        remove(connection_to(query), query.target, query.name, self.namespace)

    def _find(self) -> Attachment | None:
        from parfocal.omero.attachments import attachments

        query = self._query
        found = attachments(connection_to(query), query.target, self.namespace, query.name)
        return found[0] if found else None

    def _found(self) -> Attachment:
        found = self._find()
        if found is None:
            raise FileNotFoundError(self._query.local_path)
        return found


class AttachedFile(_Attached):
    """A file."""

    def retrieve(self, path: Path) -> None:
        """Download the file and compare its checksum.

        Raises
        ------
        FileNotFoundError
            If there is none of that name.
        ParfocalError
            As `parfocal.omero.attachments.download` does.
        """
        from parfocal.omero.attachments import download

        found = self._found()
        with new_beside(path) as new:
            download(connection_to(self._query), found, new)

    def store(self, path: Path) -> None:
        """Attach the file, in place of the one of that name.

        Raises
        ------
        ConfigurationError
            If it is a folder.
        ParfocalError
            As `parfocal.omero.attachments.attach` does.
        """
        from parfocal.omero.attachments import attach

        if path.is_dir():
            what = "A folder cannot be attached to an object on an OMERO server"
            raise ConfigurationError(what, where=path, remedy="Pack it into one file.")
        query = self._query
        attach(connection_to(query), query.target, path, query.name, self.namespace)


class AttachedTable(_Attached):
    """An OMERO.table, which is a Parquet file here."""

    namespace = f"{NAMESPACE}/table"
    as_it_is = False

    def retrieve(self, path: Path) -> None:
        """Write the rows of the table to a Parquet file.

        Raises
        ------
        FileNotFoundError
            If there is none of that name.
        ParfocalError
            As `parfocal.omero.stored_tables.fetch_table` does.
        """
        from parfocal.omero.stored_tables import fetch_table

        found = self._found()
        with new_beside(path) as new:
            fetch_table(connection_to(self._query), found, new)

    def store(self, path: Path) -> None:
        """Write a Parquet file as a table, in place of the one of that name.

        Raises
        ------
        ParfocalError
            As `parfocal.omero.stored_tables.store_table` does.
        """
        from parfocal.omero.stored_tables import store_table

        query, connection = self._query, connection_to(self._query)
        name, namespace = query.name, self.namespace
        store_table(connection, query.target, path, name, namespace, logger.warning)
