"""Images, as OME-Zarr or as the files that they were imported from: inputs only."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from parfocal.errors import ConfigurationError
from snakemake_storage_plugin_omero.parts import State, connection_to, new_beside
from snakemake_storage_plugin_omero.queries import Query

__all__ = ["FetchedImage"]


class FetchedImage:
    """An image, as OME-Zarr or as the files that it was imported from; read only."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def state(self) -> State | None:
        """Return when the image or its pixels were changed, and the size of its pixels."""
        from parfocal.omero.states import object_state, original_bytes

        connection, target = connection_to(self._query), self._query.target
        state = object_state(connection, target)
        if state is None:
            return None
        size = state.pixel_bytes
        if self._query.form == "original":
            size = original_bytes(connection, target.id) or size
        return State(state.updated_s, size)

    def retrieve(self, path: Path) -> None:
        """Run the steps that fetch and convert an image.

        Raises
        ------
        ParfocalError
            As these steps do.
        """
        with (
            TemporaryDirectory(prefix=".steps-", dir=path.parent) as scratch,
            new_beside(path) as new,
        ):
            self._fetch(Path(scratch)).rename(new)

    def _fetch(self, scratch: Path) -> Path:
        from parfocal.engine import run_step
        from parfocal.models.manifest import primary_path
        from parfocal.steps import convert_image, fetch_image

        originals, image = scratch / "original", scratch / "image.ome.zarr"
        source = {"source": self._query.target.uri}
        if self._query.form == "original":
            source["pixels"] = "original"
        threads = len(os.sched_getaffinity(0))
        run_step(fetch_image.STEP, {}, {"original": originals}, source, threads=threads)
        if self._query.form == "original":
            return originals
        if (primary := primary_path(originals)).is_dir():
            return primary
        outputs = {"image": image, "certificate": scratch / "certificate.json"}
        run_step(convert_image.STEP, {"source": originals}, outputs, threads=threads)
        return image

    def store(self, path: Path) -> None:
        """Refuse.

        Raises
        ------
        ConfigurationError
            Always.
        """
        what = "An image on an OMERO server is an input only"
        remedy = "Name an attachment of it as output: .../image/ID/attachment/NAME"
        raise ConfigurationError(what, where=path, remedy=remedy)

    def remove(self) -> None:
        """Refuse.

        Raises
        ------
        ConfigurationError
            Always.
        """
        what = "An image is never removed from an OMERO server"
        raise ConfigurationError(what, where=self._query.target.uri)
