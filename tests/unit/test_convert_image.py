"""The step convert-image: what it writes, certifies and refuses."""

import json
from contextlib import closing

import numpy as np
import pytest
import tifffile
from pydantic import ValidationError

import parfocal.images
from parfocal.core.blocks import whole
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError, VerificationError
from parfocal.images import open_image
from parfocal.images.proof.result import open_result
from parfocal.images.readers.bioformats import java as bioformats_java
from parfocal.models.manifest import Manifest
from parfocal.models.sheet import Row
from parfocal.steps.convert_image import STEP, ConvertImageParams
from parfocal.steps.verify_image import VerifyImageParams

STACK = np.random.default_rng(5).integers(0, 4000, (3, 70, 90)).astype(np.uint16)


@pytest.fixture
def convert(tmp_path):
    """Return a function that converts a source and gives image, certificate and context."""

    def run(source, row=None, **params):
        outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
        context = Context(scratch=tmp_path, row=row, threads=2)
        STEP.run({"source": source}, outputs, ConvertImageParams(**params), context)
        certificate = json.loads(outputs["certificate"].read_text())
        return outputs["image"], certificate, context

    return run


def write(path, data=STACK, **options):
    tifffile.imwrite(path, data, photometric="minisblack", **options)
    return path


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (32, 32)}])
@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_stack_is_converted_and_verified(tmp_path, convert, options, ngff):
    source = write(tmp_path / "a.tif", metadata={"axes": "ZYX"}, **options)
    path, certificate, context = convert(source, ngff=ngff, chunk_px=32)
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0], STACK)
    assert certificate["verdict"] == "verified"
    assert certificate["format"] == "parfocal-certificate-1"
    assert certificate["source"]["reader"] == "Pillow"
    assert certificate["result"]["reader"] == "zarr-python"
    assert len(certificate["planes"]) == 3
    assert certificate["source"]["digest"] == certificate["result"]["digest"]
    assert context.details["verdict"] == "verified"


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_what_imagej_says_is_in_the_result(tmp_path, convert, ngff):
    metadata = {"axes": "CYX", "Labels": ["DAPI", "GFP", "RFP"], "Info": "20x", "ROI": b"Iout"}
    source = write(tmp_path / "a.tif", imagej=True, metadata=metadata)
    path, certificate, context = convert(source, ngff=ngff)
    assert certificate["verdict"] == "verified"
    with open_image(path) as image:
        assert image.metadata.channel_names() == ["DAPI", "GFP", "RFP"]
    assert json.loads((path / "OME" / "ImageJ.json").read_text())["Info"] == "20x"
    assert (path / "OME" / "ImageJ-ROI-0001.roi").read_bytes() == b"Iout"
    assert "1 ROI" in context.warnings[0]


@pytest.fixture
def no_bio_formats(monkeypatch):
    """Take Bio-Formats away."""
    honest = bioformats_java.find_spec
    monkeypatch.setattr(
        bioformats_java, "find_spec", lambda name: None if name == "jpype" else honest(name)
    )


def test_what_no_other_library_reads_is_only_self_consistent(tmp_path, convert, no_bio_formats):
    lzw = {"compression": "lzw", "metadata": {"axes": "ZYX"}}
    source = write(tmp_path / "a.tif", STACK.astype(np.int16), **lzw)
    _, certificate, context = convert(source)
    assert certificate["verdict"] == "self-consistent"
    assert "Pillow does not give the values as they are stored" in certificate["reason"]
    assert "pip install 'parfocal[bioformats]'" in certificate["reason"]
    assert context.details["reason"] == certificate["reason"]
    assert certificate["source"] | {"digest": ""} == {
        "reader": "tifffile",
        "version": tifffile.__version__,
        "independent": False,
        "digest": "",
    }


def test_an_ome_zarr_is_converted_to_another_version(tmp_path, convert):
    first, before, _ = convert(write(tmp_path / "a.tif", metadata={"axes": "ZYX"}), ngff="0.4")
    source = first.rename(tmp_path / "first.ome.zarr")
    path, after, _ = convert(source)
    assert (path / "zarr.json").is_file()
    assert after["verdict"] == "verified"
    assert after["planes"] == before["planes"]


def test_warnings_of_the_reader_reach_the_record(tmp_path, convert):
    source = write(tmp_path / "a.tif", metadata=None)
    _, certificate, context = convert(source)
    assert certificate["axes"] == "ZYX"
    assert any("taken as Z" in warning for warning in context.warnings)
    _, certificate, context = _again(convert, tmp_path, source, axes="TYX")
    assert certificate["axes"] == "TYX"
    assert context.warnings == []


def _again(convert, tmp_path, source, **params):
    (tmp_path / "i.ome.zarr").rename(tmp_path / "old.ome.zarr")
    return convert(source, **params)


def test_the_series_of_the_sheet_comes_first(tmp_path, convert):
    source = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(source, ome=True) as writer:
        for number in range(3):
            writer.write(np.full((8, 9 + number), number, np.uint8), metadata={"axes": "YX"})
    with pytest.raises(InputError, match=r"several images.*--set series=2,"):
        convert(source)
    row = Row(image_id="a", source="a.ome.tif", series="1")
    path, _, _ = convert(source, row=row, series="2")
    with open_image(path) as image:
        assert image.metadata.shape == (8, 10)


def test_a_fetched_folder_is_opened_by_its_manifest(tmp_path, convert):
    folder = tmp_path / "original"
    folder.mkdir()
    write(folder / "a b[1].tif", metadata={"axes": "ZYX"})
    manifest = Manifest(source="x", files=(), primary="a b[1].tif")
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    _, certificate, _ = convert(folder)
    assert certificate["verdict"] == "verified"


def test_float_images_with_nan(tmp_path, convert):
    data = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    data[3, 4], data[5, 6] = np.nan, np.inf
    path, certificate, _ = convert(write(tmp_path / "a.tif", data), chunk_px=16)
    assert certificate["verdict"] == "verified"
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5))[0, 0, 0], data)


def test_one_pixel(tmp_path, convert):
    _, certificate, _ = convert(write(tmp_path / "a.tif", np.array([[5]], np.uint8)))
    assert certificate["verdict"] == "verified"
    assert certificate["levels"] == 1


def test_a_wrong_conversion_is_caught(tmp_path, convert, monkeypatch):
    source = write(tmp_path / "a.tif", metadata={"axes": "ZYX"})
    honest = parfocal.images.write_ome_zarr

    def wrong(path, metadata, image, *args, **kwargs):
        class OneOff:
            shape5, dtype = image.shape5, image.dtype

            def read(self, region):
                pixels = image.read(region)
                if region[2].start <= 1 < region[2].stop:
                    pixels[0, 0, 1 - region[2].start, 10, 11] += 1
                return pixels

        return honest(path, metadata, OneOff(), *args, **kwargs)

    monkeypatch.setattr(parfocal.images, "write_ome_zarr", wrong)
    with pytest.raises(VerificationError) as caught:
        convert(source)
    assert caught.value.exit_code == 4
    assert "plane t=0 c=0 z=1 (1 pixels)" in caught.value.found
    assert not (tmp_path / "c.json").exists()


def test_text_that_yaml_takes_for_a_number():
    params = ConvertImageParams.model_validate({"ngff": 0.4, "series": 1})
    assert (params.ngff, params.series) == ("0.4", "1")
    assert VerifyImageParams.model_validate({"series": 0}).series == "0"
    for wrong in ({"ngff": 0.6}, {"ngff": True}, {"series": False}, {"series": ""}):
        with pytest.raises(ValidationError):
            ConvertImageParams.model_validate(wrong)


@pytest.fixture
def convert_to(tmp_path):
    """Return a function that converts a source to a file or folder of a name."""

    def run(source, name, **params):
        outputs = {"image": tmp_path / name, "certificate": tmp_path / "c.json"}
        context = Context(scratch=tmp_path, threads=2)
        STEP.run({"source": source}, outputs, ConvertImageParams(**params), context)
        return outputs["image"], json.loads(outputs["certificate"].read_text()), context

    return run


@pytest.mark.parametrize("codec", ["deflate", "zstd", "none"])
@pytest.mark.parametrize("name", ["i.ome.tiff", "i.ome.tif"])
def test_an_ome_tiff_is_written_and_verified(tmp_path, convert_to, codec, name):
    source = write(tmp_path / "a.tif", metadata={"axes": "ZYX"})
    path, certificate, _ = convert_to(
        source, name, format="ome.tiff", tiff_codec=codec, chunk_px=32
    )
    np.testing.assert_array_equal(tifffile.imread(path), STACK)
    assert certificate["verdict"] == "verified"
    assert certificate["levels"] == 3
    assert certificate["result"]["reader"] == "Pillow"


@pytest.mark.parametrize(
    ("name", "format_", "remedy"),
    [
        ("i.ome.zarr", "ome.tiff", "format=ome.zarr"),
        ("i.ome.tiff", "ome.zarr", "format=ome.tiff"),
        ("i.tif", "ome.tiff", "ends in .ome.tiff or .ome.tif"),
        ("i", "ome.zarr", "ends in .zarr"),
    ],
)
def test_a_name_that_does_not_fit_the_format(tmp_path, convert_to, name, format_, remedy):
    source = write(tmp_path / "a.tif", metadata={"axes": "ZYX"})
    with pytest.raises(ConfigurationError) as caught:
        convert_to(source, name, format=format_)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float16"])
def test_what_an_ome_tiff_cannot_hold_is_refused_before_anything_is_written(
    tmp_path, convert_to, dtype
):
    source = write(tmp_path / "a.tif", STACK.astype(dtype), metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match=r"no such data type.*ome\.zarr"):
        convert_to(source, "i.ome.tiff", format="ome.tiff")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif"}
    _, certificate, _ = convert_to(source, "i.ome.zarr")
    assert certificate["dtype"] == dtype


def test_tiles_have_sides_of_multiples_of_16(tmp_path, convert_to):
    source = write(tmp_path / "a.tif", metadata={"axes": "ZYX"})
    with pytest.raises(ConfigurationError, match="chunk_px"):
        convert_to(source, "i.ome.tiff", format="ome.tiff", chunk_px=100)


@pytest.mark.parametrize("format_", ["ome.zarr", "ome.tiff"])
def test_labels_are_never_averaged(tmp_path, convert_to, format_):
    source = write(tmp_path / "a.tif", STACK.astype(np.int64), metadata={"axes": "ZYX"})
    path, certificate, context = convert_to(
        source, f"i.{format_}", format=format_, labels=True, chunk_px=32
    )
    assert certificate["verdict"] == "verified"
    assert certificate["labels"]
    assert certificate["dtype"] == ("int64" if format_ == "ome.zarr" else "uint32")
    assert ("narrowed_from" in context.details) == (format_ == "ome.tiff")
    with closing(open_result(path, "", 1)) as result:
        level = result.levels[1].read(whole(result.levels[1].shape5))
    np.testing.assert_array_equal(level[0, 0], STACK[:, ::2, ::2])


def test_labels_that_do_not_fit_and_labels_that_are_no_numbers(tmp_path, convert_to):
    wide = write(tmp_path / "a.tif", np.full((20, 20), 2**40), metadata=None)
    with pytest.raises(InputError, match="32 bits"):
        convert_to(wide, "i.ome.tiff", format="ome.tiff", labels=True)
    floats = write(tmp_path / "b.tif", STACK.astype(np.float32), metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="whole numbers"):
        convert_to(floats, "i.ome.zarr", labels=True)


@pytest.mark.parametrize("z", [1, 2, 3, 7])
@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_levels_halved_along_z_are_verified(tmp_path, convert_to, ngff, z):
    data = np.random.default_rng(z).integers(0, 60000, (z, 70, 90)).astype(np.uint16)
    source = write(tmp_path / "a.tif", data, metadata={"axes": "ZYX"})
    path, certificate, _ = convert_to(source, "i.ome.zarr", halve_z=True, ngff=ngff, chunk_px=32)
    assert certificate["verdict"] == "verified"
    with open_image(path) as image:
        assert image.level(1).shape5[2] == -(-z // 2)


def test_one_image_and_all_images_at_once(tmp_path, convert_to):
    source = write(tmp_path / "a.tif", metadata={"axes": "ZYX"})
    with pytest.raises(ConfigurationError, match="all images"):
        convert_to(source, "i.ome.zarr", series="0", all_series=True)


@pytest.mark.parametrize(
    ("name", "params", "ignored"),
    [
        ("i.ome.tiff", {"format": "ome.tiff", "codec": "gzip", "halve_z": True}, "codec halve_z"),
        ("i.ome.tiff", {"format": "ome.tiff", "ngff": "0.4", "shard_mib": 1}, "ngff shard_mib"),
        ("i.ome.zarr", {"ngff": "0.4", "shard_mib": 16}, "shard_mib"),
        ("i.ome.zarr", {"tiff_codec": "zstd"}, "tiff_codec"),
        ("i.ome.zarr", {"codec": "gzip", "shard_mib": 1}, ""),
        ("i.ome.tiff", {"format": "ome.tiff", "tiff_codec": "zstd"}, ""),
    ],
)
def test_parameters_without_effect_are_told(tmp_path, convert_to, name, params, ignored):
    source = write(tmp_path / "a.tif", metadata={"axes": "ZYX"})
    _, _, context = convert_to(source, name, **params)
    told = [text.split()[0] for text in context.warnings if "no effect" in text]
    assert sorted(told) == ignored.split()


def test_the_verdict_is_told(tmp_path, convert, caplog):
    caplog.set_level("INFO")
    _, certificate, _ = convert(write(tmp_path / "a.tif", metadata={"axes": "ZYX"}))
    version = certificate["source"]["version"]
    assert f"verified by Pillow {version}" in caplog.messages


def test_why_it_is_only_self_consistent_is_told(tmp_path, convert, caplog):
    caplog.set_level("INFO")
    source = write(tmp_path / "a.tif", metadata={"axes": "ZYX"})
    _, certificate, _ = convert(source, second_reader="none")
    assert f"self-consistent: {certificate['reason']}" in caplog.messages
