"""Open HDF5 files: Imaris, BigDataViewer, and others whose datasets say what their axes are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from parfocal.core.blocks import Shape
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.images.readers.dimensions import kept_axes, rows_block, to_json
from parfocal.images.readers.hdf5.axes import dataset_axes, dataset_sizes
from parfocal.images.readers.hdf5.bigdataviewer import (
    describe_setups,
    find_setups,
    is_bigdataviewer,
    xml_beside,
)
from parfocal.images.readers.hdf5.imaris import ImarisFile, is_imaris
from parfocal.images.readers.hdf5.links import linked_files
from parfocal.images.readers.hdf5.pixels import (
    DatasetPixels,
    check_dataset,
    native_dtype,
    open_hdf5,
    reading,
)
from parfocal.images.readers.registry import ReadOptions
from parfocal.images.readers.source import Source
from parfocal.models.image import ImageMetadata

__all__ = ["open_source"]


class Hdf5Source(Source):
    """An HDF5 file: one image of Imaris, the setups of BigDataViewer, or datasets."""

    def _open(self) -> None:
        self._file = open_hdf5(self.path)
        self._held.callback(self._file.close)
        with reading(self.path):
            self._names = _names(self._file, self.path)

    def names(self) -> list[str]:
        """Return ``0`` for Imaris, or what setups and datasets are called."""
        return self._names

    def choose(self, series: str) -> int:
        """Return the place of an image, of which the path may be given as HDF5 writes it."""
        bare = series.lstrip("/")
        return super().choose(bare if bare in self._names else series)

    def image(self, place: int) -> Image:
        """Return an image."""
        with reading(self.path):
            return _image(self._file, self.path, self._names[place], self.options)

    def other_files(self) -> list[Path]:
        """Return the files that it takes data from, and the XML of a BigDataViewer file."""
        with reading(self.path):
            xml = [xml_beside(self.path)] if is_bigdataviewer(self._file) else []
            there = [file for file in xml if file.is_file()]
            return sorted(there + linked_files(self._file, self.path))


def _names(file: Any, path: Path) -> list[str]:
    """Return what the images are called."""
    if is_imaris(file):
        return ["0"]
    if is_bigdataviewer(file):
        return [setup.name for setup in find_setups(file, path)]
    found = [name for name, one in _datasets(file) if _is_image(one)]
    if not found:
        what = "The HDF5 file holds no image"
        expected = "an Imaris or BigDataViewer file, or a dataset of numbers with several axes"
        raise InputError(what, where=path, expected=expected, found=f"{len(file)} other entries")
    return found


def _datasets(file: Any) -> list[tuple[str, Any]]:
    """List all datasets with their paths, sorted."""
    import h5py

    found: list[tuple[str, Any]] = []

    def note(name: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset):
            found.append((name, one))

    file.visititems(note)
    return sorted(found, key=lambda pair: pair[0])


def _is_image(dataset: Any) -> bool:
    sizes = dataset.shape
    return sizes is not None and len(sizes) > 1 and all(sizes) and dataset.dtype.kind in "biufc"


def _image(file: Any, path: Path, name: str, options: ReadOptions) -> Image:
    if is_imaris(file):
        return _imaris(file, path)
    if is_bigdataviewer(file):
        return _setup(file, path, name)
    return _dataset(file, path, name, options)


def _imaris(file: Any, path: Path) -> Image:
    warn: list[str] = []
    found = ImarisFile(file, path, warn)
    pixels = DatasetPixels(file, path, found.names, "ZYX", found.shape5, found.dtype)
    return _finish(pixels, found.chunks, found.fields(), warn, {"imaris.json": to_json(found.info)})


def _setup(file: Any, path: Path, name: str) -> Image:
    warn: list[str] = []
    setup = next(one for one in find_setups(file, path) if one.name == name)
    first = file[setup.datasets[0]]
    for other in setup.datasets:
        dataset = file[other]
        where = f"{path}, dataset {other}"
        if dataset.shape != first.shape or dataset.dtype != first.dtype or first.ndim != 3:
            what = "The time points of the BigDataViewer file do not fit together"
            expected = f"{first.dtype} of {first.shape}"
            found = f"{dataset.dtype} of {dataset.shape}"
            raise InputError(what, where=where, expected=expected, found=found)
        check_dataset(dataset, where, warn)
    dtype = native_dtype(first.dtype, path)
    if dtype == "int16":  # BigDataViewer stores uint16 so, as Java has no unsigned numbers
        dtype = np.dtype(np.uint16)
    shape5: Shape = (len(setup.datasets), 1, *first.shape)
    names = [[one] for one in setup.datasets]
    pixels = DatasetPixels(file, path, names, "ZYX", shape5, dtype)
    fields = {"name": name} | describe_setups(path, warn).get(name, {})
    texts = {}
    if xml_beside(path).is_file():
        texts["BigDataViewer.xml"] = xml_beside(path).read_bytes()
        warn.append(f"{path.name}: the registration of views is in OME/BigDataViewer.xml only")
    return _finish(pixels, first.chunks, fields, warn, texts)


def _dataset(file: Any, path: Path, name: str, options: ReadOptions) -> Image:
    warn: list[str] = []
    dataset = file[name]
    where = f"{path}, dataset {name}"
    axes = dataset_axes(dataset, where, options.axes)
    check_dataset(dataset, where, warn)
    dtype = native_dtype(dataset.dtype, where)
    if dataset.dtype.kind == "b":
        warn.append(f"{where} has 1 bit a pixel: it is read as uint8, 0 and 1")
    sizes = dict(zip(axes, dataset.shape, strict=True))
    t, c, z, y, x = (sizes.get(axis, 1) for axis in "TCZYX")
    pixels = DatasetPixels(file, path, [[name]], axes, (t, c, z, y, x), dtype)
    fields = {"name": name, **dataset_sizes(dataset)}
    stated = {key: _plain(value) for key, value in dataset.attrs.items()}
    texts = {"hdf5.json": to_json({"dataset": name, "attributes": stated})}
    chunks = dict(zip(axes, dataset.chunks, strict=True)) if dataset.chunks else {}
    block = tuple(chunks.get(axis, 1) for axis in "TCZYX") if chunks else None
    return _finish(pixels, block, fields, warn, texts)


def _plain(value: Any) -> Any:
    """Return an attribute as something of which the text is always the same."""
    import h5py

    return "a reference" if isinstance(value, h5py.Reference | h5py.RegionReference) else value


def _finish(
    pixels: DatasetPixels,
    chunks: tuple[int, ...] | None,
    fields: dict[str, Any],
    warn: list[str],
    texts: dict[str, bytes],
) -> Image:
    """Put an image together; `chunks` are the sizes of chunks along the last axes."""
    shape5 = pixels.shape5
    block5 = rows_block(shape5, pixels.dtype.itemsize)
    if chunks is not None:
        sizes = (1,) * (5 - len(chunks)) + chunks
        t, c, z, y, x = (min(one, size) for one, size in zip(sizes, shape5, strict=True))
        block5 = (t, c, z, y, x)
    return Image(
        metadata=ImageMetadata(**kept_axes(shape5), dtype=pixels.dtype.name, **fields),
        pyramid=(pixels,),
        block5=block5,
        reader=library("h5py"),
        warnings=tuple(warn),
        original_metadata=texts,
    )


open_source = Hdf5Source
