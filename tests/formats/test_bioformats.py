"""The reader of all other formats, on images that Bio-Formats makes up and on real ones."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bio_formats_agreement import assert_same_as_bio_formats
from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image, other_files
from parfocal.images.readers import bioformats
from parfocal.images.readers.bioformats.java import JAR_VARIABLE, check_installed
from parfocal.images.readers.bioformats.metadata import drop_forbidden, find_wells

SHARED = Path(__file__).parents[3] / "shared/data"
TRUNCATED = [0.99, 0.8, 0.5, 0.2, 0.02]
real = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")


def fake(folder: Path, *options: str, text: str = "") -> Path:
    """Return a file from whose name Bio-Formats makes up an image."""
    path = folder / ("&".join(["made", *options]) + ".fake")
    path.write_text(text or "\n")
    return path


def read(path: Path, series: str = "", **options: str) -> np.ndarray:
    with open_image(path, series, **options) as image:
        return image.read(whole(image.shape5))


def nrrd(path: Path, pixels: np.ndarray) -> Path:
    """Write (Z, Y, X) uint16 in a format that only Bio-Formats reads."""
    z, y, x = pixels.shape
    path.write_bytes(
        b"NRRD0004\ntype: uint16\ndimension: 3\n"
        + f"sizes: {x} {y} {z}\nspacings: 0.5 0.25 2\n".encode()
        + b"encoding: raw\nendian: little\n\n"
        + pixels.astype("<u2").tobytes()
    )
    return path


@pytest.fixture
def stack() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**16, (5, 40, 50)).astype(np.uint16)


def test_a_format_of_its_own(tmp_path: Path, stack: np.ndarray) -> None:
    path = nrrd(tmp_path / "a.nrrd", stack)
    assert [entry.series for entry in list_images(path)] == ["0"]
    assert other_files(path) == []
    with open_image(path) as image:
        assert image.reader.startswith("Bio-Formats ")
        assert image.metadata.axes == "ZYX"
        assert image.dtype == np.uint16
        assert image.warnings == ()
        assert b"<Pixels " in image.original_metadata["METADATA.ome.xml"]
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0], stack)
        part = (slice(0, 1), slice(0, 1), slice(1, 4), slice(7, 31), slice(5, 44))
        np.testing.assert_array_equal(image.read(part)[0, 0], stack[1:4, 7:31, 5:44])


@pytest.mark.parametrize("order", ["XYCZT", "XYZTC", "XYTCZ"])
@pytest.mark.parametrize(
    "kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float", "double"]
)
@pytest.mark.parametrize("little", ["true", "false"])
def test_each_type_and_order_of_axes(tmp_path: Path, kind: str, order: str, little: str) -> None:
    path = fake(
        tmp_path,
        *("sizeX=32", "sizeY=24", "sizeZ=2", "sizeC=3", "sizeT=4"),
        *(f"dimOrder={order}", f"pixelType={kind}", f"little={little}"),
    )
    names = {"float": "float32", "double": "float64"}
    with open_image(path) as image:
        assert image.shape5 == (4, 3, 2, 24, 32)
        assert image.dtype == np.dtype(names.get(kind, kind))
        pixels = image.read(whole(image.shape5))
        assert pixels.dtype.isnative
    z = pixels[:, :, :, 5, 25]
    np.testing.assert_array_equal(z, np.broadcast_to(np.arange(2), (4, 3, 2)))


def test_where_planes_are(tmp_path: Path) -> None:
    sizes = ("sizeX=60", "sizeY=10", "sizeZ=2", "sizeC=3", "sizeT=4", "dimOrder=XYTZC")
    pixels = read(fake(tmp_path, *sizes))
    boxes = pixels[:, :, :, 5, 5:55:10]
    assert boxes.shape == (4, 3, 2, 5)
    for t, c, z in np.ndindex(4, 3, 2):
        assert boxes[t, c, z].tolist() == [0, t + 4 * (z + 2 * c), z, c, t]


@pytest.mark.parametrize("interleaved", ["true", "false"])
def test_samples_of_pixels(tmp_path: Path, interleaved: str) -> None:
    options = ("sizeX=60", "sizeY=10", "sizeC=6", "rgb=3", "sizeZ=2", f"interleaved={interleaved}")
    path = fake(tmp_path, *options)
    with open_image(path) as image:
        assert image.shape5 == (1, 6, 2, 10, 60)
        assert image.block5[1] == 3
        assert not image.metadata.rgb
        names = image.metadata.channel_names()
        pixels = image.read(whole(image.shape5))
        part = (slice(0, 1), slice(2, 5), slice(1, 2), slice(3, 9), slice(11, 57))
        np.testing.assert_array_equal(image.read(part), pixels[part])
    assert names[:2] == ["channel_0 Red", "channel_0 Green"]
    assert pixels[0, :, 1, 5, 15].tolist() == [2, 2, 2, 3, 3, 3]


def test_red_green_blue(tmp_path: Path) -> None:
    with open_image(fake(tmp_path, "sizeX=60", "sizeY=10", "sizeC=3", "rgb=3")) as image:
        assert image.metadata.rgb
        assert [one.color for one in image.metadata.channels] == ["FF0000", "00FF00", "0000FF"]


def test_bits_and_palettes_are_told(tmp_path: Path) -> None:
    with open_image(fake(tmp_path, "sizeX=20", "sizeY=20", "pixelType=bit")) as image:
        assert "1 bit" in image.warnings[0]
        assert set(np.unique(image.read(whole(image.shape5)))) <= {0, 1}
    with open_image(fake(tmp_path, "sizeX=20", "sizeY=20", "indexed=true")) as image:
        assert "palette" in image.warnings[0]


def test_each_series_is_an_image(tmp_path: Path) -> None:
    path = fake(tmp_path, "series=3", "sizeX=60", "sizeY=10")
    assert [entry.series for entry in list_images(path)] == ["0", "1", "2"]
    assert [read(path, series)[0, 0, 0, 5, 5] for series in "012"] == [0, 1, 2]
    with pytest.raises(InputError, match="several"):
        open_image(path)
    with pytest.raises(InputError, match="no such"):
        open_image(path, "3")


def test_levels_of_a_pyramid_are_no_images(tmp_path: Path) -> None:
    path = fake(tmp_path, "sizeX=256", "sizeY=128", "resolutions=3", "resolutionScale=2")
    (entry,) = list_images(path)
    assert entry.metadata.shape5[3:] == (128, 256)


def test_wells_and_fields(tmp_path: Path) -> None:
    path = fake(
        tmp_path, "plates=1", "plateRows=2", "plateCols=2", "fields=2", "sizeX=20", "sizeY=20"
    )
    entries = list_images(path)
    assert [(one.well, one.field) for one in entries] == [
        (well, field) for well in ("A01", "A02", "B01", "B02") for field in "12"
    ]
    assert {one.plate for one in entries} == {"Plate Name 0"}


def test_rows_of_wells_beyond_z() -> None:
    wells = "".join(
        f'<Well Row="{row}" Column="11"><WellSample><ImageRef ID="I:{row}"/></WellSample></Well>'
        for row in (0, 25, 26, 31)
    )
    images = "".join(f'<Image ID="I:{row}"/>' for row in (0, 25, 26, 31))
    found = find_wells(f'<OME xmlns="x"><Plate ID="P:0">{wells}</Plate>{images}</OME>')
    assert [found[n] for n in range(4)] == [
        ("P:0", well, "1") for well in ("A12", "Z12", "AA12", "AF12")
    ]


def test_sizes_and_channels(tmp_path: Path) -> None:
    sizes = ("physicalSizeX=500nm", "physicalSizeY=0.25", "physicalSizeZ=2mm")
    path = fake(tmp_path, "sizeX=20", "sizeY=20", "sizeZ=2", "sizeC=2", *sizes, "color=0xff8000ff")
    ini = path.with_name(path.name + ".ini")
    ini.write_text("[series_0]\nChannelName_0=DAPI\nChannelName_1=GFP\nPositionX_0=5 mm\n")
    with open_image(path) as image:
        metadata = image.metadata
    assert (metadata.x_um, metadata.y_um, metadata.z_um) == pytest.approx((0.5, 0.25, 2000))
    assert metadata.channel_names() == ["DAPI", "GFP"]
    assert [one.color for one in metadata.channels] == ["FF8000"] * 2
    assert other_files(path) == [ini]


def test_other_axes_are_refused_or_told(tmp_path: Path) -> None:
    sizes = ("sizeX=20", "sizeY=20")
    with open_image(fake(tmp_path, *sizes, "sizeC=6", "lambda=3")) as image:
        assert image.shape5[1] % 3 == 0


def test_the_same_bytes_always(tmp_path: Path) -> None:
    path = fake(tmp_path, "sizeX=20", "sizeY=20", "sizeC=2", "annMap=2", "withMicrobeam=true")
    with open_image(path) as one, open_image(path) as two:
        assert one.original_metadata == two.original_metadata
        assert one.metadata == two.metadata


def test_many_threads(tmp_path: Path, stack: np.ndarray) -> None:
    path = nrrd(tmp_path / "a.nrrd", stack)
    with open_image(path) as image, ThreadPoolExecutor(4) as pool:
        regions = [
            (slice(0, 1), slice(0, 1), slice(z, z + 1), slice(0, 40), slice(0, 50))
            for z in range(5)
        ] * 8
        for region, pixels in zip(regions, pool.map(image.read, regions), strict=True):
            np.testing.assert_array_equal(pixels[0, 0, 0], stack[region[2]][0])


def test_bands_of_a_large_plane(tmp_path: Path, stack: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr(bioformats, "_BAND_BYTES", 50 * 2 * 7)
    np.testing.assert_array_equal(read(nrrd(tmp_path / "a.nrrd", stack))[0, 0], stack)


@pytest.mark.parametrize("share", TRUNCATED)
def test_a_truncated_file_is_refused(tmp_path: Path, stack: np.ndarray, share: float) -> None:
    path = nrrd(tmp_path / "a.nrrd", stack)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(path) in str(caught.value.where)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_zeros_at_the_end_of_a_plane_are_pixels(tmp_path: Path, stack: np.ndarray) -> None:
    stack[:, -3:] = 0
    np.testing.assert_array_equal(read(nrrd(tmp_path / "a.nrrd", stack))[0, 0], stack)


def test_what_java_throws_is_told_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    path.write_bytes(b"ZISRAWFILE" + bytes(range(256)) * 10)
    with pytest.raises(InputError) as caught:
        open_image(path, reader="bioformats")
    assert "Exception" in str(caught.value.found)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.vsi", "a.zvi", "notes.md", "a.dm3", "a.sld", "a"])
def test_text_is_no_image(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("these are no pixels\n" * 20)
    with pytest.raises(InputError) as caught:
        open_image(path)
    assert caught.value.remedy


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an OME-Zarr"):
        open_image(tmp_path, reader="bioformats")


def test_characters_that_no_xml_may_hold() -> None:
    assert drop_forbidden("a&#0;b&#x1F;c&#10;d\x00e&#xD800;&#9999999;µ&amp;") == "abc&#10;deµ&amp;"


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


OPEN = "from parfocal.images import open_image; open_image({path!r}, reader='bioformats').close()"


def test_java_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((9, 9), np.uint8))
    before = sorted(tmp_path.iterdir())
    done = run(OPEN.format(path=str(path)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(tmp_path.iterdir()) == before


def test_a_forked_worker_starts_its_own_java(tmp_path: Path) -> None:
    path = fake(tmp_path, "sizeX=20", "sizeY=20")
    lines = (
        "import os, parfocal.images",
        "child = os.fork()",
        f"if child == 0:\n    {OPEN.format(path=str(path))}\n    os._exit(7)",
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
    )
    assert run("\n".join(lines)).stdout == "7\n"


def test_a_worker_forked_too_late_is_told(tmp_path: Path) -> None:
    opened = OPEN.format(path=str(fake(tmp_path, "sizeX=20", "sizeY=20")))
    # By another process id: what is forked while Java's threads hold locks may hang on them.
    lines = (opened, "import os", "os.getpid = os.getppid", opened)
    assert "survive a fork" in run("\n".join(lines)).stderr


def test_the_network_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.pattern"
    with socket.create_server(("127.0.0.1", 0)) as server:
        path.write_text(f"http://127.0.0.1:{server.getsockname()[1]}/a.tif\n")
        assert "ConnectException" in run(OPEN.format(path=str(path))).stderr
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_control_c_stays_with_python(tmp_path: Path) -> None:
    lines = (
        "import os, signal, time",
        "signal.signal(signal.SIGINT, signal.default_int_handler)",  # none in the background
        OPEN.format(path=str(fake(tmp_path, "sizeX=20", "sizeY=20"))),
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)",
        "except KeyboardInterrupt:\n    print('caught')",
    )
    assert run("\n".join(lines)).stdout == "caught\n"


def test_a_jar_of_the_users_own(tmp_path: Path, monkeypatch) -> None:
    jar, _ = check_installed(tmp_path)
    own = tmp_path / "own.jar"
    own.symlink_to(jar)
    monkeypatch.setenv(JAR_VARIABLE, str(own))
    assert check_installed(tmp_path)[0] == own
    monkeypatch.setenv(JAR_VARIABLE, str(tmp_path / "none.jar"))
    with pytest.raises(InputError, match="does not exist"):
        check_installed(tmp_path)


def test_a_broken_jar(tmp_path: Path) -> None:
    path = fake(tmp_path, "sizeX=20", "sizeY=20")
    jar = tmp_path / "broken.jar"
    jar.write_bytes(b"no jar")
    done = run(OPEN.format(path=str(path)), **{JAR_VARIABLE: str(jar)})
    assert "InputError: Java does not start Bio-Formats" in done.stderr


def test_agrees_with_our_reader_of_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tiff"
    pixels = np.arange(2 * 3 * 4 * 20 * 30, dtype="uint16").reshape(2, 3, 4, 20, 30)
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": 2.0}
    channels = {"Channel": {"Name": ["one", "two", "three"]}}
    tifffile.imwrite(path, pixels, metadata={"axes": "TCZYX", **sizes, **channels})
    assert_same_as_bio_formats(path)
    np.testing.assert_array_equal(read(path, reader="bioformats"), pixels)


def test_the_comparison_finds_differences(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 9, 9), np.uint8), photometric="minisblack")
    with pytest.raises(AssertionError, match=r"differ in a\.tif"):
        assert_same_as_bio_formats(path)
    with pytest.raises(AssertionError, match=r"do not differ: \{'pixels'\}"):
        assert_same_as_bio_formats(path, explained={"shape", "x_um", "y_um", "pixels"})


@real
@pytest.mark.parametrize("name", ["toxo.dv", "4D-series.ome.tiff", "written.czi"])
def test_agrees_on_real_files(name: str) -> None:
    assert_same_as_bio_formats(SHARED / name)
