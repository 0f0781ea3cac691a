"""What an Imaris file (IMS 5.5) holds.

Source: the description of the Imaris 5.5 file format by its makers.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from parfocal.core.blocks import Shape
from parfocal.errors import InputError
from parfocal.images.readers.dimensions import positive, regular_interval
from parfocal.images.readers.hdf5.pixels import check_dataset, native_dtype
from parfocal.models.image import Channel

__all__ = ["ImarisFile", "is_imaris"]

_LEVEL = "DataSet/ResolutionLevel 0"
_UNITS_UM = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "nm": 1e-3}
_DAMAGED = "The file was not written to its end or is damaged: save it again."


def is_imaris(file: Any) -> bool:
    """Tell whether an open HDF5 file is an Imaris file."""
    return _LEVEL in file and "DataSetInfo" in file


class ImarisFile:
    """The image of an Imaris file.

    Parameters
    ----------
    file : h5py.File
        The open file.
    path : Path
        Its path, for errors.
    warn : list of str
        Where it is added what is left out.

    Raises
    ------
    InputError
        If time points, channels or sizes are missing or do not fit together.
    """

    def __init__(self, file: Any, path: Path, warn: list[str]) -> None:
        self._path = path
        self._warn = warn
        self.info = {name: _attributes(group) for name, group in file["DataSetInfo"].items()}
        self._image = self.info.get("Image", {})
        level = file[_LEVEL]
        times = _numbered(level, "TimePoint")
        self._channels = _numbered(level[times[0]], "Channel") if times else []
        self.names = [[f"{_LEVEL}/{t}/{c}/Data" for c in self._channels] for t in times]
        self._check_groups(level, times)
        z, y, x = (self._size(axis) for axis in "ZYX")
        self.shape5: Shape = (len(times), len(self._channels), z, y, x)
        self.dtype, self.chunks = self._check_datasets(file)

    def _size(self, axis: str) -> int:
        text = self._image.get(axis, "")
        if not text.isdecimal() or not int(text):
            what = "The Imaris file does not state its size"
            raise InputError(what, where=self._path, expected=f"a number {axis}", found=repr(text))
        return int(text)

    def _check_groups(self, level: Any, times: list[str]) -> None:
        """Refuse a file in which time points, or channels of them, are missing."""
        stated = self.info.get("TimeInfo", {}).get("FileTimePoints", "")
        count = int(stated) if stated.isdecimal() else len(times)
        whole = times == [f"TimePoint {n}" for n in range(max(count, 1))]
        channels = [f"Channel {n}" for n in range(len(self._channels) or 1)]
        if not whole or any(_numbered(level[time], "Channel") != channels for time in times):
            what = "Time points or channels are missing in the Imaris file"
            expected = f"{count} time points, each with the same channels"
            found = f"{len(times)} time points, {len(self._channels)} channels in the first"
            raise InputError(
                what, where=self._path, expected=expected, found=found, remedy=_DAMAGED
            )

    def _check_datasets(self, file: Any) -> tuple[Any, tuple[int, ...] | None]:
        """Return the data type, and the sizes of what is decompressed at once."""
        first = file[self.names[0][0]]
        for names in self.names:
            for name in names:
                where = f"{self._path}, dataset {name}"
                if name not in file:
                    what = "A channel of a time point is missing in the Imaris file"
                    raise InputError(what, where=where, remedy=_DAMAGED)
                dataset = file[name]
                large = len(dataset.shape) == 3 and all(
                    a >= b for a, b in zip(dataset.shape, self.shape5[2:], strict=True)
                )
                if not large or dataset.dtype != first.dtype:
                    what = "The datasets of the Imaris file do not fit together"
                    expected = f"{first.dtype} of at least {self.shape5[2:]}"
                    found = f"{dataset.dtype} of {dataset.shape}"
                    raise InputError(
                        what, where=where, expected=expected, found=found, remedy=_DAMAGED
                    )
                check_dataset(dataset, where, self._warn)
        return native_dtype(first.dtype, self._path), first.chunks

    def fields(self) -> dict[str, Any]:
        """Return fields of ImageMetadata: name, sizes, time increment and channels."""
        known = {"name": self._image.get("Name") or self._path.name, **self._sizes()}
        interval = self._interval()
        if interval is not None:
            known["time_increment_s"] = interval
        channels = tuple(self._channel(name) for name in self._channels)
        known["channels"] = channels if any(one != Channel() for one in channels) else ()
        return known

    def _sizes(self) -> dict[str, float]:
        unit = self._image.get("Unit", "").strip()
        if unit not in _UNITS_UM:
            self._warn.append(f"{self._path.name} states extents in {unit!r}: they are left out")
            return {}
        sizes = {}
        for number, axis in enumerate("xyz"):
            low, high = (_number(self._image.get(f"Ext{end}{number}")) for end in ("Min", "Max"))
            step = None
            if low is not None and high is not None:
                step = positive((high - low) * _UNITS_UM[unit] / self.shape5[4 - number])
            if step is not None:
                sizes[f"{axis}_um"] = step
        return sizes

    def _interval(self) -> float | None:
        count = self.shape5[0]
        if count == 1:
            return None
        texts = [self.info.get("TimeInfo", {}).get(f"TimePoint{n + 1}", "") for n in range(count)]
        try:
            times = [datetime.fromisoformat(text.strip()) for text in texts]
        except ValueError:
            self._warn.append(f"{self._path.name} states no times that can be read")
            return None
        seconds = [(time - times[0]).total_seconds() for time in times]
        interval = regular_interval(seconds)
        if interval is None:
            self._warn.append(f"{self._path.name} has irregular times: no interval is stated")
        return interval

    def _channel(self, name: str) -> Channel:
        stated = self.info.get(name, {})
        numbers = [_number(text) for text in stated.get("Color", "").split()]
        color = None
        if len(numbers) == 3 and all(n is not None and 0 <= n <= 1 for n in numbers):
            color = "".join(f"{round((n or 0) * 255):02X}" for n in numbers)
        return Channel(
            name=stated.get("Name") or None,
            color=color,
            excitation_nm=positive(_number(stated.get("LSMExcitationWavelength"))),
            emission_nm=positive(_number(stated.get("LSMEmissionWavelength"))),
        )


def _numbered(group: Any, word: str) -> list[str]:
    """Return the names ``word 0``, ``word 1``, ... that are in the group, by their numbers."""
    found = [name for name in group if re.fullmatch(rf"{word} \d+", name)]
    return sorted(found, key=lambda name: int(name.split()[-1]))


def _attributes(group: Any) -> dict[str, str]:
    """Return the attributes of a group; Imaris stores texts as arrays of single bytes."""
    return {name: _text(value) for name, value in group.attrs.items()}


def _text(value: Any) -> str:
    if getattr(value, "dtype", None) is not None and value.dtype.kind == "S":
        return bytes(b"".join(value.ravel().tolist())).decode("utf-8", "replace").strip("\0")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(text: str | None) -> float | None:
    """Return a text as a number, None where it is none, such as ``491-525``."""
    try:
        return float(text or "")
    except ValueError:
        return None
