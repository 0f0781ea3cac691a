"""Write small Leica files: there is no library that does.

Source: Leica Microsystems, LAS AF and LAS X image file formats.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

KINDS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "L": 5, "A": 6, "M": 10}
UNITS = {"X": "m", "Y": "m", "Z": "m", "T": "s"}


@dataclass
class LifImage:
    """An image to write.

    `pixels` has the axes `axes` in the order in which they lie in the file, X or S last, C or S
    for channels. `steps` are distances in um or s, by axis; `luts` and `dyes` one a channel.
    """

    name: str
    axes: str
    pixels: np.ndarray
    steps: dict = field(default_factory=dict)
    luts: tuple = ()
    dyes: tuple = ()
    tags: tuple = ()
    extra: str = ""
    bits: int = 0
    row_padding: int = 0
    children: tuple = ()

    def data(self):
        """Return the bytes of the pixels, rows padded."""
        stored = np.ascontiguousarray(self.pixels, self.pixels.dtype.newbyteorder("<"))
        if not self.row_padding:
            return stored.tobytes()
        last = stored.ndim - (3 if self.axes.endswith("S") else 2)
        rows = stored.reshape(int(np.prod(stored.shape[: last + 1])), -1).view(np.uint8)
        return np.pad(rows, ((0, 0), (0, self.row_padding)), constant_values=77).tobytes()

    def strides(self):
        """Return the bytes from one element to the next by axis."""
        found, stride = {}, self.pixels.dtype.itemsize
        for axis, size in zip(reversed(self.axes), reversed(self.pixels.shape), strict=True):
            found[axis] = stride
            stride = stride * size + (self.row_padding if axis == "X" else 0)
        return found

    def xml(self, block):
        """Return its element."""
        strides, sizes = self.strides(), dict(zip(self.axes, self.pixels.shape, strict=True))
        axis_c = next((a for a in "CS" if a in sizes), None)
        count = sizes[axis_c] if axis_c else 1
        kind = int(self.pixels.dtype.kind == "f")
        bits = self.bits or 8 * self.pixels.dtype.itemsize
        channels = "".join(
            f'<ChannelDescription DataType="{kind}" '
            f'ChannelTag="{self.tags[c] if self.tags else 0}" Resolution="{bits}" '
            f'NameOfMeasuredQuantity="" Min="0" Max="{2**bits - 1}" Unit="" '
            f'LUTName="{self.luts[c] if self.luts else "Gray"}" IsLUTInverted="0" '
            f'BytesInc="{c * strides[axis_c] if axis_c else 0}" BitInc="0">'
            + (
                "<ChannelProperty><Key>DyeName</Key>"
                f"<Value>{self.dyes[c]}</Value></ChannelProperty>"
                if self.dyes
                else ""
            )
            + "</ChannelDescription>"
            for c in range(count)
        )
        dimensions = "".join(
            f'<DimensionDescription DimID="{KINDS[axis]}" NumberOfElements="{size}" Origin="0" '
            f'Length="{self.length(axis, size)!r}" Unit="{UNITS.get(axis, "")}" BitInc="0" '
            f'BytesInc="{strides[axis]}"/>'
            for axis, size in reversed(list(sizes.items()))
            if axis in KINDS
        )
        inner = "".join(one.xml(f"{block}_{n}") for n, one in enumerate(self.children))
        return (
            f'<Element Name="{self.name}" Visibility="1"><Data><Image><ImageDescription>'
            f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
            f"</ImageDescription>{self.extra}</Image></Data>"
            f'<Memory Size="{len(self.data())}" MemoryBlockID="{block}"/>'
            f"<Children>{inner}</Children></Element>"
        )

    def length(self, axis, size):
        """Return the length of a dimension in metres or seconds."""
        unit = 1.0 if axis == "T" else 1e-6
        return self.steps.get(axis, 0.0) * unit * (size - 1)


def text_block(text):
    """Return a block of XML."""
    return struct.pack("<IIBI", 0x70, 2 * len(text) + 5, 0x2A, len(text)) + text.encode("utf-16-le")


def memory_block(name, data):
    """Return a block of pixels."""
    head = struct.pack("<IIBQBI", 0x70, 2 * len(name) + 14, 0x2A, len(data), 0x2A, len(name))
    return head + name.encode("utf-16-le") + data


def folder(name, *inner):
    """Return the element of a folder."""
    return f'<Element Name="{name}"><Data/><Children>{"".join(inner)}</Children></Element>'


def write_lif(path: Path, images, extra=""):
    """Write a LIF; `images` holds images, or a name and images for those in a folder."""
    blocks, elements = [], []

    def add(image):
        name = f"MemBlock_{len(blocks)}"
        blocks.append(memory_block(name, image.data()))
        for number, child in enumerate(image.children):
            blocks.append(memory_block(f"{name}_{number}", child.data()))
        return image.xml(name)

    for one in images:
        if isinstance(one, LifImage):
            elements.append(add(one))
        else:
            elements.append(folder(one[0], *[add(image) for image in one[1:]]))
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="project.lif"><Data><Experiment/></Data>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_none"/><Children>{"".join(elements)}{extra}'
        "</Children></Element></LMSDataContainerHeader>"
    )
    path.write_bytes(text_block(xml) + b"".join(blocks))
    return path


def write_lof(path: Path, image: LifImage):
    """Write a LOF: one image and its XML behind it."""
    data = image.data()
    name = "LMS_Object_File"
    xml = f'<LMSDataContainerHeader Version="2">{image.xml("MemBlock_0")}</LMSDataContainerHeader>'
    head = struct.pack("<BIBI", 0x2A, 2, 0x2A, 0) + struct.pack("<BQ", 0x2A, len(data))
    path.write_bytes(
        struct.pack("<IIBI", 0x70, 2 * len(name) + 5, 0x2A, len(name))
        + name.encode("utf-16-le")
        + head
        + data
        + text_block(xml)
    )
    return path
