"""Write OME-XML from what Parfocal knows about images: schema 2016-06, the same bytes always."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from parfocal.models.image import Channel, ImageMetadata

__all__ = ["PIXEL_TYPES", "OmePlate", "OmeWell", "has_samples", "ome_xml"]

PIXEL_TYPES = {
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "float32": "float",
    "float64": "double",
}
"""What OME calls the data types that it has."""

_NEAREST = {"int64": "int32", "uint64": "uint32", "float16": "float"}
_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"
_ORIGINALS = "parfocal/original-metadata"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RGB = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"))


@dataclass(frozen=True)
class OmeWell:
    """One well of a plate.

    Parameters
    ----------
    row, column : int
        Its place, from 0 on.
    images : tuple of int
        Numbers of its fields among the images that are described.
    """

    row: int
    column: int
    images: tuple[int, ...]


@dataclass(frozen=True)
class OmePlate:
    """A plate whose fields are the images that are described.

    Parameters
    ----------
    name : str
        Any text.
    rows, columns : int
        How many it has.
    wells : tuple of OmeWell
        Those that were imaged.
    """

    name: str
    rows: int
    columns: int
    wells: tuple[OmeWell, ...]


def ome_xml(
    images: Sequence[ImageMetadata],
    *,
    tiff: bool,
    plate: OmePlate | None = None,
    originals: Mapping[str, bytes] | None = None,
) -> bytes:
    """Describe images in OME-XML.

    Text is UTF-8, without references such as ``&#181;``, which Bio-Formats does not understand.
    Characters that XML cannot hold are written as U+FFFD.

    Parameters
    ----------
    images : sequence of ImageMetadata
        In their order; their planes are in the order Z, C, T, Z fastest.
    tiff : bool
        Whether the pixels are the pages of this very TIFF, one image after the other; otherwise
        they are not in the file (MetadataOnly), and for a data type that OME has not the
        nearest is stated, and said to be that.
    plate : OmePlate, optional
        The plate that the images are fields of.
    originals : mapping of str to bytes, optional
        Files of the source to enclose as they are, by name.

    Returns
    -------
    bytes
        The XML, with its declaration.

    Raises
    ------
    KeyError
        If OME has no such data type and `tiff` is set; see `PIXEL_TYPES`.

    Source: https://docs.openmicroscopy.org/ome-model (schema 2016-06).
    """
    root = ET.Element(
        "OME",
        {
            "xmlns": _NAMESPACE,
            "xmlns:xsi": _SCHEMA,
            "xsi:schemaLocation": f"{_NAMESPACE} {_NAMESPACE}/ome.xsd",
            "Creator": "Parfocal",
        },
    )
    if plate is not None:
        _add_plate(root, plate)
    page = 0
    for number, image in enumerate(images):
        page += _add_image(root, number, image, page if tiff else None)
    if originals:
        _add_originals(root, originals)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=False)
    return b'<?xml version="1.0" encoding="UTF-8"?>' + text


def has_samples(image: ImageMetadata) -> bool:
    """Tell whether red, green and blue are written as samples of a pixel, not as planes.

    They are where the channels are called so or not at all: samples have no names of their own.
    """
    standard = tuple(Channel(name=name, color=color) for name, color in _RGB)
    unnamed = (Channel(),) * len(_RGB)
    return image.rgb and image.size("C") == 3 and image.channels in ((), standard, unnamed)


def _text(value: str) -> str:
    return _NO_XML.sub("\ufffd", value)


def _add_plate(root: ET.Element, plate: OmePlate) -> None:
    """Add the plate: its fields refer to the images."""
    element = ET.SubElement(root, "Plate", ID="Plate:0", Name=_text(plate.name))
    element.attrib |= {"Rows": str(plate.rows), "Columns": str(plate.columns)}
    element.attrib |= {"RowNamingConvention": "letter", "ColumnNamingConvention": "number"}
    index = 0
    for number, well in enumerate(plate.wells):
        place = {"Row": str(well.row), "Column": str(well.column)}
        child = ET.SubElement(element, "Well", {"ID": f"Well:0:{number}"} | place)
        for field, image in enumerate(well.images):
            named = {"ID": f"WellSample:0:{number}:{field}", "Index": str(index)}
            sample = ET.SubElement(child, "WellSample", named)
            ET.SubElement(sample, "ImageRef", ID=f"Image:{image}")
            index += 1


def _add_image(root: ET.Element, number: int, image: ImageMetadata, page: int | None) -> int:
    """Add one image, whose first page is `page`; return how many pages it has."""
    element = ET.SubElement(root, "Image", ID=f"Image:{number}", Name=_text(image.name))
    if image.dtype in _NEAREST and page is None:
        text = f"The pixels are {image.dtype}, which OME-XML cannot say: the nearest type is stated"
        ET.SubElement(element, "Description").text = text
    pixels = ET.SubElement(element, "Pixels", _pixels(number, image, tiff=page is not None))
    _add_channels(pixels, number, image)
    planes = image.size("T") * image.size("Z") * (1 if has_samples(image) else image.size("C"))
    if page is None:
        ET.SubElement(pixels, "MetadataOnly")
    else:
        ET.SubElement(pixels, "TiffData", IFD=str(page), PlaneCount=str(planes))
    _add_stage(pixels, image)
    return planes


def _pixels(number: int, image: ImageMetadata, *, tiff: bool) -> dict[str, str]:
    """Return the attributes of Pixels."""
    types = PIXEL_TYPES if tiff else PIXEL_TYPES | _NEAREST
    attributes = {
        "ID": f"Pixels:{number}",
        "DimensionOrder": "XYZCT",
        "Type": types[image.dtype],
    }
    if tiff:
        attributes |= {"BigEndian": "false"}
        attributes |= {"Interleaved": "true"} if has_samples(image) else {}
    attributes |= {f"Size{axis}": str(image.size(axis)) for axis in "XYZCT"}
    sizes = {"X": image.x_um, "Y": image.y_um, "Z": image.z_um}
    for axis, size in sizes.items():
        if size is not None:
            attributes[f"PhysicalSize{axis}"] = repr(size)
            attributes[f"PhysicalSize{axis}Unit"] = "µm"
    if image.time_increment_s is not None:
        attributes["TimeIncrement"] = repr(image.time_increment_s)
        attributes["TimeIncrementUnit"] = "s"
    return attributes


def _add_channels(pixels: ET.Element, number: int, image: ImageMetadata) -> None:
    if has_samples(image):
        ET.SubElement(pixels, "Channel", ID=f"Channel:{number}:0", SamplesPerPixel="3")
        return
    described = image.channels or (Channel(),) * image.size("C")
    for index, channel in enumerate(described):
        attributes = {"ID": f"Channel:{number}:{index}", "SamplesPerPixel": "1"}
        if channel.name is not None:
            attributes["Name"] = _text(channel.name)
        if channel.color is not None:
            attributes["Color"] = str(_signed_rgba(channel.color))
        waves = {"Excitation": channel.excitation_nm, "Emission": channel.emission_nm}
        for kind, wave in waves.items():
            if wave is not None:
                attributes[f"{kind}Wavelength"] = repr(wave)
                attributes[f"{kind}WavelengthUnit"] = "nm"
        ET.SubElement(pixels, "Channel", attributes)


def _signed_rgba(color: str) -> int:
    """Return an opaque RRGGBB as OME's signed 32 bits of RGBA."""
    value = int(color, 16) << 8 | 0xFF
    return value - 2**32 if value >= 2**31 else value


def _add_stage(pixels: ET.Element, image: ImageMetadata) -> None:
    """State the place of the stage, where it is known, at the first plane."""
    places = {"X": image.stage_x_um, "Y": image.stage_y_um, "Z": image.stage_z_um}
    attributes = {"TheZ": "0", "TheT": "0", "TheC": "0"}
    for axis, place in places.items():
        if place is not None:
            attributes[f"Position{axis}"] = repr(place)
            attributes[f"Position{axis}Unit"] = "µm"
    if len(attributes) > len("ZTC"):
        ET.SubElement(pixels, "Plane", attributes)


def _add_originals(root: ET.Element, originals: Mapping[str, bytes]) -> None:
    """Enclose files as annotations, compressed by zlib and in base64, as the schema has it."""
    annotations = ET.SubElement(root, "StructuredAnnotations")
    for number, (name, content) in enumerate(sorted(originals.items())):
        places = {"ID": f"Annotation:{number}", "Namespace": _ORIGINALS}
        annotation = ET.SubElement(annotations, "FileAnnotation", places)
        told = {"FileName": _text(name), "Size": str(len(content))}
        file = ET.SubElement(annotation, "BinaryFile", told)
        encoded = base64.b64encode(zlib.compress(content, 6)).decode("ascii")
        about = {"BigEndian": "false", "Length": str(len(encoded)), "Compression": "zlib"}
        ET.SubElement(file, "BinData", about).text = encoded
