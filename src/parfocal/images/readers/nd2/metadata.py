"""What the library nd2 finds about an image, as Parfocal describes images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.images.rawfile import RawFile
from parfocal.images.readers.dimensions import positive, regular_interval, to_json
from parfocal.images.readers.nd2.frames import read_chunk
from parfocal.models.image import Channel

__all__ = ["describe", "original_metadata", "position_names"]

_TIMES = b"CustomData|AcqTimesCache"
_RGB = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"))


def position_names(file: Any, path: Path, count: int) -> list[str]:
    """Return the name of each position, empty where it has none and is the only one."""
    loops = (one.parameters.points for one in file.experiment if _is_positions(one))
    points: list[Any] = next(loops, [])
    names = [point.name or "" for point in points][:count]
    names += [""] * (count - len(names))
    if count == 1:
        return names
    return [name or f"{path.name} position {n}" for n, name in enumerate(names)]


def _is_positions(loop: Any) -> bool:
    return bool(loop.type == "XYPosLoop")


def describe(
    file: Any,
    raw: RawFile,
    chunks: dict[bytes, int],
    frames: tuple[int, Sequence[int]],
    warn: list[str],
) -> dict[str, Any]:
    """Return fields of ImageMetadata: sizes, time increment, place of the stage and channels.

    Parameters
    ----------
    file : nd2.ND2File
        The open file.
    raw : RawFile
        The same.
    chunks : dict
        Where its chunks start.
    frames : (int, sequence of int)
        The number of the position, and of its first frame at each time.
    warn : list of str
        Where it is added what is left out.
    """
    position, firsts = frames
    fields: dict[str, Any] = {}
    stated = file.metadata.channels or []
    if stated:
        volume = stated[0].volume
        for axis, known, size in zip(
            "xyz", volume.axesCalibrated, volume.axesCalibration, strict=True
        ):
            if known and positive(size):
                fields[f"{axis}_um"] = float(size)
    interval = _interval(raw, chunks, firsts, warn)
    if interval is not None:
        fields["time_increment_s"] = interval
    fields |= _stage(file, position)
    fields["channels"] = _channels(file, stated)
    return fields


def _interval(
    raw: RawFile, chunks: dict[bytes, int], firsts: Sequence[int], warn: list[str]
) -> float | None:
    """Return the time between two time points in seconds, from when frames were recorded."""
    if len(firsts) == 1:
        return None
    if _TIMES not in chunks:
        warn.append("The ND2 file does not say when frames were recorded: no interval is stated")
        return None
    content = read_chunk(raw, chunks[_TIMES], _TIMES)
    times = np.frombuffer(content[: len(content) // 8 * 8], "<f8")
    if max(firsts) >= len(times):
        warn.append("The ND2 file lacks times of frames: no interval is stated")
        return None
    interval = regular_interval(times[list(firsts)].tolist())
    if interval is None:
        warn.append("The times of the ND2 file are not regular: no interval is stated")
        return None
    return interval / 1000


def _stage(file: Any, position: int) -> dict[str, float]:
    """Return the place of the stage: of the point, or of the first frame where there is one."""
    loop = next((one for one in file.experiment if _is_positions(one)), None)
    if loop is not None and position < len(loop.parameters.points):
        place = loop.parameters.points[position].stagePositionUm
        if not loop.parameters.isSettingZ:
            return {"stage_x_um": float(place.x), "stage_y_um": float(place.y)}
    else:
        channels = file.frame_metadata(0).channels if file.metadata.channels else []
        if not channels or channels[0].position is None:
            return {}
        place = channels[0].position.stagePositionUm
    return {f"stage_{axis}_um": float(getattr(place, axis)) for axis in "xyz"}


def _channels(file: Any, stated: Sequence[Any]) -> tuple[Channel, ...]:
    attributes = file.attributes
    if attributes.componentCount == 3 and (attributes.channelCount or 1) == 1:
        return tuple(Channel(name=name, color=color) for name, color in _RGB)
    if len(stated) != attributes.componentCount:
        return ()
    return tuple(_channel(one.channel) for one in stated)


def _channel(stated: Any) -> Channel:
    color = stated.color
    return Channel(
        name=stated.name or None,
        color=f"{color.r:02X}{color.g:02X}{color.b:02X}",
        excitation_nm=positive(stated.excitationLambdaNm),
        emission_nm=positive(stated.emissionLambdaNm),
    )


def original_metadata(file: Any) -> bytes:
    """Return the texts and the chunks of metadata of a file as JSON."""
    content = {
        "attributes": _plain(file.attributes),
        "experiment": [_plain(loop) for loop in file.experiment],
        "text": dict(file.text_info or {}),
        "chunks": file.unstructured_metadata(strip_prefix=False),
    }
    return to_json(content)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value._asdict() if hasattr(value, "_asdict") else value
