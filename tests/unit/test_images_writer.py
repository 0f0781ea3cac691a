"""OME-Zarr written, and read again by ourselves and by others."""

import json

import numpy as np
import ome_zarr_models.v05
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ome_zarr_models.v04.image import ImageAttrs

from parfocal.core.blocks import iter_blocks, whole
from parfocal.errors import InputError, StorageError
from parfocal.images import ZarrOptions, list_images, open_image, write_ome_zarr
from parfocal.images.pyramid import halve, halve_labels
from parfocal.images.writers import chain
from parfocal.images.writers.layout import plan_levels
from parfocal.models.image import AXES, Channel, ImageMetadata

RNG = np.random.default_rng(3)


class Memory:
    """An array (T, C, Z, Y, X) that counts how often each pixel is read."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.shape5 = pixels.shape
        self.dtype = pixels.dtype
        self.reads = np.zeros(pixels.shape, np.uint8)

    def read(self, region):
        self.reads[region] += 1
        return np.ascontiguousarray(self.pixels[region])


class Thicker(Memory):
    """One that is best read some planes at once, and remembers how many it was asked for."""

    def __init__(self, pixels, planes_at_once):
        super().__init__(pixels)
        self.planes_at_once = planes_at_once
        self.asked = set()

    def read(self, region):
        self.asked.add(region[2].stop - region[2].start)
        return super().read(region)


def describe(pixels, axes=AXES, **fields):
    shape = tuple(s for a, s in zip(AXES, pixels.shape, strict=True) if a in axes)
    return ImageMetadata(name="a", axes=axes, shape=shape, dtype=pixels.dtype.name, **fields)


def noise(*shape, dtype="uint16"):
    return RNG.integers(0, 200, shape).astype(dtype)


def tree(path):
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def assert_pyramid(path, pixels, shrink=halve):
    with open_image(path) as image:
        expected = pixels
        for number in range(image.levels):
            level = image.level(number)
            np.testing.assert_array_equal(level.read(whole(level.shape5)), expected)
            expected = shrink(expected)
        assert max(level.shape5[3:]) <= 512
        return image.levels


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize("codec", ["blosc-zstd", "zstd", "lz4", "gzip", "none"])
def test_pixels_and_levels_come_back(tmp_path, ngff, codec):
    source = Memory(noise(2, 2, 3, 131, 77))
    options = ZarrOptions(ngff=ngff, codec=codec, chunk_px=32)
    write_ome_zarr(tmp_path / "a.ome.zarr", describe(source.pixels), source, options)
    assert assert_pyramid(tmp_path / "a.ome.zarr", source.pixels) == 4
    assert (source.reads == 1).all()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)
@given(
    size=st.tuples(*[st.integers(1, 3)] * 3, *[st.integers(1, 150)] * 2),
    chunk=st.sampled_from([16, 32]),
    threads=st.integers(1, 3),
    shard=st.integers(0, 1),
)
def test_any_size_gives_an_exact_pyramid(tmp_path_factory, size, chunk, threads, shard):
    path = tmp_path_factory.mktemp("any") / "a.ome.zarr"
    source = Memory(noise(*size))
    options = ZarrOptions(chunk_px=chunk, shard_mib=shard)
    write_ome_zarr(path, describe(source.pixels), source, options, threads=threads)
    assert_pyramid(path, source.pixels)
    assert (source.reads == 1).all()


@settings(deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3, *[st.integers(1, 9000)] * 2),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    rgb=st.booleans(),
)
def test_shards_hold_whole_chunks_and_stay_small(shape, itemsize, rgb):
    options = ZarrOptions()
    levels = plan_levels(shape, itemsize, options, rgb=rgb)
    for level in levels:
        for shard, chunk, size in zip(level.shard, level.chunk, level.shape, strict=True):
            assert shard % chunk == 0
            assert chunk <= size
        flat = level.shard[3] * level.shard[4] * itemsize
        assert np.prod(level.shard) * itemsize <= max(32 * 2**20, flat * (shape[1] if rgb else 1))
    assert max(levels[-1].shape[3:]) <= 512
    assert all(max(level.shape[3:]) > 512 for level in levels[:-1])


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize("codec", ["blosc-zstd", "zstd", "gzip"])
def test_bytes_do_not_depend_on_threads_or_on_the_run(tmp_path, ngff, codec):
    source = Memory(noise(2, 2, 4, 260, 300))
    options = ZarrOptions(ngff=ngff, codec=codec, chunk_px=64, shard_mib=1)
    trees = []
    for number, threads in enumerate((1, 2, 4, 2)):
        path = tmp_path / str(number) / "a.ome.zarr"
        write_ome_zarr(path, describe(source.pixels), source, options, threads=threads)
        trees.append(tree(path))
    assert len(trees[0]) > 10
    assert all(other == trees[0] for other in trees[1:])


@pytest.mark.parametrize(("halve_z", "planes", "most"), [(False, 5, 5), (True, 6, 4), (True, 1, 4)])
@pytest.mark.parametrize("threads", [1, 3])
def test_bytes_do_not_depend_on_how_many_planes_are_read_at_once(
    tmp_path, halve_z, planes, most, threads
):
    pixels = noise(1, 2, 13, 130, 150)
    options = ZarrOptions(chunk_px=64, halve_z=halve_z)
    write_ome_zarr(tmp_path / "a", describe(pixels), Memory(pixels), options)
    thick = Thicker(pixels, planes)
    write_ome_zarr(tmp_path / "b", describe(pixels), thick, options, threads=threads)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert max(thick.asked) == most


def test_parts_that_are_read_at_once_are_not_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(chain, "LARGEST_PART_BYTES", 3 * 130 * 150 * 2)
    thick = Thicker(noise(1, 1, 8, 130, 150), 8)
    write_ome_zarr(tmp_path / "a", describe(thick.pixels), thick)
    assert thick.asked == {3, 2}


def test_metadata_come_back(tmp_path):
    pixels = noise(2, 2, 3, 40, 50)
    metadata = describe(
        pixels,
        stage_x_um=-120.5,
        stage_y_um=0.0,
        z_um=0.3,
        y_um=0.11,
        x_um=0.1,
        time_increment_s=2.5,
        channels=(Channel(name="DNA", color="0000FF", emission_nm=461.0), Channel()),
    )
    for ngff in ("0.5", "0.4"):
        path = tmp_path / f"{ngff}.ome.zarr"
        texts = {"METADATA.ome.xml": b"<OME/>"}
        options = ZarrOptions(ngff=ngff)
        write_ome_zarr(path, metadata, Memory(pixels), options, original_metadata=texts)
        with open_image(path) as image:
            assert image.metadata == metadata
            assert image.original_metadata == texts
            assert image.warnings == ()
        assert [entry.metadata for entry in list_images(path)] == [metadata]


def test_rgb_comes_back(tmp_path):
    pixels = noise(1, 3, 1, 40, 50, dtype="uint8")
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="CYX", rgb=True), Memory(pixels))
    with open_image(tmp_path / "a") as image:
        assert image.metadata.rgb
        colors = [c["color"] for c in _attributes(tmp_path / "a")["ome"]["omero"]["channels"]]
        assert colors == ["FF0000", "00FF00", "0000FF"]


def test_channels_without_a_colour_are_shown_by_their_emission(tmp_path):
    pixels = noise(1, 4, 1, 9, 9)
    emitted = [Channel(emission_nm=nm) for nm in (452, 520, 624)]
    channels = (*emitted, Channel(emission_nm=452, color="FFFFFF"))
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="CYX", channels=channels), Memory(pixels))
    colors = [c["color"] for c in _attributes(tmp_path / "a")["ome"]["omero"]["channels"]]
    assert colors == ["0000FF", "00FF00", "FF0000", "FFFFFF"]
    with open_image(tmp_path / "a") as image:
        assert image.metadata.channels == channels


def _attributes(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]


def test_scale_and_translation_of_levels(tmp_path):
    pixels = noise(1, 1, 2, 70, 90)
    metadata = describe(pixels, axes="ZYX", z_um=2.0, y_um=0.5, x_um=0.25)
    write_ome_zarr(tmp_path / "a", metadata, Memory(pixels), ZarrOptions(chunk_px=32))
    multiscale = _attributes(tmp_path / "a")["ome"]["multiscales"][0]
    assert multiscale["axes"][1] == {"name": "y", "type": "space", "unit": "micrometer"}
    transforms = [d["coordinateTransformations"] for d in multiscale["datasets"]]
    assert transforms[0] == [{"type": "scale", "scale": [2.0, 0.5, 0.25]}]
    assert transforms[2] == [
        {"type": "scale", "scale": [2.0, 2.0, 1.0]},
        {"type": "translation", "translation": [0.0, 0.75, 0.375]},
    ]


def test_windows_span_the_values_of_each_channel(tmp_path):
    pixels = noise(1, 2, 1, 9, 9)
    pixels[0, 0], pixels[0, 1] = 7, 3
    pixels[0, 1, 0, 4, 4] = 900
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="CYX"), Memory(pixels))
    windows = [c["window"] for c in _attributes(tmp_path / "a")["ome"]["omero"]["channels"]]
    assert windows == [
        {"min": 0, "max": 65535, "start": 7, "end": 8},
        {"min": 0, "max": 65535, "start": 3, "end": 900},
    ]


def test_what_is_unknown_has_no_unit(tmp_path):
    pixels = noise(1, 1, 1, 9, 9)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels))
    axes = _attributes(tmp_path / "a")["ome"]["multiscales"][0]["axes"]
    assert all("unit" not in axis for axis in axes)
    with open_image(tmp_path / "a") as image:
        assert image.metadata.x_um is None


@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "TCZYX"])
def test_others_accept_and_open_it(tmp_path, axes):
    shape = [2 if a in axes else 1 for a in "TCZ"]
    pixels = noise(*shape, 70, 90)
    metadata = describe(pixels, axes=axes, x_um=0.5, y_um=0.5)
    for ngff in ("0.5", "0.4"):
        path = tmp_path / f"{ngff}.ome.zarr"
        write_ome_zarr(path, metadata, Memory(pixels), ZarrOptions(ngff=ngff, chunk_px=32))
        group = zarr.open_group(path, mode="r")
        if ngff == "0.5":
            ome_zarr_models.v05.Image.from_zarr(group)
        else:
            ImageAttrs.model_validate(group.attrs.asdict())
        np.testing.assert_array_equal(group["0"][:].reshape(pixels.shape), pixels)
        assert group["1"].shape[-2:] == (35, 45)


def test_labels(tmp_path):
    pixels = noise(1, 1, 2, 40, 50, dtype="uint32")
    attributes = {"parfocal": {"source": {"digest": "sha256:0", "path": "image.ome.zarr"}}}
    write_ome_zarr(
        tmp_path / "a",
        describe(pixels, axes="ZYX"),
        Memory(pixels),
        ZarrOptions(chunk_px=16),
        labels=True,
        attributes=attributes,
    )
    assert assert_pyramid(tmp_path / "a", pixels, halve_labels) == 3
    found = _attributes(tmp_path / "a")
    assert found["parfocal"] == attributes["parfocal"]
    assert "image-label" in found["ome"]
    assert "omero" not in found["ome"]
    ome_zarr_models.v05.ImageLabel.from_zarr(zarr.open_group(tmp_path / "a", mode="r"))


DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64"]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_data_types_axes_and_chunks_are_kept(tmp_path_factory, data):
    """Read by zarr-python, which had no part in the writing."""
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    axes = data.draw(st.sampled_from(["YX", "ZYX", "CYX", "TYX", "CZYX", "TZYX", "TCZYX"]))
    shape = [data.draw(st.integers(1, 4)) if a in axes else 1 for a in "TCZ"]
    shape += [data.draw(st.integers(1, 70)) for _ in "YX"]
    options = ZarrOptions(
        ngff=data.draw(st.sampled_from(["0.5", "0.4"])),
        codec=data.draw(st.sampled_from(["blosc-zstd", "zstd", "lz4", "gzip", "none"])),
        chunk_px=data.draw(st.sampled_from([16, 24, 64])),
        shard_mib=data.draw(st.sampled_from([0, 1])),
        halve_z=data.draw(st.booleans()),
    )
    pixels = RNG.integers(0, 256, (*shape[:4], shape[4] * dtype.itemsize), dtype=np.uint8)
    pixels = pixels.view(dtype)  # all bits, infinity and NaN too
    path = tmp_path_factory.mktemp("any") / "a.ome.zarr"
    threads = data.draw(st.integers(1, 2))
    write_ome_zarr(path, describe(pixels, axes=axes), Memory(pixels), options, threads=threads)
    group = zarr.open_group(path, mode="r")
    expected = pixels
    for number in range(len(group)):
        found = group[str(number)][...].reshape(expected.shape)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)
        expected = halve(expected, along_z=options.halve_z)
    assert max(found.shape[3:]) <= options.chunk_px


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f8", "|b1"])
def test_arrays_of_others_are_read_in_the_byte_order_and_type_of_this_machine(tmp_path, dtype):
    pixels = noise(40, 50).astype(dtype)
    group = zarr.open_group(tmp_path / "a", mode="w", zarr_format=2)
    array = group.create_array("0", shape=pixels.shape, chunks=(16, 16), dtype=dtype)
    array[:] = pixels
    levels = [{"path": "0"}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": ["y", "x"], "datasets": levels}]
    assert json.loads((tmp_path / "a/0/.zarray").read_text())["dtype"] == dtype
    with open_image(tmp_path / "a") as image:
        found = image.read(whole(image.shape5))[0, 0, 0]
        assert image.metadata.dtype == found.dtype.name
        assert bool(image.warnings) == (dtype == "|b1")
    assert found.dtype == np.dtype("uint8" if dtype == "|b1" else dtype).newbyteorder("=")
    np.testing.assert_array_equal(found, pixels)


def test_levels_halved_along_z_say_where_they_lie(tmp_path):
    pixels = noise(1, 1, 5, 70, 90)
    metadata = describe(pixels, axes="ZYX", z_um=2.0, y_um=0.5, x_um=0.25)
    options = ZarrOptions(chunk_px=16, halve_z=True)
    write_ome_zarr(tmp_path / "a", metadata, Memory(pixels), options)
    ome = _attributes(tmp_path / "a")["ome"]
    last = ome["multiscales"][0]["datasets"][3]["coordinateTransformations"]
    assert last == [
        {"type": "scale", "scale": [16.0, 4.0, 2.0]},
        {"type": "translation", "translation": [7.0, 1.75, 0.875]},
    ]
    with open_image(tmp_path / "a") as image:
        assert image.halves_z
        assert [image.level(n).shape5[2] for n in range(image.levels)] == [5, 3, 2, 1]
        assert image.metadata.z_um == metadata.z_um


@pytest.mark.parametrize("along_z", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_the_metadata_tell_the_rule_of_the_pyramid(tmp_path, labels, along_z):
    pixels = noise(1, 1, 2, 40, 40)
    options = ZarrOptions(chunk_px=32, halve_z=along_z)
    metadata = describe(pixels, axes="ZYX")
    write_ome_zarr(tmp_path / "a", metadata, Memory(pixels), options, labels=labels)
    multiscale = _attributes(tmp_path / "a")["ome"]["multiscales"][0]
    rule = multiscale["metadata"]["description"]
    if labels:
        assert multiscale["type"] == "nearest"
        assert rule.startswith("first of 2 by 2 by 2" if along_z else "upper left of 2 by 2")
    else:
        assert multiscale["type"] == "mean"
        assert rule.startswith("mean of 2 by 2 by 2" if along_z else "mean of 2 by 2 pixels")


def test_zeros_are_stored_so_that_a_lost_file_is_noticed(tmp_path):
    pixels = np.zeros((1, 1, 1, 64, 64), np.uint8)
    options = ZarrOptions(ngff="0.4", chunk_px=32)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels), options)
    assert (tmp_path / "a/0/1/1").is_file()


def test_blocks_that_the_reader_asks_for_are_those_of_the_file(tmp_path):
    pixels = noise(1, 1, 3, 100, 100)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="ZYX"), Memory(pixels))
    with open_image(tmp_path / "a") as image:
        assert image.block5 == (1, 1, 1, 100, 100)
        for region in iter_blocks(whole(image.shape5), image.block5):
            np.testing.assert_array_equal(image.read(region), pixels[region])


def test_pixels_that_cannot_be_stored_are_refused(tmp_path):
    pixels = np.zeros((1, 1, 1, 4, 4), np.complex64)
    with pytest.raises(InputError, match="data type"):
        write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels))


def test_metadata_of_other_pixels_are_a_bug(tmp_path):
    pixels = noise(1, 1, 1, 4, 4)
    with pytest.raises(ValueError, match="not those of the pixels"):
        write_ome_zarr(tmp_path / "a", describe(pixels[..., :3], axes="YX"), Memory(pixels))


def test_a_place_that_cannot_be_written_is_an_error_of_storage(tmp_path):
    (tmp_path / "file").write_text("in the way")
    pixels = noise(1, 1, 1, 4, 4)
    with pytest.raises(StorageError):
        write_ome_zarr(tmp_path / "file" / "a", describe(pixels, axes="YX"), Memory(pixels))


def test_an_error_of_the_source_ends_the_writing_in_threads_too(tmp_path):
    class Broken(Memory):
        def read(self, region):
            if region[4].start >= 16:
                raise InputError("broken")
            return super().read(region)

    source = Broken(noise(1, 1, 8, 100, 300))
    options = ZarrOptions(chunk_px=16, shard_mib=0)
    metadata = describe(source.pixels, axes="ZYX")
    for threads in (1, 2):
        path = tmp_path / str(threads)
        with pytest.raises(InputError, match="broken"):
            write_ome_zarr(path, metadata, source, options, threads=threads)
        assert not (path / "zarr.json").exists()


def test_progress_ends_at_the_total(tmp_path):
    calls = []
    source = Memory(noise(1, 1, 2, 70, 90))
    write_ome_zarr(
        tmp_path / "a",
        describe(source.pixels, axes="ZYX"),
        source,
        ZarrOptions(chunk_px=16),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1][0] == calls[-1][1] > source.pixels.size


def write_plate(path, pixels):
    """Write a plate of two wells with one field each."""
    wells = [{"path": f"A/{n}", "rowIndex": 0, "columnIndex": n - 1} for n in (1, 2)]
    path.mkdir()
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text(json.dumps({"plate": {"wells": wells}}))
    for n in (1, 2):
        well = path / "A" / str(n)
        image = {"well": {"images": [{"path": "0"}]}}
        options = ZarrOptions(ngff="0.4")
        write_ome_zarr(well / "0", describe(pixels, axes="YX"), Memory(pixels), options)
        (well / ".zattrs").write_text(json.dumps(image))


def test_the_images_of_a_plate_and_of_a_collection(tmp_path):
    pixels = noise(1, 1, 1, 8, 9)
    write_plate(tmp_path / "plate", pixels)
    assert [entry.series for entry in list_images(tmp_path / "plate")] == ["A/1/0", "A/2/0"]
    with pytest.raises(InputError, match="several images"):
        open_image(tmp_path / "plate")
    with open_image(tmp_path / "plate", "A/2/0") as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5)), pixels)
    folder = tmp_path / "collection"
    for name in ("0", "1", "10"):
        write_ome_zarr(folder / name, describe(pixels, axes="YX"), Memory(pixels))
    group = {"zarr_format": 3, "node_type": "group"}
    layout = {"attributes": {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}}
    (folder / "zarr.json").write_text(json.dumps(group | layout))
    assert [entry.series for entry in list_images(folder)] == ["0", "1", "10"]


def test_texts_of_an_image_count_before_those_of_its_collection(tmp_path):
    pixels = noise(1, 1, 1, 8, 9)
    texts = {name: name.encode() for name in ("a", "b", "c", "d", "e")}
    write_ome_zarr(
        tmp_path / "0", describe(pixels, axes="YX"), Memory(pixels), original_metadata=texts
    )
    (tmp_path / "OME").mkdir()
    for name in (*texts, "f"):
        (tmp_path / "OME" / name).write_bytes(b"of the collection")
    layout = {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": layout}
    (tmp_path / "zarr.json").write_text(json.dumps(group))
    with open_image(tmp_path, "0") as image:
        assert image.original_metadata == texts | {"f": b"of the collection"}


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_translation_is_told_to_be_lost(tmp_path, everywhere):
    pixels = noise(1, 1, 1, 8, 9)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels))
    document = tmp_path / "a" / "zarr.json"
    content = json.loads(document.read_text())
    multiscale = content["attributes"]["ome"]["multiscales"][0]
    place = multiscale if everywhere else multiscale["datasets"][0]
    moved = {"type": "translation", "translation": [0.0, 12.5]}
    place.setdefault("coordinateTransformations", []).append(moved)
    document.write_text(json.dumps(content))
    with open_image(tmp_path / "a") as image:
        assert any("translation" in warning for warning in image.warnings)


def test_a_damaged_chunk_is_an_error(tmp_path):
    pixels = noise(1, 1, 1, 64, 64)
    write_ome_zarr(tmp_path / "a", describe(pixels, axes="YX"), Memory(pixels))
    (chunk,) = (p for p in (tmp_path / "a/0").rglob("*") if p.is_file() and p.name != "zarr.json")
    content = bytearray(chunk.read_bytes())
    content[0:60] = b"\xff" * 60
    chunk.write_bytes(content)
    with open_image(tmp_path / "a") as image, pytest.raises(InputError, match="chunk"):
        image.read(whole(image.shape5))
