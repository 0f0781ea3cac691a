"""Read any format lazily; write OME-Zarr with its pyramid; compare two images."""

from parfocal.images.image import Image, ImageEntry
from parfocal.images.opening import list_images, open_image, other_files
from parfocal.images.scratch import ScratchVolume, ScratchVolumes
from parfocal.images.writers.ome_zarr import write_ome_zarr
from parfocal.models.zarr_options import ZarrOptions

__all__ = [
    "Image",
    "ImageEntry",
    "ScratchVolume",
    "ScratchVolumes",
    "ZarrOptions",
    "list_images",
    "open_image",
    "other_files",
    "write_ome_zarr",
]
