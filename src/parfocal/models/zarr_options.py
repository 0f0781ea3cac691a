"""How an OME-Zarr is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from parfocal.models.base import Parameters
from parfocal.models.number_text import number_as_text

__all__ = ["ZarrOptions"]


class ZarrOptions(Parameters):
    """Version, compression, and the sizes of chunks and shards of an OME-Zarr.

    The defaults are explained in docs/explanation/conversion.md.
    """

    ngff: Annotated[Literal["0.5", "0.4"], BeforeValidator(number_as_text)] = Field(
        default="0.5", description="OME-NGFF version; 0.4 is Zarr 2 and has no shards."
    )
    codec: Literal["blosc-zstd", "zstd", "lz4", "gzip", "none"] = Field(
        default="blosc-zstd",
        description="Compression of chunks, all lossless; lz4 is that of Blosc.",
    )
    level: int = Field(default=1, ge=0, le=9, description="Effort of compression.")
    chunk_px: int = Field(
        default=512, ge=16, le=8192, description="Height and width of a chunk in pixels."
    )
    shard_mib: int = Field(
        default=32, ge=0, le=1024, description="Size of a shard before compression; 0 for none."
    )
    halve_z: bool = Field(
        default=False, description="Whether levels are halved along Z too, not along Y and X only."
    )
