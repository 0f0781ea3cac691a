"""The programs that race in `analysis`, by name: two threads each, from disk to disk.

What is timed is the whole process, with the import of its libraries. Each reads what suits it:
Parfocal an OME-Zarr of its own, dask-image the same pixels in chunks of a Zarr as thick as its
blocks, and the pipeline in memory all of the OME-Zarr at once.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

THREADS = 2
CHUNK = (64, 512, 512)
BLOCKS = 100_000
SIGMA = (1.0, 2.0, 2.0)
COMPONENTS = {
    "threshold": {"method": "manual", "value": 0.5},
    "smoothing_px": 0,
    "seeds": {"method": "none"},
    "edge_fraction": None,
    "fill_holes": False,
    "min_diameter_px": 0,
}
OBJECTS = {
    "threshold": {"method": "otsu"},
    "smoothing_px": 0,
    "seeds": {"method": "distance"},
    "edge_fraction": None,
    "fill_holes": False,
}


def _parfocal(*arguments: str | Path) -> None:
    """Run a command of Parfocal in this process."""
    from parfocal.cli.main import main

    if main([*map(str, arguments), "--threads", str(THREADS)]):
        sys.exit(1)


def parfocal_label(source: Path, output: Path) -> None:
    """Label the components of a mask."""
    output.mkdir()
    _parfocal(
        *("segment-objects", "--image", source, "--labels", output / "labels.ome.zarr"),
        *("--params", json.dumps(COMPONENTS)),
    )


def parfocal_label_measure(source: Path, output: Path) -> None:
    """Label the components of a mask, and measure them."""
    parfocal_label(source, output)
    _measure(source, output)


def _measure(source: Path, output: Path) -> None:
    _parfocal(
        *("measure-objects", "--image", source, "--labels", output / "labels.ome.zarr"),
        *("--table", output / "table.parquet", "--tsv", output / "table.tsv"),
    )


def parfocal_gaussian(source: Path, output: Path) -> None:
    """Smooth an image."""
    chosen = {"filter": {"method": "gaussian", "sigma_px": SIGMA[2]}}
    _parfocal(
        *("filter-image", "--image", source, "--filtered", output),
        *("--params", json.dumps(chosen)),
    )


def parfocal_pipeline(source: Path, output: Path) -> None:
    """Smooth three channels, find the objects of the first, and measure them in all three."""
    output.mkdir()
    filtered = output / "filtered.ome.zarr"
    _parfocal(
        *("filter-image", "--image", source, "--filtered", filtered),
        *("--params", json.dumps({"filter": {"method": "gaussian", "sigma_px": 1.0}})),
    )
    _parfocal(
        *("segment-objects", "--image", filtered, "--labels", output / "labels.ome.zarr"),
        *("--params", json.dumps(OBJECTS)),
    )
    _measure(source, output)
    _tell_objects(output / "table.tsv", "volume_px")


def chunks(source: Path, output: Path) -> None:
    """Write the volume of an OME-Zarr as a Zarr array with chunks as blocks are."""
    pixels = _full_resolution(source)
    array = _create(output, pixels.shape, pixels.dtype.numpy_dtype)
    for start in range(0, pixels.shape[0], CHUNK[0]):
        array[start : start + CHUNK[0]] = pixels[start : start + CHUNK[0]].read().result()


def convert(source: Path, output: Path) -> None:
    """Write an OME-Zarr."""
    from parfocal.images import open_image, write_ome_zarr

    with open_image(source, threads=THREADS) as image:
        write_ome_zarr(output, image.metadata, image, threads=THREADS)


def _full_resolution(source: Path) -> Any:
    import tensorstore

    return tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{source}/0/"}}
    ).result()


def _create(path: Path, shape: tuple[int, ...], dtype: Any) -> Any:
    import zarr
    from zarr.codecs import BloscCodec

    codec = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
    return zarr.create_array(
        path, shape=shape, chunks=CHUNK, dtype=dtype, compressors=codec, overwrite=True
    )


def dask_image_label(source: Path, output: Path) -> None:
    """Label the components of a mask with dask-image, and count them."""
    import dask
    import dask.array
    from dask_image.ndmeasure import label

    mask = dask.array.from_zarr(source) > 0
    labels, count = label(mask)
    target = _create(output, mask.shape, np.uint32)
    stored = dask.array.store(labels.astype(np.uint32), target, lock=False, compute=False)
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        dask.compute(stored, count)


def dask_image_gaussian(source: Path, output: Path) -> None:
    """Smooth an image with dask-image in single precision, and round it."""
    import dask
    import dask.array
    from dask_image.ndfilters import gaussian_filter

    image = dask.array.from_zarr(source)
    smooth = gaussian_filter(image.astype(np.float32), SIGMA, mode="mirror")
    target = _create(output, image.shape, image.dtype)
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        dask.array.store((smooth + 0.5).astype(image.dtype), target, lock=False)


def in_memory(source: Path, output: Path) -> None:
    """Do as `parfocal_pipeline` with NumPy, SciPy, scikit-image and cc3d, all in memory."""
    import cc3d
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.segmentation import watershed

    image: NDArray[np.uint16] = np.asarray(_full_resolution(source).read().result())
    image = image.reshape(image.shape[-4:])
    sigma, spacing = (1 / 3, 1.0, 1.0), (3.0, 1.0, 1.0)
    filtered = np.empty_like(image)
    for channel, target in zip(image, filtered, strict=True):
        smooth = gaussian(channel.astype(np.float32), sigma, mode="mirror", preserve_range=True)
        np.floor(smooth + 0.5, out=target, casting="unsafe")
    mask = filtered[0] > threshold_otsu(filtered[0])
    components = cc3d.connected_components(mask, connectivity=6)
    distance = ndimage.distance_transform_edt(mask, sampling=spacing).astype(np.float32)
    peaks = peak_local_max(distance, labels=components, min_distance=4)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = cc3d.dust(watershed(-distance, markers, mask=mask), threshold=100, connectivity=6)
    output.mkdir()
    np.save(output / "labels.npy", labels)
    _table(labels, image, output / "table.tsv")
    _tell_objects(output / "table.tsv", "area")


def _tell_objects(path: Path, size: str) -> None:
    """Print how many objects a table has, and how many pixels they have in all."""
    with path.open(encoding="utf-8", newline="") as file:
        sizes = [float(row[size]) for row in csv.DictReader(file, delimiter="\t")]
    print(f"{len(sizes):,} objects of {sum(sizes):,.0f} pixels in all")


def _table(labels: NDArray[Any], image: NDArray[Any], path: Path) -> None:
    """Measure with scikit-image what measure-objects measures, but for surfaces."""
    from skimage.measure import regionprops_table

    properties = ("label", "area", "centroid", "bbox", "equivalent_diameter_area", "extent")
    axes = ("axis_major_length", "axis_minor_length")
    intensities = ("intensity_mean", "intensity_std", "intensity_min", "intensity_max")
    found = regionprops_table(
        labels, np.moveaxis(image, 0, -1), properties=(*properties, *axes, *intensities)
    )
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(found) + "\n")
        file.writelines(
            "\t".join(map(str, row)) + "\n" for row in zip(*found.values(), strict=True)
        )


def _nothing(region: Any) -> int:
    """Do nothing with a block."""
    return len(region)


def _regions() -> Any:
    from parfocal.core.blocks import iter_blocks, whole

    return iter_blocks(whole((1, 1, 10, 100 * 512, 100 * 512)), (1, 1, 1, 512, 512))


def blocks_threads(_source: Path, _output: Path) -> None:
    """Hand out blocks to threads of this process."""
    from parfocal.core.scheduler import Threads

    assert sum(Threads(THREADS).map(_nothing, _regions())) == 5 * BLOCKS


def blocks_processes(_source: Path, _output: Path) -> None:
    """Hand out blocks to processes, through dask's scheduler, as to a cluster."""
    from parfocal.compute import Compute
    from parfocal.models.compute import LocalProcesses

    with Compute(LocalProcesses(engine="processes", workers=THREADS), THREADS) as compute:
        scheduler = compute.scheduler()
        assert scheduler is not None
        assert sum(scheduler.map(_nothing, _regions())) == 5 * BLOCKS


def blocks_map_blocks(_source: Path, _output: Path) -> None:
    """Build a graph of blocks with dask.array, and run it."""
    import dask
    import dask.array

    image = dask.array.zeros((10, 100 * 512, 100 * 512), chunks=(1, 512, 512), dtype=np.uint8)
    counted = image.map_blocks(
        lambda block: np.full((1, 1, 1), block.ndim), chunks=(1, 1, 1), dtype=int
    )
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        assert counted.compute().sum() == 3 * BLOCKS


CONTENDERS: dict[str, Callable[[Path, Path], None]] = {
    "chunks": chunks,
    "convert": convert,
    "parfocal-label": parfocal_label,
    "parfocal-label-measure": parfocal_label_measure,
    "parfocal-gaussian": parfocal_gaussian,
    "parfocal-pipeline": parfocal_pipeline,
    "dask-image-label": dask_image_label,
    "dask-image-gaussian": dask_image_gaussian,
    "scikit-image-pipeline": in_memory,
    "blocks-threads": blocks_threads,
    "blocks-processes": blocks_processes,
    "blocks-map-blocks": blocks_map_blocks,
}

if __name__ == "__main__":
    CONTENDERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
