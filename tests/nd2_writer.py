"""Write ND2 files of version 3, with what their readers need."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["write_nd2"]

_MAGIC = 0x0ABECEDA
_NAME_BYTES = 4072


def _name(text: str) -> bytes:
    return text.encode("utf-16-le") + b"\0\0"


def _encode(name: str, value: Any) -> bytes:
    """Encode a value as a variant: its type, the length of its name, the name, and itself."""
    if isinstance(value, dict):
        return _encode_level(name, value)
    if isinstance(value, bool):
        kind, content = 1, bytes([value])
    elif isinstance(value, int):
        kind, content = 3, struct.pack("<I", value)
    elif isinstance(value, float):
        kind, content = 6, struct.pack("<d", value)
    else:
        kind, content = 8, _name(value)
    return bytes([kind, len(name) + 1]) + _name(name) + content


def _encode_level(name: str, values: dict[str, Any]) -> bytes:
    items = [_encode(key, value) for key, value in values.items()]
    head = bytes([11, len(name) + 1]) + _name(name)
    body = b"".join(items)
    size = len(head) + 12 + len(body)
    starts = np.cumsum([len(head) + 12, *(len(item) for item in items)])[: len(items)]
    return head + struct.pack("<IQ", len(items), size) + body + starts.astype("<u8").tobytes()


def _loop(kind: int, parameters: dict[str, Any], inner: dict[str, Any] | None) -> dict[str, Any]:
    made = {"eType": kind, "uLoopPars": parameters, "uiNextLevelCount": int(inner is not None)}
    return made | ({"ppNextLevelEx": {"": inner}} if inner is not None else {})


def _experiment(sizes: dict[str, int], points: list[tuple[str, float, float]]) -> dict[str, Any]:
    """Return the loops over T, P and Z, the outermost first; none of size 1."""
    made: dict[str, Any] | None = None
    for axis in "ZPT":
        count = sizes[axis]
        if count == 1 and not (axis == "P" and points):
            continue
        if axis == "Z":
            pars = {"uiCount": count, "dZLow": 0.0, "dZHigh": 0.5 * (count - 1), "dZStep": 0.5}
            made = _loop(4, pars | {"dZHome": 0.0, "bZInverted": False, "iType": 0}, made)
        elif axis == "T":
            pars = {"uiCount": count, "dStart": 0.0, "dPeriod": 2000.0, "dDuration": 0.0}
            made = _loop(1, pars, made)
        else:
            at = {
                f"i{n:010}": {"dPosX": x, "dPosY": y, "dPosZ": 0.0, "dPosName": name}
                for n, (name, x, y) in enumerate(points)
            }
            made = _loop(2, {"uiCount": count, "bUseZ": False, "Points": at}, made)
    return made or {}


def _plane(number: int, components: int) -> dict[str, Any]:
    point = {"Point0": {"eType": 1, "dWavelength": 525.0 + number, "dTValue": 1.0}}
    spectrum = {"uiCount": 1, "pPoint": point, "bPoints": False}
    empty = {"uiCount": 0}
    probe = {"m_sName": "", "m_ExcitationSpectrum": empty, "m_EmissionSpectrum": spectrum}
    return {
        "uiCompCount": components,
        "uiSampleIndex": number,
        "pFluorescentProbe": probe,
        "uiColor": 0x00FF8000 >> (8 * number),
        "sDescription": f"dye {number}",
    }


def _text(shape: tuple[int, ...]) -> str:
    """Return the description of a file, in which Bio-Formats looks for the sizes."""
    t, p, _, z, _, _ = shape
    sizes = [f"{name}({size})" for name, size in (("T", t), ("XY", p), ("Z", z)) if size > 1]
    return f"Dimensions: {' x '.join(sizes)}\r\n" if sizes else ""


def write_nd2(
    path: Path,
    pixels: NDArray[Any],
    *,
    rgb: bool = False,
    compressed: bool = False,
    points: tuple[tuple[str, float, float], ...] = (),
    times: NDArray[Any] | None = None,
    leave_out: tuple[int, ...] = (),
    **attributes: int,
) -> Path:
    """Write `pixels` (T, P, C, Z, Y, X), the channels of a colour being red, green and blue.

    `times` are those of the frames in ms; frames in `leave_out` are not written.
    """
    t, p, c, z, y, x = pixels.shape
    points_ = list(points) or [(f"place {n}", 10.0 * n, -5.0 * n) for n in range(p)] * (p > 1)
    size = pixels.dtype.itemsize
    row_bytes = -(-x * c * size // 4) * 4  # rows start at multiples of 4 bytes
    stated = {
        "uiWidth": x,
        "uiWidthBytes": row_bytes,
        "uiHeight": y,
        "uiComp": c,
        "uiBpcInMemory": 8 * size,
        "uiBpcSignificant": 8 * size,
        "uiSequenceCount": t * p * z - len(leave_out),
        "uiTileWidth": x,
        "uiTileHeight": y,
        "eCompression": 0 if compressed else 2,
        "dCompressionParam": 0.0,
        "ePixelType": 1,
        "uiVirtualComponents": c,
    } | attributes
    planes = {f"a{n}": _plane(n, 3 if rgb else 1) for n in range(1 if rgb else c)}
    picture = {
        "dTimeMSec": 0.0,
        "dXPos": 1.0,
        "dYPos": 2.0,
        "dZPos": 3.0,
        "sPicturePlanes": {"uiCount": len(planes), "uiCompCount": c, "sPlaneNew": planes},
        "dCalibration": 0.25,
        "dAspect": 1.0,
        "bCalibrated": True,
        "wsObjectiveName": "Plan 60x",
    }
    chunks = {
        "ImageAttributesLV": _encode("SLxImageAttributes", stated),
        "ImageMetadataSeqLV|0": _encode("SLxPictureMetadata", picture),
        "ImageTextInfoLV": _encode("SLxImageTextInfo", {"TextInfoItem_5": _text(pixels.shape)}),
    }
    calibration = {"dCalibration": 0.25, "dAspect": 1.0, "bValid": True, "sObjective": "60x"}
    chunks["ImageCalibrationLV|0"] = _encode("SLxCalibration", calibration)
    experiment = _experiment({"T": t, "P": p, "Z": z}, points_)
    if experiment:
        chunks["ImageMetadataLV"] = _encode("SLxExperiment", experiment)
    frames = pixels.transpose(0, 1, 3, 4, 5, 2).reshape(t * p * z, y, x * c)
    if rgb:
        frames = pixels[:, :, ::-1].transpose(0, 1, 3, 4, 5, 2).reshape(t * p * z, y, x * c)
    stamps = np.arange(t * p * z) * 2000.0 / (p * z) if times is None else times
    for n, frame in enumerate(frames):
        rows = np.zeros((y, row_bytes), "u1")
        rows[:, : x * c * size] = np.ascontiguousarray(frame).view("u1")
        content = zlib.compress(rows.tobytes()) if compressed else rows.tobytes()
        if n not in leave_out:
            chunks[f"ImageDataSeq|{n}"] = struct.pack("<d", stamps[n]) + content
    chunks["CustomData|AcqTimesCache"] = np.asarray(stamps, "<f8").tobytes()
    path.write_bytes(_assemble(chunks))
    return path


def _assemble(chunks: dict[str, bytes]) -> bytes:
    signature = b"ND2 FILE SIGNATURE CHUNK NAME01!"
    out = bytearray(struct.pack("<IIQ", _MAGIC, 32, 64) + signature + b"Ver3.0".ljust(64, b"\0"))
    table = bytearray()
    for name, content in chunks.items():
        out += bytes(-len(out) % 4096)
        table += name.encode() + b"!" + struct.pack("<QQ", len(out), len(content))
        key = (name.encode() + b"!").ljust(_NAME_BYTES, b"\0")
        out += struct.pack("<IIQ", _MAGIC, _NAME_BYTES, len(content)) + key + content
    out += bytes(-len(out) % 4096)
    start = len(out)
    table += b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", start)
    key = b"ND2 FILEMAP SIGNATURE NAME 0001!".ljust(_NAME_BYTES, b"\0")
    out += struct.pack("<IIQ", _MAGIC, _NAME_BYTES, len(table)) + key + table
    return bytes(out)
