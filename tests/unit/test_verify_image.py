"""The step verify-image: every kind of difference is found."""

import hashlib
import json

import numpy as np
import pytest
import tensorstore
import tifffile

from parfocal.core.blocks import whole
from parfocal.core.step import Context
from parfocal.engine import run_step
from parfocal.errors import InputError, VerificationError
from parfocal.images import ZarrOptions, open_image, write_ome_zarr
from parfocal.images.proof.compare import compare_images, plane_digests
from parfocal.steps.convert_image import STEP as CONVERT
from parfocal.steps.convert_image import ConvertImageParams
from parfocal.steps.verify_image import STEP, VerifyImageParams

DATA = np.random.default_rng(2).integers(0, 4000, (2, 3, 70, 90)).astype(np.uint16)


@pytest.fixture
def converted(tmp_path):
    """Return source, image and certificate of a conversion."""
    source = tmp_path / "a.ome.tif"
    metadata = {
        "axes": "CZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "Channel": {"Name": ["DNA", "RNA"]},
    }
    tifffile.imwrite(source, DATA, photometric="minisblack", metadata=metadata)
    outputs = {"image": tmp_path / "i.ome.zarr", "certificate": tmp_path / "c.json"}
    context = Context(scratch=tmp_path)
    CONVERT.run({"source": source}, outputs, ConvertImageParams(chunk_px=32), context)
    return {"source": source, **outputs}


def verify(tmp_path, **inputs):
    context = Context(scratch=tmp_path, threads=2)
    path = tmp_path / "v.json"
    STEP.run(inputs, {"verification": path}, VerifyImageParams(), context)
    return json.loads(path.read_text())


def change_pixel(image, level):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{image}/{level}/"}}
    store = tensorstore.open(spec).result()
    store[1, 2, 5, 7] = store[1, 2, 5, 7].read().result() ^ 1


def change_metadata(image, change):
    path = image / "zarr.json"
    content = json.loads(path.read_text())
    change(content["attributes"]["ome"])
    path.write_text(json.dumps(content))


def test_source_and_certificate_agree(tmp_path, converted):
    assert verify(tmp_path, **converted)["verdict"] == "verified"
    only_certificate = {key: converted[key] for key in ("image", "certificate")}
    assert verify(tmp_path, **only_certificate)["verdict"] == "verified"


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_a_source_to_be_shown_turned_is_the_same_as_stored(tmp_path, orientation):
    source = tmp_path / "turned.tif"
    tag = (274, 3, 1, orientation, True)
    square = DATA[0, 0, :60, :60]
    tifffile.imwrite(source, square, photometric="minisblack", metadata=None, extratags=[tag])
    image = tmp_path / "turned.ome.zarr"
    with open_image(source) as opened:
        assert any("turned or mirrored" in warning for warning in opened.warnings)
        np.testing.assert_array_equal(opened.read(whole(opened.shape5))[0, 0, 0], square)
        write_ome_zarr(image, opened.metadata, opened)
    assert verify(tmp_path, source=source, image=image)["verdict"] == "verified"


def test_digests_are_those_of_ten_lines(tmp_path, converted):
    planes = json.loads(converted["certificate"].read_text())["planes"]
    for plane in planes:
        pixels = DATA[plane["c"], plane["z"]].astype("<u2").tobytes()
        assert plane["digest"] == f"sha256:{hashlib.sha256(pixels).hexdigest()}"


@pytest.mark.parametrize("against", ["source", "certificate"])
def test_one_pixel_of_the_full_resolution(tmp_path, converted, against):
    change_pixel(converted["image"], 0)
    with pytest.raises(VerificationError, match="differs") as caught:
        verify(tmp_path, image=converted["image"], **{against: converted[against]})
    assert "t=0 c=1 z=2" in caught.value.found


@pytest.mark.parametrize("against", ["source", "certificate"])
def test_the_command_leaves_what_differs(tmp_path, converted, against):
    change_pixel(converted["image"], 0)
    inputs = {"image": converted["image"], against: converted[against]}
    with pytest.raises(VerificationError):
        run_step(STEP, inputs, {"verification": tmp_path / "check.json"})
    left = json.loads((tmp_path / "check.json").read_text())
    assert left["verdict"] == "different"
    assert "t=0 c=1 z=2" in str(left["differences"])


@pytest.mark.parametrize("against", ["source", "certificate"])
@pytest.mark.parametrize("level", [1, 2])
def test_one_pixel_of_a_further_level(tmp_path, converted, level, against):
    change_pixel(converted["image"], level)
    with pytest.raises(VerificationError) as caught:
        verify(tmp_path, image=converted["image"], **{against: converted[against]})
    assert f"level {level}, plane t=0 c=1 z=2" in caught.value.found


def rename_channel(ome):
    ome["omero"]["channels"][0]["label"] = "other"


def rescale(ome):
    ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"][-1] = 0.6


def drop_unit(ome):
    del ome["multiscales"][0]["axes"][-1]["unit"]


def make_up_z(ome):
    ome["multiscales"][0]["axes"][1]["unit"] = "micrometer"


def skip_level(ome):
    del ome["multiscales"][0]["datasets"][1]


def rescale_level(ome):
    ome["multiscales"][0]["datasets"][2]["coordinateTransformations"][0]["scale"][-1] = 1.0


def move_level(ome):
    ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][1]["translation"][-1] = 0.0


def shorten_level(ome):
    ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][0]["scale"].pop()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename_channel, "names of channels"),
        (rescale, "axis X"),
        (drop_unit, "axis X"),
        (make_up_z, "axis Z"),
        (skip_level, "size of a level"),
        (rescale_level, "at level 2"),
        (move_level, "at level 1"),
        (shorten_level, "place of a level"),
    ],
)
def test_metadata(tmp_path, converted, change, told):
    change_metadata(converted["image"], change)
    with pytest.raises(VerificationError) as caught:
        verify(tmp_path, image=converted["image"], source=converted["source"])
    assert told in caught.value.found


def test_another_source(tmp_path, converted):
    other = tmp_path / "b.tif"
    tifffile.imwrite(other, DATA[0], photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(VerificationError) as caught:
        verify(tmp_path, image=converted["image"], source=other)
    assert "The axes differ" in caught.value.found


def test_nothing_to_compare_with(tmp_path, converted):
    with pytest.raises(InputError, match="nothing to compare"):
        verify(tmp_path, image=converted["image"])


def test_a_file_that_is_no_certificate(tmp_path, converted):
    converted["certificate"].write_text("{}")
    with pytest.raises(InputError, match="certificate"):
        verify(tmp_path, image=converted["image"], certificate=converted["certificate"])


def test_bands_of_a_large_plane_give_the_digest_of_the_whole(tmp_path, monkeypatch):
    import parfocal.images.proof.compare as compare

    monkeypatch.setattr(compare, "_BLOCK_BYTES", 4000)
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, DATA[0, 0])
    with open_image(source) as image:
        (plane,) = plane_digests(image)
        assert plane.digest == f"sha256:{hashlib.sha256(DATA[0, 0].tobytes()).hexdigest()}"
        path = tmp_path / "i.ome.zarr"
        write_ome_zarr(path, image.metadata, image, ZarrOptions(chunk_px=16))
        change = np.array(DATA[0, 0])
        change[60, 3] += 1
        with open_image(path) as result:
            levels = [result.level(n) for n in range(result.levels)]
            assert compare_images(image, levels).differences == ()
            tifffile.imwrite(tmp_path / "b.tif", change)
            with open_image(tmp_path / "b.tif") as other:
                found = compare_images(other, levels)
    digest = f"sha256:{hashlib.sha256(change.tobytes()).hexdigest()}"
    assert found.source_digests == (digest,)
    assert found.differences[0].expected == digest
