"""The programs that race in `conversion`, by `compete`.

All write chunks of (1, 1, 1, 512, 512), blosc zstd level 3 with byte shuffle, 3 levels by 2 x 2
means; in version 0.5 shards of (1, 1, 4, 2048, 2048). Two threads each. What is timed is the work
in a process that has imported its libraries.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

THREADS = 2
LEVELS = 3  # until 512 pixels are left of 2048
THICK = 4
SIDE = 512
_SAMPLED = 60  # planes that are compressed for the limit; it grows linearly


def limit(source: Path, _output: Path) -> None:
    """Tell how long it takes to compress every chunk of all levels from memory."""
    from numcodecs import blosc

    blosc.use_threads = False
    stack = _stack(source).reshape(-1, *_stack(source).shape[-2:])
    planes = stack[:: max(1, len(stack) // _SAMPLED)][:_SAMPLED]
    chunks = [chunk for plane in planes for level in _levels(plane) for chunk in _chunks(level)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_compress, chunks[: 4 * THREADS]))
        start = time.perf_counter()
        list(pool.map(_compress, chunks))
        took = time.perf_counter() - start
    print(f"seconds {took * len(stack) / len(planes)}")


def _compress(chunk: NDArray[Any]) -> int:
    from numcodecs import blosc

    return len(blosc.compress(chunk, b"zstd", 3, 1, 0))


def _levels(plane: NDArray[Any]) -> Iterator[NDArray[Any]]:
    yield np.array(plane)
    for _ in range(LEVELS - 1):
        plane = _halved(plane[np.newaxis])[0]
        yield plane


def _chunks(plane: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for y in range(0, plane.shape[0], SIDE):
        for x in range(0, plane.shape[1], SIDE):
            yield np.ascontiguousarray(plane[y : y + SIDE, x : x + SIDE])


def _halved(planes: NDArray[Any]) -> NDArray[Any]:
    """Average 2 x 2 pixels of (Z, Y, X) by OpenCV, the fastest way there is."""
    import cv2

    cv2.setNumThreads(1)
    out = np.empty((len(planes), planes.shape[1] // 2, planes.shape[2] // 2), planes.dtype)
    for plane, small in zip(planes, out, strict=True):
        cv2.resize(plane, small.shape[::-1], dst=small, interpolation=cv2.INTER_AREA)
    return out


def _stack(source: Path) -> NDArray[Any]:
    """Map the uncompressed pixels of an OME-TIFF as (T, C, Z, Y, X)."""
    with tifffile.TiffFile(source) as tiff:
        sizes = dict(zip(tiff.series[0].axes, tiff.series[0].shape, strict=True))
        offset, dtype = tiff.series[0].dataoffset, tiff.series[0].dtype
    shape = tuple(sizes.get(axis, 1) for axis in "TCZYX")
    return np.memmap(source, dtype, "r", offset, shape)


def parfocal_05(source: Path, output: Path) -> None:
    """Write OME-Zarr 0.5 with Parfocal."""
    _parfocal(source, output, "0.5")


def parfocal_04(source: Path, output: Path) -> None:
    """Write OME-Zarr 0.4 with Parfocal."""
    _parfocal(source, output, "0.4")


def _parfocal(source: Path, output: Path, ngff: Any) -> None:
    from parfocal.images import ZarrOptions, open_image, write_ome_zarr

    options = ZarrOptions(ngff=ngff, level=3, chunk_px=SIDE)
    with open_image(source, threads=THREADS) as image:
        write_ome_zarr(
            output,
            image.metadata,
            image,
            options,
            original_metadata=image.original_metadata,
            threads=THREADS,
        )


def parfocal_tiff(source: Path, output: Path) -> None:
    """Write a pyramidal OME-TIFF with Parfocal, by its default codec and level."""
    from parfocal.images import open_image
    from parfocal.images.writers.ome_tiff import write_ome_tiff

    with open_image(source, threads=THREADS) as image:
        write_ome_tiff(output, [(image.metadata, image)], threads=THREADS)


def verification(source: Path, output: Path) -> None:
    """Verify what Parfocal wrote to `output` against its source.

    The digest of the result is not taken here: the record needs it with or without.
    """
    from parfocal.images.proof.verification import ProofOptions, verify_image

    options = ProofOptions(threads=THREADS)
    certificate = verify_image(source, output, options, digest="zarr-merkle-sha256:")
    if certificate.verdict != "verified":
        sys.exit(f"{certificate.verdict}: {certificate.differences}")


def zarrs(source: Path, output: Path) -> None:
    """Write OME-Zarr 0.5 with zarr-python, whose chunks the Rust library zarrs encodes."""
    import zarr
    import zarrs  # noqa: F401  # the pipeline is found by its name

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    zarr.config.set({"threading.max_workers": THREADS})
    _zarr_python(source, output)


def zarr_python(source: Path, output: Path) -> None:
    """Write OME-Zarr 0.5 with zarr-python."""
    _zarr_python(source, output)


def _zarr_python(source: Path, output: Path) -> None:
    import zarr
    from zarr.codecs import BloscCodec

    stack = _stack(source)
    group = zarr.open_group(output, mode="w", zarr_format=3)
    codec = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
    arrays = []
    for number in range(LEVELS):
        y, x = (size >> number for size in stack.shape[3:])
        array = group.create_array(
            str(number),
            shape=(*stack.shape[:3], y, x),
            dtype=stack.dtype,
            chunks=(1, 1, 1, min(SIDE, y), min(SIDE, x)),
            shards=(1, 1, THICK, y, x),
            compressors=codec,
        )
        arrays.append(array)
    for c in range(stack.shape[1]):
        for z in range(0, stack.shape[2], THICK):
            block = stack[0, c, z : z + THICK]
            for number, array in enumerate(arrays):
                if number:
                    block = _halved(block)
                array[0, c, z : z + THICK] = block


def ome_zarr_py(source: Path, output: Path) -> None:
    """Write OME-Zarr 0.5 with ome-zarr-py, by the local mean."""
    import dask.array
    import zarr
    from ome_zarr.format import FormatV05
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image
    from zarr.codecs import BloscCodec

    array = dask.array.from_zarr(zarr.open(tifffile.imread(source, aszarr=True), mode="r"))
    array = array.reshape((1,) * (5 - array.ndim) + array.shape)
    array = array.rechunk((1, 1, THICK, *array.shape[3:]))
    codec = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
    options = []
    for number in range(LEVELS):
        y, x = (size >> number for size in array.shape[3:])
        chunks = (1, 1, 1, min(SIDE, y), min(SIDE, x))
        shards = (1, 1, THICK, y, x)
        options.append({"chunks": chunks, "shards": shards, "compressors": [codec]})
    write_image(
        array,
        str(output),
        scale_factors=[2**number for number in range(1, LEVELS)],
        method=Methods.LOCAL_MEAN,
        fmt=FormatV05(),
        axes="tczyx",
        storage_options=options,
    )


def tifffile_writer(source: Path, output: Path) -> None:
    """Write a pyramidal OME-TIFF with tifffile's own compression at its default zlib level."""
    import tensorstore

    stores = [
        tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{source}/{number}/"}}
        ).result()
        for number in range(LEVELS)
    ]
    with tifffile.TiffWriter(output, bigtiff=True, ome=True) as writer:
        for number, store in enumerate(stores):
            writer.write(
                _tiles(store),
                shape=store.shape,
                dtype=np.uint16,
                subifds=LEVELS - 1 if number == 0 else None,
                subfiletype=1 if number else 0,
                tile=(SIDE, SIDE),
                compression="zlib",
                predictor=True,
                photometric="minisblack",
                maxworkers=THREADS,
                metadata={"axes": "TCZYX"[-store.ndim :]} if number == 0 else None,
            )


def _tiles(store: Any) -> Iterator[NDArray[Any]]:
    y, x = store.shape[-2:]
    for index in np.ndindex(store.shape[:-2]):
        plane = np.zeros((max(SIDE, y), max(SIDE, x)), np.uint16)
        plane[:y, :x] = store[index].read().result()
        yield from _chunks(plane)


CONTENDERS: dict[str, Callable[[Path, Path], None]] = {
    "limit": limit,
    "parfocal-0.5": parfocal_05,
    "parfocal-0.4": parfocal_04,
    "parfocal-tiff": parfocal_tiff,
    "verification": verification,
    "zarr-python": zarr_python,
    "zarr-python+zarrs": zarrs,
    "ome-zarr-py": ome_zarr_py,
    "tifffile": tifffile_writer,
}


def compete(name: str, source: Path, output: Path, tiny: Path, tiny_output: Path) -> None:
    """Do it with a tiny source first, which imports all that is needed, and then time it."""
    contender = CONTENDERS[name]
    contender(tiny, tiny_output)
    start = time.perf_counter()
    contender(source, output)
    if contender is not limit:  # it tells its own time
        print(f"seconds {time.perf_counter() - start}")


if __name__ == "__main__":
    compete(sys.argv[1], *(Path(argument) for argument in sys.argv[2:]))
