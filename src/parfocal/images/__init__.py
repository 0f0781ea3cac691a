"""Read any format lazily; write OME-Zarr with its pyramid; compare two images."""

from parfocal.images.image import Image, ImageEntry
from parfocal.images.opening import list_images, open_image
from parfocal.images.scratch import ScratchVolume
from parfocal.images.writer import write_ome_zarr
from parfocal.models.zarr_options import ZarrOptions

__all__ = [
    "Image",
    "ImageEntry",
    "ScratchVolume",
    "ZarrOptions",
    "list_images",
    "open_image",
    "write_ome_zarr",
]
