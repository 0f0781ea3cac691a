"""Label images, stored as images beside their own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_storage_plugin_omero.parts import NAMESPACE, State, connection_to, new_beside
from snakemake_storage_plugin_omero.queries import Query

if TYPE_CHECKING:
    from parfocal.omero.stored_labels import StoredLabels

__all__ = ["LabelsOfImage"]

_NAMESPACE = f"{NAMESPACE}/labels"


class LabelsOfImage:
    """A label image: an OME-Zarr here, a new image in the datasets of its image there."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def state(self) -> State | None:
        """Return when it was stored, and the size of its pixels."""
        import numpy as np

        found = self._find()
        if not found:
            return None
        metadata = found[0].metadata
        size = int(np.prod(metadata.shape)) * np.dtype(metadata.dtype).itemsize
        return State(found[0].updated_s, size)

    def retrieve(self, path: Path) -> None:
        """Write the label image that was stored: the same pixels and metadata.

        Raises
        ------
        FileNotFoundError
            If there is none of that name.
        ParfocalError
            If the server fails, or the disk does not take it.
        """
        from parfocal.images import ZarrOptions, write_ome_zarr
        from parfocal.omero.images import read_image
        from parfocal.omero.pixels import OmeroPixels
        from parfocal.omero.stored_labels import KeptLabels

        found = self._find()
        if not found:
            raise FileNotFoundError(self._query.local_path)
        told = json.loads(found[0].told["ome_zarr"])
        connection = connection_to(self._query)
        image = read_image(connection, found[0].image_id)
        with OmeroPixels(connection.server, image) as pixels, new_beside(path) as new:
            write_ome_zarr(
                new,
                found[0].metadata,
                KeptLabels(pixels, found[0].metadata.dtype),
                ZarrOptions(halve_z=told["halve_z"]),
                labels=True,
                attributes=told["attributes"],
                threads=len(os.sched_getaffinity(0)),
            )

    def store(self, path: Path) -> None:
        """Write the label image as a new image, in place of the one of that name.

        Raises
        ------
        ParfocalError
            As `parfocal.omero.stored_labels.store_labels` does; or if it cannot be read.
        """
        from parfocal.images import open_image
        from parfocal.images.readers.ome_zarr import read_attributes
        from parfocal.omero.stored_labels import store_labels

        query = self._query
        attributes = read_attributes(path)
        del attributes["ome"]
        with open_image(path) as labels:
            told = {"attributes": attributes, "halve_z": labels.halves_z}
            pairs = {"ome_zarr": json.dumps(told, sort_keys=True)}
            connection = connection_to(query)
            store_labels(connection, query.target, labels, pairs, query.name, _NAMESPACE)

    def remove(self) -> None:
        """Remove the label image of that name; its image stays."""
        from parfocal.omero.stored_labels import remove_labels

        query = self._query
        remove_labels(connection_to(query), query.target, query.name, _NAMESPACE)

    def _find(self) -> list[StoredLabels]:
        from parfocal.omero.stored_labels import find_labels

        query = self._query
        return find_labels(connection_to(query), query.target, query.name, _NAMESPACE)
