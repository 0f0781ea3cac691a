"""What `verify-image --certificate` finds of changes that come later: any bit of any file."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from conversions import convert, verify, write_two
from parfocal.errors import VerificationError


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_two(tmp_path_factory.mktemp("source") / "two.ome.tif")


@pytest.fixture(scope="module")
def certified(tmp_path_factory, source):
    """Return folders of a result and its certificate, one for each layout."""
    folders = {}
    for name, params in {
        "sharded": {},
        "chunks": {"ngff": "0.4"},
        "collection": {"all_series": True},
        "tiff": {"format": "ome.tiff"},
        "tiff of all": {"format": "ome.tiff", "all_series": True},
    }.items():
        folder = tmp_path_factory.mktemp("certified")
        assert convert(folder, source, **params) is None
        folders[name] = folder
    return folders


@pytest.mark.parametrize("layout", ["sharded", "chunks", "collection", "tiff", "tiff of all"])
def test_any_bit_that_changes_later_is_found(tmp_path, certified, layout):
    """Also in metadata, the index of a shard, and pixels beyond the edge of the image."""
    folder = certified[layout]
    certificate = folder / "c.json"
    image = next(path for path in folder.iterdir() if path.name.startswith("i.ome"))
    assert verify(tmp_path, image=image, certificate=certificate) is None
    rng = np.random.default_rng(0)
    files = [image] if image.is_file() else [path for path in image.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    if layout == "sharded":
        assert {"zarr.json", "METADATA.ome.xml", "0"} <= names
    for _ in range(12):
        path = Path(rng.choice(sorted(files)))
        content = path.read_bytes()
        changed = bytearray(content)
        place = int(rng.integers(len(content)))
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        error = verify(tmp_path, image=image, certificate=certificate)
        path.write_bytes(content)
        assert isinstance(error, VerificationError), f"byte {place} of {path}: {error!r}"
        assert '"verdict": "different"' in (tmp_path / "v.json").read_text()


def test_a_file_that_is_lost_later_is_found_though_its_pixels_are_zero(tmp_path):
    source = tmp_path / "zeros.tif"
    tifffile.imwrite(source, np.zeros((2, 64, 64), np.uint8), metadata={"axes": "ZYX"})
    assert convert(tmp_path, source, chunk_px=32, shard_mib=0) is None
    image, certificate = tmp_path / "i.ome.zarr", tmp_path / "c.json"
    lost = image / "0" / "c" / "1" / "1" / "1"
    lost.unlink()
    error = verify(tmp_path, image=image, certificate=certificate)
    assert "The bytes of the result differ while its pixels are the same" in error.found


def test_the_planes_of_a_certificate_tell_where_a_change_lies(tmp_path, certified):
    image, certificate = (certified["sharded"] / name for name in ("i.ome.zarr", "c.json"))
    content = json.loads(certificate.read_text())
    content["planes"][1]["digest"] = "sha256:0"
    (tmp_path / "other.json").write_text(json.dumps(content))
    error = verify(tmp_path, image=image, certificate=tmp_path / "other.json")
    assert "A plane is not the certified one at t=0 c=0 z=1" in error.found
