"""Whole slides through OpenSlide: those that the test writes, and one from a scanner."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image, other_files

SHARED = Path(__file__).parents[3] / "shared/data"
PIXELS = np.random.default_rng(3).integers(0, 255, (300, 400, 3)).astype(np.uint8)


def write_tiled(path, data=PIXELS, **options):
    options = {"photometric": "rgb", "metadata": None, "tile": (64, 64)} | options
    tifffile.imwrite(path, data, **options)
    return path


def write_aperio(path):
    """Write a scan, a thumbnail, a label and a macro picture."""
    text = "Aperio Image Library v11.2.1 \r\n400x300 (64x64)|AppMag = 20|MPP = 0.4990"
    options = {"photometric": "rgb", "metadata": None, "compression": "zlib"}
    with tifffile.TiffWriter(path) as writer:
        writer.write(PIXELS, tile=(64, 64), description=text, **options)
        writer.write(PIXELS[::4, ::4], description=text, **options)
        for kind, name in ((1, "label"), (9, "macro")):
            picture = PIXELS[:40, :50]
            described = f"{text} \r\n{name} 50x40"
            writer.write(picture, subfiletype=kind, description=described, **options)
    return path


def write_vms(folder):
    """Write a Hamamatsu slide of two JPEGs side by side, and its map."""
    from PIL import Image

    halves = [PIXELS[:288, :192], PIXELS[:288, 192:384]]
    names = ["a_0_0.jpg", "a_1_0.jpg"]
    for name, half in zip(names, halves, strict=True):
        Image.fromarray(half).save(
            folder / name, quality=95, subsampling=0, restart_marker_blocks=8
        )
    Image.fromarray(PIXELS[:288:4, :384:4].copy()).save(
        folder / "a_map.jpg", subsampling=0, restart_marker_blocks=12
    )
    Image.fromarray(PIXELS[:50, :50].copy()).save(folder / "a_macro.jpg")
    lines = [
        "[Virtual Microscope Specimen]",
        "NoLayers=1",
        "NoJpegColumns=2",
        "NoJpegRows=1",
        "ImageFile=a_0_0.jpg",
        "ImageFile(1,0)=a_1_0.jpg",
        "MapFile=a_map.jpg",
        "MacroImage=a_macro.jpg",
        "PhysicalWidth=192000",
        "PhysicalHeight=144000",
        "SourceLens=20",
    ]
    path = folder / "a.vms"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_tiled_tiff_has_the_pixels_that_the_tiff_reader_reads(tmp_path):
    path = write_tiled(tmp_path / "a.tif")
    with open_image(path, reader="openslide") as slide, open_image(path) as image:
        assert slide.metadata.shape == image.metadata.shape == (3, 300, 400)
        assert slide.metadata.rgb
        assert slide.metadata.channel_names() == ["Red", "Green", "Blue"]
        np.testing.assert_array_equal(
            slide.read(whole(slide.shape5)), image.read(whole(image.shape5))
        )
        part = (slice(0, 1), slice(1, 2), slice(0, 1), slice(50, 131), slice(60, 200))
        np.testing.assert_array_equal(slide.read(part)[0, 0, 0], PIXELS[50:131, 60:200, 1])
        assert slide.warnings == ()
        assert slide.reader.startswith("OpenSlide 4")


def test_an_aperio_slide_has_its_pixel_size_and_its_pictures_left_out(tmp_path):
    path = write_aperio(tmp_path / "a.svs")
    (entry,) = list_images(path, reader="openslide")
    assert entry.aside == ("label", "macro", "thumbnail")
    with open_image(path, reader="openslide") as slide, open_image(path) as image:
        assert (slide.metadata.y_um, slide.metadata.x_um) == (0.499, 0.499)
        np.testing.assert_array_equal(
            slide.read(whole(slide.shape5)), image.read(whole(image.shape5))
        )
        assert slide.warnings == (
            "a.svs holds pictures of the slide, left out: label, macro, thumbnail",
        )
        properties = json.loads(slide.original_metadata["openslide.json"])
        assert properties["aperio.AppMag"] == "20"


def test_a_slide_of_several_files(tmp_path):
    path = write_vms(tmp_path)
    names = ["a_0_0.jpg", "a_1_0.jpg", "a_macro.jpg", "a_map.jpg"]
    assert other_files(path) == [tmp_path / name for name in names]
    with open_image(path) as slide:
        assert slide.metadata.shape == (3, 288, 384)
        assert (slide.metadata.y_um, slide.metadata.x_um) == (0.5, 0.5)
        from PIL import Image

        pixels = slide.read(whole(slide.shape5))[0, :, 0]
        right = np.moveaxis(np.asarray(Image.open(tmp_path / "a_1_0.jpg")), -1, 0)
        np.testing.assert_array_equal(pixels[:, :, 192:], right)
    (tmp_path / "a_1_0.jpg").unlink()
    with pytest.raises(InputError, match="OpenSlide cannot read"):
        open_image(path)


def test_all_files_of_a_mirax_folder_belong_to_it(tmp_path):
    path = tmp_path / "a.mrxs"
    path.write_bytes(b"\xff\xd8\xff")
    folder = tmp_path / "a"
    folder.mkdir()
    for name in ("Slidedat.ini", "Index.dat", "Data0000.dat"):
        (folder / name).write_bytes(b"x")
    from parfocal.images.readers import openslide
    from parfocal.images.readers.source import other_files

    assert [file.name for file in other_files(openslide, path)] == [
        "Data0000.dat",
        "Index.dat",
        "Slidedat.ini",
    ]
    with pytest.raises(InputError, match="OpenSlide cannot read"):
        open_image(path, reader="openslide")


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(PIXELS.astype(np.uint16) * 256, id="16 bits"),
        pytest.param(PIXELS[..., 0].copy(), id="gray"),
        pytest.param(np.stack([PIXELS, PIXELS]), id="focal planes"),
    ],
)
def test_what_openslide_would_change_or_leave_out_is_refused(tmp_path, pixels):
    options = {} if pixels.shape[-1] == 3 else {"photometric": "minisblack"}
    path = write_tiled(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(InputError) as caught:
        open_image(path, reader="openslide")
    assert "OpenSlide" in str(caught.value)


def test_focal_planes_of_hamamatsu_and_mirax_are_refused(tmp_path):
    from parfocal.images.readers.openslide.checks import check_whole

    levels = {
        "openslide.vendor": "mirax",
        "mirax.HIERARCHICAL.HIER_2_NAME": "Microscope focus level",
        "mirax.HIERARCHICAL.HIER_2_COUNT": "1",
    }
    check_whole(tmp_path / "a.mrxs", levels)
    with pytest.raises(InputError, match="focal planes"):
        check_whole(tmp_path / "a.mrxs", levels | {"mirax.HIERARCHICAL.HIER_2_COUNT": "7"})
    with pytest.raises(InputError, match="focal planes"):
        check_whole(tmp_path / "a.bif", {"openslide.vendor": "ventana", "ventana.Z-layers": "3"})


def test_unscanned_parts_have_the_background_and_partly_covered_ones_are_mixed():
    from parfocal.images.readers.openslide import _opaque

    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    background = np.array([255, 0, 100], np.uint8)
    expected = [[[10, 20, 30], [255, 0, 100], [204, 20, 120]]]
    np.testing.assert_array_equal(_opaque(pixels, background), expected)


def test_regions_are_read_from_several_threads(tmp_path):
    path = write_tiled(tmp_path / "a.tif", np.tile(PIXELS, (4, 4, 1)))
    found = {}
    with open_image(path, reader="openslide") as slide:

        def read(number):
            rows = slice(number * 300, number * 300 + 300)
            region = (slice(0, 1), slice(0, 3), slice(0, 1), rows, slice(0, 400))
            found[number] = slide.read(region)[0, :, 0]

        threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(4):
        np.testing.assert_array_equal(np.moveaxis(found[number], 0, -1), PIXELS)


def test_damage_is_an_error_or_changes_nothing(tmp_path):
    path = write_tiled(tmp_path / "a.svs", compression="zlib", description="Aperio x |MPP = 1")
    content = path.read_bytes()
    refused = 0
    for size in range(0, len(content), len(content) // 12):
        path.write_bytes(content[:size])
        try:
            with open_image(path, reader="openslide") as slide:
                pixels = slide.read(whole(slide.shape5))[0, :, 0]
        except InputError:
            refused += 1
        else:
            np.testing.assert_array_equal(np.moveaxis(pixels, 0, -1), PIXELS)
    assert refused > 5


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data are not here")
def test_a_real_slide_is_read_alike_by_both_readers():
    path = SHARED / "CMU-1-Small-Region.svs"
    with open_image(path, reader="openslide") as slide, open_image(path) as image:
        assert slide.metadata.shape == image.metadata.shape
        assert slide.metadata.x_um == image.metadata.x_um == 0.499
        np.testing.assert_array_equal(
            slide.read(whole(slide.shape5)), image.read(whole(image.shape5))
        )
