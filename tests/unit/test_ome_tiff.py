"""OME-TIFFs of ours, read by tifffile and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from ome_schema import check_ome_xml
from parfocal.core.ordered import in_order
from parfocal.errors import InputError, StorageError
from parfocal.images import open_image
from parfocal.images.pyramid import halve, halve_labels
from parfocal.images.writers import ome_tiff, tiff_plan
from parfocal.images.writers.ome_tiff import check_ome_tiff, write_ome_tiff
from parfocal.images.writers.tiff_plan import plan_block, plan_grids
from parfocal.models.image import Channel, ImageMetadata
from parfocal.models.tiff_options import TiffOptions

TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
SMALL = TiffOptions(tile_px=16)


class Array:
    """An array (T, C, Z, Y, X) that is read by regions."""

    def __init__(self, pixels):
        self.pixels, self.shape5, self.dtype = pixels, pixels.shape, pixels.dtype

    def read(self, region):
        return self.pixels[region].copy()


def noise(shape, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.normal(0, 1e3, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def source(pixels, **known):
    metadata = {"name": "a", "axes": "TCZYX", "shape": pixels.shape, "dtype": pixels.dtype.name}
    return ImageMetadata(**(metadata | known)), Array(pixels)


def write(path, pixels, options=SMALL, *, known=None, **more):
    write_ome_tiff(path, [source(pixels, **(known or {}))], options, **more)
    return path


def levels_of(path, number=0):
    """Read all levels of an image as arrays (T, C, Z, Y, X)."""
    found = []
    with tifffile.TiffFile(path) as tiff:
        for level in tiff.series[number].levels:
            assert level.get_axes(squeeze=False) == "TCZYXS"
            pixels = np.moveaxis(level.asarray(squeeze=False), -1, 2)
            t, c, s, *rest = pixels.shape
            found.append(pixels.reshape(t, c * s, *rest))
    return found


def assert_pyramid(levels, pixels, shrink=halve):
    for level in levels:
        np.testing.assert_array_equal(level, pixels)
        pixels = shrink(pixels)
    assert max(levels[-1].shape[3:]) <= 16
    assert len(levels) == 1 or max(levels[-2].shape[3:]) > 16


@pytest.mark.parametrize("codec", ["deflate", "zstd", "none"])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_and_codec_keeps_all_pixels_of_all_levels(tmp_path, dtype, codec):
    pixels = noise((2, 2, 3, 70, 133), dtype)
    path = write(tmp_path / "a.ome.tiff", pixels, TiffOptions(codec=codec, tile_px=16))
    assert_pyramid(levels_of(path), pixels)


@given(
    shape=st.tuples(*[st.integers(1, 3)] * 3, st.integers(1, 90), st.integers(1, 90)),
    tile=st.sampled_from([16, 32, 48]),
    rgb=st.booleans(),
    threads=st.integers(1, 3),
)
@settings(max_examples=40)
def test_any_shape(tmp_path_factory, shape, tile, rgb, threads):
    shape = (shape[0], 3, *shape[2:]) if rgb else shape
    pixels = noise(shape)
    path = tmp_path_factory.mktemp("any") / "a.ome.tiff"
    write(path, pixels, TiffOptions(tile_px=tile), known={"rgb": rgb}, threads=threads)
    with open_image(path) as image:
        assert image.shape5 == shape
        assert image.metadata.rgb is rgb
        np.testing.assert_array_equal(image.read(tuple(slice(0, s) for s in shape)), pixels)


def test_red_green_and_blue_share_a_page(tmp_path):
    pixels = noise((2, 3, 2, 40, 50), "uint8")
    path = write(tmp_path / "a.ome.tiff", pixels, known={"rgb": True})
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 4
        page = tiff.pages[0]
        assert (page.samplesperpixel, page.photometric.name, page.planarconfig) == (3, "RGB", 1)
    assert_pyramid(levels_of(path), pixels)
    with Picture.open(path) as picture:
        np.testing.assert_array_equal(np.moveaxis(np.asarray(picture), -1, 0), pixels[0, :, 0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32"])
@pytest.mark.parametrize("codec", ["deflate", "none"])
def test_pillow_reads_the_first_page(tmp_path, dtype, codec):
    pixels = noise((1, 2, 1, 33, 21), dtype)
    path = write(tmp_path / "a.ome.tiff", pixels, TiffOptions(codec=codec, tile_px=16))
    with Picture.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels[0, 0, 0])
        assert picture.n_frames == 2


def test_metadata_come_back(tmp_path):
    channels = (
        Channel(name="DAPI", color="FFFFFF", excitation_nm=358.123456789, emission_nm=461.5),
        Channel(name="ß", color="FF8000"),
    )
    known = {
        "name": "Bild 1 µ",
        "x_um": 0.1234567890123456,
        "y_um": 0.2,
        "z_um": 1.5,
        "time_increment_s": 0.1,
        "stage_x_um": -1500.5,
        "stage_y_um": 0.0,
        "channels": channels,
    }
    pixels = noise((2, 2, 3, 5, 6))
    path = write(tmp_path / "a.ome.tiff", pixels, known=known)
    with open_image(path) as image:
        assert image.metadata == source(pixels, **known)[0]
        check_ome_xml(image.original_metadata["METADATA.ome.xml"])
        assert image.warnings == ()


def test_resolution_tags_follow_the_levels(tmp_path):
    known = {"x_um": 0.25, "y_um": 0.5}
    path = write(tmp_path / "a.ome.tiff", noise((1, 1, 1, 40, 40)), known=known)
    with tifffile.TiffFile(path) as tiff:
        pages = [level.keyframe for level in tiff.series[0].levels]
        found = [(page.resolutionunit, page.get_resolution()) for page in pages]
    assert found == [(3, (4e4, 2e4)), (3, (2e4, 1e4)), (3, (1e4, 5e3))]
    plain = write(tmp_path / "b.ome.tiff", noise((1, 1, 1, 40, 40)))
    with tifffile.TiffFile(plain) as tiff:
        assert tiff.pages[0].resolutionunit == 1


def test_several_images_in_one_file(tmp_path):
    first, second = noise((1, 2, 1, 40, 30)), noise((3, 1, 2, 17, 16), "float32")
    third = noise((1, 3, 1, 20, 20), "uint8")
    images = [source(first), source(second, name="b"), source(third, rgb=True)]
    path = tmp_path / "a.ome.tiff"
    assert write_ome_tiff(path, images, SMALL) == [metadata for metadata, _ in images]
    assert_pyramid(levels_of(path, 0), first)
    assert_pyramid(levels_of(path, 1), second)
    assert_pyramid(levels_of(path, 2), third)
    with tifffile.TiffFile(path) as tiff:
        check_ome_xml(tiff.ome_metadata)


def test_the_bytes_do_not_depend_on_the_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_plan, "_BLOCK_BYTES", 4096)
    pixels = noise((2, 2, 3, 150, 333))
    seen = []
    one = write(tmp_path / "1.ome.tiff", pixels, threads=1).read_bytes()
    for threads in (2, 5):
        path = tmp_path / f"{threads}.ome.tiff"
        write(path, pixels, threads=threads, progress=lambda *done: seen.append(done))
        assert path.read_bytes() == one
    assert seen[-1][0] == seen[-1][1]
    assert seen == sorted(seen[: len(seen) // 2]) * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{n}.ome.tiff" for n in (1, 2, 5)]


@pytest.mark.parametrize("rgb", [False, True])
def test_levels_of_small_blocks_go_through_scratch(tmp_path, monkeypatch, rgb):
    whole = write(tmp_path / "1.ome.tiff", noise((1, 3, 2, 600, 333)), known={"rgb": rgb})
    monkeypatch.setattr(tiff_plan, "_BLOCK_BYTES", 1024)
    made = []
    scratch = ome_tiff.ScratchVolume
    monkeypatch.setattr(ome_tiff, "ScratchVolume", lambda *a: made.append(a) or scratch(*a))
    path = write(tmp_path / "2.ome.tiff", noise((1, 3, 2, 600, 333)), known={"rgb": rgb}, threads=2)
    assert len(made) > 1
    with tifffile.TiffFile(path) as found, tifffile.TiffFile(whole) as expected:
        for a, b in zip(found.series[0].levels, expected.series[0].levels, strict=True):
            np.testing.assert_array_equal(a.asarray(), b.asarray())
    assert len(list(tmp_path.iterdir())) == 2


def test_each_pixel_is_read_once_in_blocks_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_plan, "_BLOCK_BYTES", 8192)
    count = np.zeros((2, 2, 5, 90, 200), np.uint8)
    sizes = []

    class Counting(Array):
        def read(self, region):
            count[region] += 1
            sizes.append(count[region].size * 2)
            return super().read(region)

    metadata, reader = source(noise(count.shape))
    write_ome_tiff(tmp_path / "a", [(metadata, Counting(reader.pixels))], SMALL)
    assert (count == 1).all()
    assert max(sizes) <= 8192


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_items_and_few_wait(threads):
    started = []
    taken = []
    for result in in_order(lambda n: started.append(n) or n, range(50), threads):
        taken.append(result)
        assert len(started) <= len(taken) + threads + 1
    assert taken == list(range(50))


def test_labels_are_never_averaged(tmp_path):
    pixels = noise((1, 1, 2, 51, 40), "uint32")
    path = write(tmp_path / "a.ome.tiff", pixels, labels=True)
    assert_pyramid(levels_of(path), pixels, halve_labels)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_labels_of_64_bits_are_narrowed_where_they_fit(tmp_path, dtype):
    pixels = noise((1, 1, 2, 51, 40), "uint32").astype(dtype)
    pixels[0, 0, 0, 0, 0] = 2**32 - 1
    path = tmp_path / "a.ome.tiff"
    (written,) = write_ome_tiff(path, [source(pixels)], SMALL, labels=True)
    assert written.dtype == "uint32"
    found = levels_of(path)
    assert found[0].dtype == np.uint32
    assert_pyramid(found, pixels, halve_labels)


@pytest.mark.parametrize(("label", "dtype"), [(2**32, "uint64"), (2**32, "int64"), (-1, "int64")])
def test_a_label_that_does_not_fit_is_refused(tmp_path, label, dtype):
    pixels = np.zeros((1, 1, 1, 20, 20), dtype)
    pixels[0, 0, 0, 19, 19] = label
    with pytest.raises(InputError, match=rf"does not fit into 32 bits.*found {label}\. Write"):
        write(tmp_path / "a.ome.tiff", pixels, labels=True)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float16"])
def test_types_that_ome_has_not_are_refused_with_the_remedy(tmp_path, dtype):
    pixels = np.zeros((1, 1, 1, 4, 4), dtype)
    with pytest.raises(InputError, match=f"no such data type.*{dtype}.*ome.zarr"):
        write(tmp_path / "a.ome.tiff", pixels)
    assert not (tmp_path / "a.ome.tiff").exists()
    metadata = source(pixels)[0]
    if dtype == "float16":
        with pytest.raises(InputError, match="OME-Zarr"):
            check_ome_tiff(metadata, tmp_path, labels=True)
    else:
        check_ome_tiff(metadata, tmp_path, labels=True)


def test_bigtiff_is_chosen_by_the_size_of_the_pixels(tmp_path, monkeypatch):
    pixels = noise((2, 2, 1, 40, 41))
    small = write(tmp_path / "1.ome.tiff", pixels)
    monkeypatch.setattr(ome_tiff, "CLASSIC_LIMIT", 2 * pixels.nbytes)
    big = write(tmp_path / "2.ome.tiff", pixels)
    assert small.read_bytes()[:4] == b"II*\0"
    assert big.read_bytes()[:4] == b"II+\0"
    assert_pyramid(levels_of(big), pixels)
    with Picture.open(big) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels[0, 0, 0])


@given(
    shape=st.tuples(*[st.integers(1, 4)] * 3, st.integers(1, 400), st.integers(1, 400)),
    dtype=st.sampled_from(["uint8", "float64"]),
    codec=st.sampled_from(["deflate", "zstd", "none"]),
)
@settings(max_examples=10)
def test_the_size_is_never_over_the_bound(tmp_path_factory, shape, dtype, codec):
    path = tmp_path_factory.mktemp("bound") / "a.ome.tiff"
    bounds = []
    original = ome_tiff._ImageWork.most_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ome_tiff._ImageWork,
            "most_bytes",
            lambda work: bounds.append(original(work)) or bounds[-1],
        )
        write(path, noise(shape, dtype), TiffOptions(tile_px=16, codec=codec))
    with tifffile.TiffFile(path) as tiff:
        assert path.stat().st_size <= bounds[0] + len(tiff.ome_metadata.encode())


def test_originals_travel_in_the_xml(tmp_path):
    path = tmp_path / "a.ome.tiff"
    original = {"czi.xml": b"<CZI/>"}
    write(path, noise((1, 1, 1, 4, 4)), original_metadata=original)
    with tifffile.TiffFile(path) as tiff:
        check_ome_xml(tiff.ome_metadata)
        assert 'FileName="czi.xml"' in tiff.ome_metadata


def test_an_existing_file_and_a_missing_folder_are_storage_errors(tmp_path):
    path = tmp_path / "a.ome.tiff"
    path.write_bytes(b"")
    with pytest.raises(StorageError):
        write(path, noise((1, 1, 1, 4, 4)))
    with pytest.raises(StorageError):
        write(tmp_path / "none" / "a.ome.tiff", noise((1, 1, 1, 4, 4)))
    assert path.read_bytes() == b""


def test_metadata_of_other_pixels_are_a_bug(tmp_path):
    metadata, _ = source(noise((1, 1, 1, 4, 4)))
    with pytest.raises(ValueError, match="not those of the pixels"):
        write_ome_tiff(tmp_path / "a", [(metadata, Array(noise((1, 1, 1, 4, 5))))])


def test_a_reader_that_fails_stops_the_work(tmp_path):
    class Failing(Array):
        def read(self, region):
            raise InputError("damaged")

    metadata, _ = source(noise((1, 1, 9, 40, 40)))
    with pytest.raises(InputError, match="damaged"):
        write_ome_tiff(tmp_path / "a", [(metadata, Failing(noise((1, 1, 9, 40, 40))))], threads=2)


def test_levels_end_when_the_smallest_fits_one_tile():
    grids = plan_grids((1, 1, 1, 2049, 1000), 512)
    assert [grid.shape[3:] for grid in grids] == [(2049, 1000), (1025, 500), (513, 250), (257, 125)]
    assert [grid.tile for grid in grids] == [(512, 512), (512, 512), (512, 256), (272, 128)]


def test_a_block_holds_whole_tiles_and_no_more_than_its_share():
    grids = plan_grids((5, 4, 1000, 100_000, 100_000), 512)
    assert plan_block(grids, 2, samples=1, depth=1) == ((1, 1, 2, 2048, 2048), 3)
    assert plan_block(grids, 2, samples=1, depth=64) == ((1, 1, 32, 512, 512), 1)
    assert plan_block(grids, 8, samples=3, depth=1) == ((1, 3, 2, 512, 512), 1)
    small = plan_grids((5, 4, 1000, 600, 100), 512)
    assert plan_block(small, 2, samples=1, depth=16) == ((1, 1, 128, 600, 100), 2)
