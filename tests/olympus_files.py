"""Write small acquisitions of Olympus FluoView: there is no library that does.

Sources: the settings as FluoView writes them; Microsoft, Compound File Binary File Format.
"""

import io
import itertools
import struct
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

SECTOR, MINI = 512, 64
END, FREE, FAT_SECTOR, NONE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF
UNITS = {"X": "um", "Y": "um", "Z": "nm", "T": "ms", "L": "nm"}
AXES = "XYCZTLAPG"


def settings(sections):
    """Return settings as FluoView writes them."""
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        for key, value in values.items():
            lines.append(f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}")
    return ("\r\n".join(lines) + "\r\n").encode("utf-16")


def acquisition(pixels, axes, *, order="XYCZT", intervals=None, channels=(), drop=()):
    """Return the name of the main file, and the content of all files by name.

    `pixels` has the axes `axes`, the last two those of a plane. Files in `drop` are named and
    left out.
    """
    sizes = dict(zip(axes, pixels.shape, strict=True))
    files, listed = {}, []
    for place in np.ndindex(*pixels.shape[:-2]):
        index = dict(zip(axes, place, strict=False))
        text = "".join(f"{a}{index[a] + 1:03}" for a in "CLZTP" if a in index)
        name = f"s_{text}" if text else "s_"
        listed.append(name)
        if name not in drop:
            stream = io.BytesIO()
            tifffile.imwrite(stream, pixels[place], photometric="minisblack", metadata=None)
            files[f"{name}.tif"] = stream.getvalue()
            plane = {
                f"Axis {n} Parameters": {"Number": index[a] + 1}
                for n, a in enumerate(order)
                if a in index
            }
            files[f"{name}.pty"] = settings({"File Info": {"DataName": f"{name}.tif"}, **plane})
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "bmp")
    files["image-Thumb.bmp"] = stream.getvalue()
    main = {
        "ProfileSaveInfo": {"Name": "OIF", "Version": "2.1.0.0"}
        | {f"IniFileName{n}": f"image.oif.files\\{name}.pty" for n, name in enumerate(listed)}
        | {"IniFileNameThumb0": "image.oif.files\\image-Thumb.pty"},
        "Axis Parameter Common": {"AxisCount": len(order), "AxisOrder": order},
        "Reference Image Parameter": {
            "ImageDepth": pixels.dtype.itemsize,
            "ValidBitCounts": 8 * pixels.dtype.itemsize,
            "WidthConvertValue": 0.25,
            "WidthUnit": "um",
            "HeightConvertValue": 0.5,
            "HeightUnit": "um",
        },
        "Version Info": {"SystemVersion": "3.1", "SystemName": "FLUOVIEW FV1000"},
    }
    for number, axis in enumerate([*order, *[a for a in AXES if a not in order]]):
        main[f"Axis {number} Parameters Common"] = {
            "AxisCode": axis,
            "AxisName": axis,
            "MaxSize": sizes.get(axis, 0),
            "UnitName": UNITS.get(axis, ""),
            "PixUnit": UNITS.get(axis, ""),
            "Interval": (intervals or {}).get(axis, 0),
            "StartPosition": 0,
            "EndPosition": (intervals or {}).get(axis, 0) * (sizes.get(axis, 1) - 1),
        }
    for number, channel in enumerate(channels, 1):
        main[f"GUI Channel {number} Parameters"] = channel
    return "image.oif", {"image.oif": settings(main), **files}


def write_oif(folder: Path, *args, **kwargs):
    """Write an OIF and the folder beside it."""
    name, files = acquisition(*args, **kwargs)
    path = folder / name
    inside = folder / f"{name}.files"
    inside.mkdir(parents=True)
    for one, content in files.items():
        (path if one == name else inside / one).write_bytes(content)
    return path


def write_oib(path: Path, *args, **kwargs):
    """Write an OIB."""
    name, files = acquisition(*args, **kwargs)
    streams, info = {}, {}
    for number, (one, content) in enumerate(files.items()):
        key = f"Stream{number:05}"
        inside = one == name
        streams[key if inside else f"Storage00001/{key}"] = content
        info[key] = one if inside else f"Storage00001/{one}"
        if inside:
            info["MainFileName"] = key
    info = {"Name": "OIB", "Version": "1.0", "Storage00001": "image.oif.files", **info}
    # FluoView puts no quotation marks there.
    lines = ["[OibSaveInfo]", *[f"{key}={value}" for key, value in info.items()], ""]
    streams["OibInfo.txt"] = "\r\n".join(lines).encode("utf-16")
    path.write_bytes(compound_file(streams))
    return path


def compound_file(streams):
    """Return a compound file of streams, of which some lie in one folder."""
    sectors, fat = [], []

    def add(data, size=SECTOR):
        start = len(sectors)
        count = -(-len(data) // size)
        for n in range(count):
            sectors.append(data[n * size : (n + 1) * size].ljust(size, b"\0"))
            fat.append(start + n + 1 if n + 1 < count else END)
        return start if count else END

    mini, minifat, entries = b"", [], []
    folders = sorted({name.split("/")[0] for name in streams if "/" in name})
    order = [("", 5), *((one, 1) for one in folders), *((one, 2) for one in sorted(streams))]
    for name, kind in order:
        data = streams.get(name, b"") if kind == 2 else b""
        start = END
        if 0 < len(data) < 4096:
            start, count = len(minifat), -(-len(data) // MINI)
            minifat += [start + n + 1 for n in range(count - 1)] + [END]
            mini += data.ljust(count * MINI, b"\0")
        elif data:
            start = add(data)
        entries.append([name.split("/")[-1] or "Root Entry", kind, NONE, NONE, start, len(data)])
    entries[0][4:] = [add(mini), len(mini)]
    for number, (name, _) in enumerate(order):  # each folder is a chain of right siblings
        inside = [
            n
            for n, (one, kind) in enumerate(order)
            if n and ((one.startswith(f"{name}/")) if name else "/" not in one)
        ]
        if entries[number][1] in (1, 5) and inside:
            entries[number][3] = inside[0]
            for one, right in itertools.pairwise(inside):
                entries[one][2] = right
    directory = b"".join(directory_entry(*entry) for entry in entries)
    directory = directory.ljust(-(-len(directory) // SECTOR) * SECTOR, b"\0")
    directory_start = add(directory)
    packed = b"".join(struct.pack("<I", one) for one in minifat)
    mini_start = add(packed.ljust(-(-len(packed) // SECTOR) * SECTOR, b"\xff"))
    mini_sectors = -(-len(packed) // SECTOR)
    fat_count = 1
    while fat_count * (SECTOR // 4) < len(fat) + fat_count:
        fat_count += 1
    first = len(sectors)
    fat += [FAT_SECTOR] * fat_count
    table = b"".join(struct.pack("<I", one) for one in fat).ljust(fat_count * SECTOR, b"\xff")
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<IIIII", 0, fat_count, directory_start, 0, 4096)
    head += struct.pack("<IIII", mini_start, mini_sectors, END, 0)
    difat = [first + n for n in range(fat_count)]
    head += struct.pack("<109I", *difat, *[FREE] * (109 - fat_count))
    return head + b"".join(sectors) + table


def directory_entry(name, kind, right, child, start, size):
    """Return one entry of the directory."""
    text = (name + "\0").encode("utf-16-le")
    head = struct.pack("<64sHBBIII", text, len(text), kind, 1, NONE, right, child)
    return head + bytes(16 + 4 + 16) + struct.pack("<IQ", start, size)
