"""Write small plates as the programs of microscopes export them, with telling pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import tifffile

__all__ = ["pixels_of", "write_cellvoyager", "write_harmony", "write_imagexpress"]

HEIGHT, WIDTH = 6, 8
WELLS = ((2, 2), (2, 3))
FIELDS = (1, 2)


def pixels_of(row: int, column: int, field: int, t: int, c: int, z: int) -> np.ndarray:
    """Return the plane of a field: which one it is can be told from any pixel. All from 1."""
    number = ((((row * 2 + column) * 2 + field) * 3 + t) * 4 + c) * 5 + z
    return (np.arange(HEIGHT * WIDTH, dtype=np.uint16) + 50 * number).reshape(HEIGHT, WIDTH)


def name_of(row: int, column: int) -> str:
    """Return the name of a well, such as B02."""
    return f"{chr(64 + row)}{column:02}"


def save(path: Path, pixels: np.ndarray, description: str | None = None) -> None:
    """Write a TIFF of one page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, metadata=None, description=description)


def metamorph_notes(z: float, wavelength: int) -> str:
    """Return the notes that MetaXpress keeps in a TIFF."""
    props = {
        "spatial-calibration-state": "on",
        "spatial-calibration-x": "0.5",
        "spatial-calibration-y": "0.25",
        "spatial-calibration-units": "um",
        "stage-position-x": "1000.5",
        "stage-position-y": "-2000",
        "z-position": f"{z}",
        "wavelength": f"{wavelength}",
    }
    lines = "".join(f'<prop id="{k}" type="string" value="{v}"/>\n' for k, v in props.items())
    return f"<MetaData>\n<PlaneInfo>\n{lines}</PlaneInfo>\n</MetaData>"


def write_imagexpress(
    folder: Path,
    *,
    times: int = 1,
    waves: int = 2,
    steps: int = 1,
    steps_text: str | None = None,
    projection: bool = False,
    fields: int = len(FIELDS),
    pixels: Callable[..., np.ndarray] = pixels_of,
) -> Path:
    """Write a plate of ImageXpress; return its HTD file."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = 3, 4
    lines = ['"HTSInfoFile", Version 1.0', '"Description", "a, b"', f'"TimePoints", {times}']
    planned = steps_text or (steps if steps > 1 else 0)
    lines += [f'"ZSeries", {str(steps > 1).upper()}', f'"ZSteps", {planned}']
    lines += [f'"XWells", {columns}', f'"YWells", {rows}']
    for row in range(1, rows + 1):
        taken = ", ".join(str((row, column) in WELLS).upper() for column in range(1, columns + 1))
        lines.append(f'"WellsSelection{row}", {taken}')
    lines += [f'"Sites", {str(fields > 1).upper()}', f'"XSites", {fields}', '"YSites", 1']
    lines.append('"SiteSelection1", ' + ", ".join(["TRUE"] * fields))
    lines += [f'"Waves", {str(waves > 1).upper()}', f'"NWavelengths", {waves}']
    lines += [f'"WaveName{wave}", "Dye {wave}"' for wave in range(1, waves + 1)]
    htd = folder / "plate.HTD"
    htd.write_bytes("\r\n".join([*lines, '"EndFile"', ""]).encode())
    shown = range(0 if projection else 1, steps + 1)
    for (row, column), field, t, c, z in product(
        WELLS, range(1, fields + 1), range(1, times + 1), range(1, waves + 1), shown
    ):
        inner = folder / f"TimePoint_{t}"
        inner = inner / f"ZStep_{z}" if steps > 1 else inner
        name = f"plate_{name_of(row, column)}" + f"_s{field}" * (fields > 1)
        name += f"_w{c}" * (waves > 1) + ".TIF"
        notes = metamorph_notes(10 + 2.5 * z, 400 + 100 * c)
        save(inner / name, pixels(row, column, field, t, c, z), notes)
    return htd


def write_harmony(folder: Path, *, times: int = 1, channels: int = 2, planes: int = 2) -> Path:
    """Write a plate of Operetta, as Harmony 4 exports it; return its index."""
    images, wells = [], []
    for row, column in WELLS:
        wells.append(f'<Well id="{row:02}{column:02}"/>')
        for field, t, c, z in product(
            FIELDS, range(times), range(1, channels + 1), range(1, planes + 1)
        ):
            name = f"r{row:02}c{column:02}f{field:02}p{z:02}-ch{c}sk{t + 1}fk1fl1.tiff"
            save(folder / name, pixels_of(row, column, field, t + 1, c, z))
            images.append(_harmony_image(name, (row, column, field), (t, c, z)))
    namespace = "http://www.perkinelmer.com/PEHH/HarmonyV5"
    index = folder / "Index.idx.xml"
    index.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<EvaluationInputData xmlns="{namespace}" '
        'Version="1"><User>me</User><InstrumentType>Phenix</InstrumentType><Plates><Plate>'
        "<PlateID>P1</PlateID><MeasurementID>M1</MeasurementID>"
        "<MeasurementStartTime>2024-01-02T03:04:05.6789012+01:00</MeasurementStartTime>"
        "<Name>Plate one</Name><PlateTypeName>96 X</PlateTypeName>"
        f"<PlateRows>8</PlateRows><PlateColumns>12</PlateColumns>{''.join(wells)}</Plate></Plates>"
        f"<Wells/><Maps/><Images>\n{''.join(images)}</Images></EvaluationInputData>\n"
    )
    return index


def _harmony_image(name: str, place: tuple[int, int, int], plane: tuple[int, int, int]) -> str:
    row, column, field = place
    t, c, z = plane
    return (
        f'<Image Version="1"><id>{row:02}{column:02}K{t + 1}F{field}P{z}R{c}</id><State>Ok</State>'
        f"<URL>{escape(name)}</URL><Row>{row}</Row><Col>{column}</Col><FieldID>{field}</FieldID>"
        f"<PlaneID>{z}</PlaneID><TimepointID>{t}</TimepointID><SequenceID>1</SequenceID>"
        f"<GroupID>1</GroupID><ChannelID>{c}</ChannelID><FlimID>1</FlimID>"
        f"<ChannelName>Dye {c}</ChannelName><ImageType>Signal</ImageType>"
        "<AcquisitionType>Confocal</AcquisitionType><ChannelType>Fluorescence</ChannelType>"
        '<ImageResolutionX Unit="m">2.5E-07</ImageResolutionX>'
        '<ImageResolutionY Unit="m">2.5E-07</ImageResolutionY>'
        f"<ImageSizeX>{WIDTH}</ImageSizeX><ImageSizeY>{HEIGHT}</ImageSizeY>"
        "<BinningX>2</BinningX><BinningY>2</BinningY><MaxIntensity>65536</MaxIntensity>"
        f'<PositionX Unit="m">{field * 1e-4}</PositionX><PositionY Unit="m">-2E-05</PositionY>'
        f'<PositionZ Unit="m">{z * 1.5e-6}</PositionZ>'
        f'<AbsPositionZ Unit="m">{0.1 + z * 1.5e-6}</AbsPositionZ>'
        f'<MeasurementTimeOffset Unit="s">{t * 60}</MeasurementTimeOffset>'
        "<AbsTime>2024-01-02T03:04:05.678+01:00</AbsTime>"
        f'<MainExcitationWavelength Unit="nm">{300 + 100 * c}</MainExcitationWavelength>'
        f'<MainEmissionWavelength Unit="nm">{350 + 100 * c}</MainEmissionWavelength>'
        "<ObjectiveMagnification>20</ObjectiveMagnification><ObjectiveNA>0.8</ObjectiveNA>"
        '<ExposureTime Unit="s">0.1</ExposureTime></Image>\n'
    )


_BTS = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0" bts:Version="1.0"'


def write_cellvoyager(folder: Path, *, times: int = 1, channels: int = 2, planes: int = 2) -> Path:
    """Write a plate of CellVoyager; return its index of measurements."""
    records = []
    for (row, column), field, t, c, z in product(
        WELLS, FIELDS, range(1, times + 1), range(1, channels + 1), range(1, planes + 1)
    ):
        name = f"P_{name_of(row, column)}_T{t:04}F{field:03}L01A{c:02}Z{z:02}C{c:02}.tif"
        save(folder / name, pixels_of(row, column, field, t, c, z))
        records.append(
            f'<bts:MeasurementRecord bts:Time="2024-01-02T03:{t:02}:00.000+01:00" '
            f'bts:Column="{column}" bts:Row="{row}" bts:FieldIndex="{field}" bts:TimePoint="{t}" '
            f'bts:TimelineIndex="1" bts:ActionIndex="{c}" bts:X="{field * 100}" bts:Y="-50" '
            f'bts:Z="{z * 3}" bts:ZIndex="{z}" bts:Ch="{c}" bts:Action="3D" bts:Type="IMG">{name}'
            "</bts:MeasurementRecord>"
        )
    _bts(folder / "MeasurementData.mlf", "MeasurementData", "", records)
    _bts(
        folder / "MeasurementDetail.mrf",
        "MeasurementDetail",
        'bts:Title="T" bts:BeginTime="2024-01-02T03:00:00.000+01:00" '
        'bts:EndTime="2024-01-02T04:00:00.000+01:00" bts:MeasurementSettingFileName="s.mes" '
        f'bts:RowCount="8" bts:ColumnCount="12" bts:TimePointCount="{times}" '
        f'bts:FieldCount="{len(FIELDS)}" bts:ZCount="{planes}" bts:TargetSystem="CV7000"',
        (
            f'<bts:MeasurementChannel bts:Ch="{c}" bts:HorizontalPixelDimension="0.325" '
            'bts:VerticalPixelDimension="0.325" bts:CameraNumber="1" bts:InputBitDepth="16" '
            f'bts:InputLevel="65535" bts:HorizontalPixels="{WIDTH}" bts:VerticalPixels="{HEIGHT}" '
            'bts:FilterWheelPosition="1" bts:FilterPosition="1" bts:ShadingCorrectionSource=""/>'
            for c in range(1, channels + 1)
        ),
    )
    lights = "".join(
        f'<bts:LightSource bts:Name="{400 + c}nm" bts:Type="Laser" bts:WaveLength="{400 + c}" '
        'bts:Power="10"/>'
        for c in range(1, channels + 1)
    )
    described = "".join(
        f'<bts:Channel bts:Ch="{c}" bts:Target="Dye {c}" bts:Objective="20x" '
        f'bts:Magnification="20" bts:MethodID="1" bts:FilterID="1" bts:Acquisition="BP{c}" '
        f'bts:ExposureTime="100" bts:Binning="1" bts:Color="#FF00FF{c:02}" bts:MinLevel="0" '
        f'bts:MaxLevel="100"><bts:LightSourceName>{400 + c}nm</bts:LightSourceName></bts:Channel>'
        for c in range(1, channels + 1)
    )
    actions = "".join(
        f'<bts:ActionAcquire3D bts:XOffset="0" bts:YOffset="0"><bts:Ch>{c}</bts:Ch>'
        "</bts:ActionAcquire3D>"
        for c in range(1, channels + 1)
    )
    lists = [
        f'<bts:Timeline bts:Name="T"><bts:ActionList>{actions}</bts:ActionList></bts:Timeline>',
        f"<bts:LightSourceList>{lights}</bts:LightSourceList>",
        f"<bts:ChannelList>{described}</bts:ChannelList>",
    ]
    _bts(folder / "s.mes", "MeasurementSetting", "", lists)
    plate = 'bts:Name="Plate one" bts:ProductID="X" bts:Columns="12" bts:Rows="8"'
    _bts(folder / "P.wpi", "WellPlate", plate, [])
    return folder / "MeasurementData.mlf"


def _bts(path: Path, root: str, attributes: str, inner: Iterable[str]) -> None:
    text = "\n".join(inner)
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<bts:{root} {_BTS} {attributes}>'
        f"\n{text}\n</bts:{root}>\n",
        encoding="utf-8",
    )
