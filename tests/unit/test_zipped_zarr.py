"""An OME-Zarr in a zip file: found by content, digested unpacked, and never trusted."""

from __future__ import annotations

import itertools
import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from galaxy_samples import zipped
from memory_images import save
from parfocal.core import zipped_zarr
from parfocal.core.digest import digest_zarr
from parfocal.core.zipped_zarr import find_zipped_zarr, is_zip, zipped_files
from parfocal.errors import InputError, StorageError

ROOT = b'{"zarr_format": 3, "node_type": "group"}'


@pytest.fixture
def image(tmp_path):
    """Return an OME-Zarr with a file in it that is none of its keys."""
    pixels = np.arange(12 * 20, dtype=np.uint16).reshape(12, 20)
    path = save(tmp_path / "image.ome.zarr", pixels, "YX")
    (path / "notes.txt").write_text("mine")
    return path


def packed(image, target, inside="", method=zipfile.ZIP_DEFLATED):
    """Pack an OME-Zarr in a zip file, into the folder `inside` of it."""
    with zipfile.ZipFile(target, "w", method) as out:
        for file in sorted(image.rglob("*")):
            out.write(file, inside + file.relative_to(image).as_posix())
    return target


def written(path, files):
    path.write_bytes(zipped(files))
    return path


@pytest.mark.parametrize(
    ("name", "inside", "method", "called"),
    [
        ("a.ome.zarr.zip", "", zipfile.ZIP_STORED, "a.ome.zarr"),
        ("dataset_7.dat", "", zipfile.ZIP_DEFLATED, "dataset_7.dat"),
        ("b.ozx", "cells.ome.zarr/", zipfile.ZIP_DEFLATED, "cells.ome.zarr"),
        ("c.zip", 'it\'s "odd" $x/', zipfile.ZIP_LZMA, 'it\'s "odd" $x'),
    ],
)
def test_it_is_unpacked_as_it_was_and_has_the_same_digest(
    tmp_path, image, name, inside, method, called
):
    found = find_zipped_zarr(packed(image, tmp_path / name, inside, method))
    assert found.name == called
    assert found.digest() == digest_zarr(image)
    (tmp_path / "scratch").mkdir()
    unpacked = found.unpack(tmp_path / "scratch")
    assert unpacked == tmp_path / "scratch" / called
    files = [path.relative_to(image) for path in image.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(
        path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()
    )
    assert all((unpacked / name).read_bytes() == (image / name).read_bytes() for name in files)
    assert found.size_bytes == sum(
        (image / name).stat().st_size for name in files if name.name != "notes.txt"
    )


def test_what_macos_adds_is_left_out(tmp_path):
    files = {"a.zarr/zarr.json": ROOT, "__MACOSX/a.zarr/._zarr.json": b"x", ".DS_Store": b"y"}
    found = find_zipped_zarr(written(tmp_path / "a.zip", files))
    assert (found.name, list(found.members)) == ("a.zarr", ["zarr.json"])


def test_what_is_no_zip_or_holds_no_zarr_is_none(tmp_path, image):
    text = tmp_path / "a.ome.zarr.zip"
    text.write_text("no zip")
    assert find_zipped_zarr(text) is None
    assert find_zipped_zarr(image) is None
    assert find_zipped_zarr(tmp_path / "missing.zip") is None
    assert not is_zip(text)
    deeper = written(tmp_path / "b.zip", {"a/b/zarr.json": ROOT, "a/readme": b""})
    assert is_zip(deeper)
    assert find_zipped_zarr(deeper) is None


def test_several_in_one_are_refused_by_their_names(tmp_path):
    path = written(tmp_path / "a.zip", {"one/zarr.json": ROOT, "two/.zgroup": b"{}"})
    with pytest.raises(InputError, match=r"several OME-Zarrs.*found one, two"):
        find_zipped_zarr(path)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "a.zarr/../../out", "../out", "a.zarr\\c\\0", "C:\\x", "a\0b"]
)
def test_paths_that_lead_elsewhere_are_refused(tmp_path, name):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a.zarr/zarr.json", ROOT)
        info = zipfile.ZipInfo("x")
        info.filename = name
        out.writestr(info, b"evil")
    with pytest.raises(InputError, match="cannot be unpacked safely"):
        find_zipped_zarr(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a.zarr/zarr.json", ROOT)
        info = zipfile.ZipInfo("a.zarr/c")
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        out.writestr(info, "/etc")
    with pytest.raises(InputError, match="no links"):
        find_zipped_zarr(path)


def test_a_file_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a.zarr/zarr.json", ROOT)
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("a.zarr/zarr.json", b"{}")
    with pytest.raises(InputError, match="each file once"):
        find_zipped_zarr(path)


def test_a_file_within_a_file_is_refused(tmp_path):
    files = {"zarr.json": ROOT, "c": b"x", "c/0": b"y"}
    found = find_zipped_zarr(written(tmp_path / "a.zip", files))
    with pytest.raises(InputError, match="no file within a file"):
        found.unpack(tmp_path)


def test_a_password_is_refused(tmp_path):
    path = written(tmp_path / "a.zip", {"zarr.json": ROOT, "c/0": b"secret"})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="no password"):
        find_zipped_zarr(path)


def test_more_than_the_disk_takes_is_refused_before_a_byte_is_written(tmp_path, image, monkeypatch):
    found = find_zipped_zarr(packed(image, tmp_path / "a.zip"))
    monkeypatch.setattr(zipped_zarr.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=100))
    (tmp_path / "scratch").mkdir()
    with pytest.raises(StorageError, match="no room"):
        found.unpack(tmp_path / "scratch")
    assert not list((tmp_path / "scratch").iterdir())


def test_no_more_is_unpacked_than_the_directory_states(tmp_path):
    """A bomb that understates its size in the directory ends at that size, as damaged."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("zarr.json", ROOT)
        out.writestr("c/0", bytes(1 << 20))
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02")
    content[at + 24 : at + 28] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    found = find_zipped_zarr(path)
    with pytest.raises(InputError, match="damaged"):
        found.unpack(tmp_path)
    assert (tmp_path / "a" / "c/0").stat().st_size <= 10


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_damage_anywhere_is_told_or_harmless(tmp_path, image, method):
    path = packed(image, tmp_path / "a.zip", method=method)
    whole = path.read_bytes()
    numbers = itertools.count()
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        scratch = tmp_path / f"s{next(numbers)}"
        scratch.mkdir()
        try:
            found = find_zipped_zarr(path)
            assert found is None or found.digest() == digest_zarr(found.unpack(scratch))
        except InputError:
            pass
        assert all(Path(entry).is_relative_to(scratch) for entry in scratch.rglob("*"))


@pytest.mark.parametrize("after", [b"", b"PK\3\4 and more"])
def test_a_zip_file_within_is_not_read_for_the_whole(tmp_path, image, after):
    inner = packed(image, tmp_path / "inner.zip")
    path = tmp_path / "outer.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.write(inner, "inputs/inner.ome.zarr.zip")
        out.writestr("zarr.json", ROOT)
    content = path.read_bytes()
    assert find_zipped_zarr(path) is not None
    path.write_bytes(content[: content.index(inner.read_bytes()) + inner.stat().st_size] + after)
    with pytest.raises(InputError, match=r"damaged.*cut off"):
        find_zipped_zarr(path)
    with pytest.raises(InputError, match=r"damaged.*cut off"):
        zipped_files(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_told(tmp_path, image, kept):
    path = packed(image, tmp_path / "a.zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match="damaged"):
        find_zipped_zarr(path)
