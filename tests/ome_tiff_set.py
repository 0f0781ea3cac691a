"""An OME-TIFF image of two planes in two files, each of which names both."""

from pathlib import Path

import numpy as np
import tifffile

_UUIDS = [f"urn:uuid:00000000-0000-0000-0000-00000000000{number}" for number in (1, 2)]


def write_set(folder: Path, names: tuple[str, str] = ("z0.ome.tif", "z1.ome.tif")) -> list[Path]:
    """Write the two files; the pixels of plane z are z + 1."""
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">{_UUIDS[z]}</UUID></TiffData>'
        for z, name in enumerate(names)
    )
    for z, name in enumerate(names):
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{_UUIDS[z]}"><Image ID="Image:0" Name="set"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZCT" Type="uint8" SizeX="8" SizeY="6" SizeZ="2" SizeC="1" '
            'SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{planes}</Pixels></Image></OME>"
        )
        pixels = np.full((6, 8), z + 1, np.uint8)
        tifffile.imwrite(
            folder / name,
            pixels,
            description=text.encode(),
            metadata=None,
            photometric="minisblack",
        )
    return [folder / name for name in names]
