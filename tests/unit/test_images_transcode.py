"""OME-Zarr 0.4 to 0.5: compressed chunks are taken over where they can be."""

import json

import numpy as np
import pytest
import zarr

from memory_images import MemoryImage
from parfocal.core.blocks import whole
from parfocal.images import ZarrOptions, open_image, write_ome_zarr
from parfocal.images.pyramid import halve
from parfocal.models.image import ImageMetadata

PIXELS = np.random.default_rng(4).integers(0, 300, (1, 2, 3, 150, 170)).astype(np.uint16)
METADATA = ImageMetadata(name="a", axes="CZYX", shape=PIXELS.shape[1:], dtype="uint16")


def old(path, **options):
    options = ZarrOptions(ngff="0.4", **options)
    write_ome_zarr(path, METADATA, MemoryImage(PIXELS), options)
    return path


def convert(source, target, options=None):
    with open_image(source) as image:
        return write_ome_zarr(target, image.metadata, image, options)


def assert_exact(path):
    """Read by zarr-python, which had no part in the writing."""
    group = zarr.open_group(path, mode="r")
    expected = PIXELS[0]
    for number in range(len(group)):
        np.testing.assert_array_equal(group[str(number)][...], expected)
        expected = halve(expected)
    assert len(group) > 1


@pytest.mark.parametrize("codec", ["blosc-zstd", "lz4", "zstd", "gzip", "none"])
@pytest.mark.parametrize("separator", ["/", "."])
def test_chunks_are_taken_over_as_they_are(tmp_path, codec, separator):
    source = old(tmp_path / "old", codec=codec, level=7, chunk_px=32)
    if separator == ".":
        for level in (path for path in source.iterdir() if path.is_dir()):
            for file in [p for p in level.rglob("*") if p.is_file() and p.name != ".zarray"]:
                file.rename(level / ".".join(file.relative_to(level).parts))
            document = json.loads((level / ".zarray").read_text())
            document["dimension_separator"] = "."
            (level / ".zarray").write_text(json.dumps(document))
    written = convert(source, tmp_path / "new")
    assert not written.recompressed
    assert_exact(tmp_path / "new")
    name = "0.0.1.1" if separator == "." else "0/0/1/1"
    stored = (source / "0" / name).read_bytes()
    assert any(
        stored in path.read_bytes() for path in (tmp_path / "new/0/c").rglob("*") if path.is_file()
    )


def test_what_was_taken_over_is_what_would_have_been_compressed(tmp_path):
    source = old(tmp_path / "old", chunk_px=512)
    assert not convert(source, tmp_path / "new").recompressed
    write_ome_zarr(tmp_path / "direct", METADATA, MemoryImage(PIXELS), ZarrOptions())
    trees = [
        {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "new", tmp_path / "direct")
    ]
    assert trees[0]["0/zarr.json"] == trees[1]["0/zarr.json"]
    assert {k: v for k, v in trees[0].items() if "/c/" in k} == {
        k: v for k, v in trees[1].items() if "/c/" in k
    }


@pytest.mark.parametrize("options", [{"codec": "zstd"}, {"level": 3}, {"chunk_px": 64}])
def test_other_wishes_are_granted(tmp_path, options):
    source = old(tmp_path / "old", chunk_px=32)
    wanted = ZarrOptions(**options)
    assert convert(source, tmp_path / "new", wanted).recompressed
    write_ome_zarr(tmp_path / "direct", METADATA, MemoryImage(PIXELS), wanted)
    found, expected = ((tmp_path / name / "0/zarr.json").read_bytes() for name in ("new", "direct"))
    assert found == expected


def test_levels_by_another_rule_are_made_anew(tmp_path):
    source = old(tmp_path / "old", chunk_px=32)
    other = zarr.open_group(source, mode="r+")["1"]
    other[0, 0, 5, 6] += 1
    assert convert(source, tmp_path / "new").recompressed
    assert_exact(tmp_path / "new")


def test_a_chunk_that_is_not_stored_is_made(tmp_path):
    source = old(tmp_path / "old", chunk_px=32)
    (source / "0/0/0/0/0").unlink()
    assert convert(source, tmp_path / "new").recompressed
    with open_image(tmp_path / "new") as image:
        pixels = image.read(whole(image.shape5))
    assert not pixels[0, 0, 0, :32, :32].any()
    np.testing.assert_array_equal(pixels[0, 1], PIXELS[0, 1])


@pytest.mark.parametrize(
    "changed",
    [{"dtype": ">u2"}, {"order": "F"}, {"chunks": (1, 3, 32, 32)}, {"chunks": (1, 1, 32, 40)}],
)
def test_chunks_that_zarr_3_would_not_have_so_are_compressed_anew(tmp_path, changed):
    group = zarr.open_group(tmp_path / "old", mode="w", zarr_format=2)
    given = {"dtype": "<u2", "chunks": (1, 1, 32, 32), "order": "C"} | changed
    group.create_array("0", shape=PIXELS.shape[1:], **given)[...] = PIXELS[0]
    axes = ["c", "z", "y", "x"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    assert convert(tmp_path / "old", tmp_path / "new").recompressed
    with open_image(tmp_path / "new") as image:
        np.testing.assert_array_equal(image.read(whole(image.shape5)), PIXELS)


def test_levels_that_lack_or_have_other_chunks_are_compressed(tmp_path):
    source = old(tmp_path / "old", chunk_px=32)
    group = zarr.open_group(source, mode="r+")
    pixels = group["1"][...]
    given = {"chunks": (1, 1, 16, 16), "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    given["compressors"] = group["1"].compressors
    group.create_array("1", shape=pixels.shape, dtype="<u2", overwrite=True, **given)[...] = pixels
    group.attrs["multiscales"] = [
        one | {"datasets": one["datasets"][:2]} for one in group.attrs["multiscales"]
    ]
    assert convert(source, tmp_path / "new").recompressed
    assert_exact(tmp_path / "new")
