"""In which order the shards of an image are written."""

from __future__ import annotations

import numpy as np

from parfocal.images import ZarrOptions, write_ome_zarr
from parfocal.models.image import ImageMetadata


class Flat:
    """An image without content, which keeps where it was read."""

    shape5, dtype = (1, 1, 16, 512, 256), np.dtype(np.uint16)

    def __init__(self):
        self.asked: list[tuple[int, int]] = []

    def read(self, region):
        self.asked.append((region[2].start, region[3].start))
        return np.zeros([part.stop - part.start for part in region], self.dtype)


class Thick(Flat):
    """One that reads planes beside those it is asked for."""

    planes_at_once = 8


def asked(image, path):
    metadata = ImageMetadata(name="a", axes="ZYX", shape=(16, 512, 256), dtype="uint16")
    write_ome_zarr(path, metadata, image, ZarrOptions(chunk_px=64, shard_mib=1))
    return image.asked


def test_what_has_planes_in_common_is_read_one_after_the_other(tmp_path):
    assert asked(Thick(), tmp_path / "a.ome.zarr") == [(0, 0), (8, 0), (0, 256), (8, 256)]


def test_other_images_are_read_in_the_order_of_their_axes(tmp_path):
    places = asked(Flat(), tmp_path / "a.ome.zarr")  # plane by plane of shards of 8
    shards = dict.fromkeys((z // 8, y) for z, y in places)
    assert list(shards) == [(0, 0), (0, 256), (1, 0), (1, 256)]
