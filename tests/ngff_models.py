"""ome-zarr-models for tests: release 1.6 leaves some of its models of 0.4 unfinished."""

from ome_zarr_models import open_ome_zarr
from ome_zarr_models.v04.bioformats2raw import BioFormats2Raw
from ome_zarr_models.v04.hcs import HCS
from ome_zarr_models.v04.image import Image
from ome_zarr_models.v04.image_label import ImageLabel
from ome_zarr_models.v04.labels import Labels
from ome_zarr_models.v04.well import Well
from pydantic_zarr.v2 import AnyArraySpec, AnyGroupSpec, ArraySpec, GroupSpec  # noqa: F401

__all__ = ["Image", "ImageLabel", "Labels", "open_ome_zarr"]

for _model in (Labels, Image, ImageLabel, Well, HCS, BioFormats2Raw):
    _model.model_rebuild()  # they take the names above from here
