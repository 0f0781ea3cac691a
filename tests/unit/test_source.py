"""Sources, the keys of their originals, and the image_ids made from them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.errors import ConfigurationError, InputError
from parfocal.models.manifest import Manifest, ManifestFile, read_manifest
from parfocal.models.naming import earlier_names, image_id_of
from parfocal.models.omero_server import OmeroServer
from parfocal.models.sheet import Row
from parfocal.models.source import (
    BiaSource,
    HttpSource,
    IdrSource,
    LocalSource,
    OmeroSource,
    S3Source,
    is_uri,
    link_of,
    parse_source,
    source_key,
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("data/a.tif", "data/a.tif"),
        ("/data/a b [1] $x 'q'.tif", "/data/a b [1] $x 'q'.tif"),
        ("a:b.tif", "a:b.tif"),
        ("file:///data/a%20b.tif", "/data/a b.tif"),
        ("file://localhost/data/ä.tif", "/data/ä.tif"),
    ],
)
def test_paths_and_file_uris(text, path):
    source = parse_source(text)
    assert isinstance(source, LocalSource)
    assert str(source.path) == path


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("https://a.org/x/b.tif", "https://a.org/x/b.tif", "b.tif"),
        ("HTTP://a.org:8080/b.zarr/", "http://a.org:8080/b.zarr", "b.zarr"),
        ("https://a.org/%C3%A4%20b.tif", "https://a.org/%C3%A4%20b.tif", "ä b.tif"),
        ("https://a.org/ä.tif", "https://a.org/%C3%A4.tif", "ä.tif"),
        ("https://a.org/b.tif?download=1", "https://a.org/b.tif?download=1", "b.tif"),
        ("https://a.org", "https://a.org", "download"),
        ("https://a.org/x/..%2F..%2Fetc", "https://a.org/x/..%2F..%2Fetc", "_.._etc"),
    ],
)
def test_urls(text, url, name):
    assert parse_source(text) == HttpSource(url)
    assert parse_source(text).name == name


HOST = OmeroServer("omero.example.org")


@pytest.mark.parametrize(
    ("text", "source", "name"),
    [
        ("s3://bucket/a/b c.zarr/", S3Source("bucket", "a/b c.zarr"), "b c.zarr"),
        ("s3://bucket", S3Source("bucket", ""), "bucket"),
        ("S3://my.bucket-1/100%#?.tif", S3Source("my.bucket-1", "100%#?.tif"), "100%#?.tif"),
        ("omero://omero.example.org/image/1", OmeroSource(HOST, "image", 1), "image-1"),
        (
            "omero+wss://h:444/omero-ws/well/20/",
            OmeroSource(OmeroServer("h", 444, "wss", "/omero-ws"), "well", 20),
            "well-20",
        ),
        ("idr:image/6001240", IdrSource("image", "6001240"), "image-6001240"),
        ("idr:idr0062", IdrSource("study", "idr0062"), "idr0062"),
        ("idr:idr0062A", IdrSource("study", "idr0062/A"), "A"),
        (
            "idr:idr0062-blin-x/experimentA",
            IdrSource("study", "idr0062/experimentA"),
            "experimentA",
        ),
        ("idr:idr0062A/60.zarr", IdrSource("zarr", "idr0062A/60.zarr"), "60.zarr"),
        (
            "idr:idr0010/76-45.ome.zarr",
            IdrSource("zarr", "idr0010/76-45.ome.zarr"),
            "76-45.ome.zarr",
        ),
        ("bia:s-biad634", BiaSource("S-BIAD634"), "S-BIAD634"),
        ("bia:S-BSST265/d/Zelle ü.tif", BiaSource("S-BSST265", "d/Zelle ü.tif"), "Zelle ü.tif"),
    ],
)
def test_archives(text, source, name):
    assert parse_source(text) == source
    assert source.name == name
    assert parse_source(source.uri) == source


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3:///a",
        "s3://b/a",
        "s3://bucket/a/../b",
        "s3://bucket/a//b",
        "omero://host",
        "omero://host/image",
        "omero://host/image/0",
        "omero://host/image/x",
        "omero://host/picture/1",
        "omero:///image/1",
        "omero://host/path/image/1",
        "omero+ftp://host/image/1",
        "idr:",
        "idr:62",
        "idr:idr62",
        "idr:image/0",
        "idr:picture/1",
        "idr:idr0062A/experimentA",
        "idr:idr0062/../a.zarr",
        "bia:",
        "bia:EMPIAR-10310",
        "bia:S-BIAD634/../a",
    ],
)
def test_archives_that_are_not_well_formed(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_source(text)
    assert caught.value.expected
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "a\0b",
        "ftp://a.org/b",
        "file://other/b",
        "https://",
        "https:///a.tif",
        "https://a.org:port/b.tif",
        "https://[::1/b.tif",
        "https://a.org/a b.tif",
        "https://a.org/a.tif#frag",
    ],
)
def test_sources_that_are_none(text):
    with pytest.raises(ConfigurationError):
        parse_source(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://me:hunter2@a.org/b.tif",
        "https://hunter2@a.org/b.tif",
        "https://me:hunter2@a.org:x/b.tif",
        "https://a.org/b.tif?token=hunter2",
        "https://a.org/b.tif?a=1&X-Amz-Signature=hunter2",
        "https://a.org/b.tif?AWSAccessKeyId=hunter2",
        "https://a.org/b.tif?key=hunter2",
        "https://a.org/b.tif?sv=1&sig=hunter2",
        "omero://me:hunter2@host/image/1",
        "s3://id:hunter2@bucket/a.tif",
        "s3://bucket/a.tif?X-Amz-Signature=hunter2",
        "bia:S-BIAD1/a.tif?token=hunter2",
        "ftp://me:hunter2@host/image/1",
    ],
)
def test_secrets_are_refused_and_not_repeated(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_source(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_keys_tell_sources_apart_and_are_safe():
    assert source_key("data/a b.tif") == source_key("./data//a b.tif")
    assert source_key("data/a.tif") != source_key("data2/a.tif")
    assert source_key("https://a.org/x.tif?v=1") != source_key("https://a.org/x.tif?v=2")
    assert source_key("data/Zelle 1.tif").startswith("Zelle_1.tif-")
    assert is_uri("idr:image/1")
    assert not is_uri("idr/image")


@given(st.text(min_size=1))
def test_every_key_is_a_file_name(text):
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", source_key(text))


@given(
    st.text(min_size=1).filter(lambda text: "/" not in text),
    st.booleans(),
    st.sampled_from(["", "0", "A/1/0", "säule"]),
)
def test_every_image_id_is_valid(name, at_home, series):
    image_id = image_id_of(name, f"data/{name}", at_home=at_home, series=series)
    assert Row(image_id=image_id, source="x").image_id == image_id


@given(
    st.lists(st.text("aä .-_1", min_size=1).map("{}.tif".format), unique=True),
    st.sampled_from(["", "0", "1"]),
)
def test_image_ids_are_unique(names, series):
    ids = [image_id_of(name, f"data/{name}", series=series) for name in names]
    assert len(set(ids)) == len(names)


def test_image_ids_read_well():
    assert image_id_of("nuclei-01.tif", "d/nuclei-01.tif") == "nuclei-01"
    assert image_id_of("_run.tif", "d/_run.tif").startswith("_run-")  # "_run" is no image
    for name in ("nuclei-01.tiff", "nuclei-01.TIF", "nuclei-01.TIFF", "nuclei-01.tIfF"):
        assert image_id_of(name, f"d/{name}") == "nuclei-01"
        assert image_id_of(name, f"d/{name}", keep_suffix=True) == name
        assert "nuclei-01.tif" in earlier_names(name)
        assert name not in earlier_names(name)
    assert earlier_names("a.tif") == earlier_names("a.png") == earlier_names("tif") == []
    assert re.fullmatch("dash-[0-9a-f]{8}", image_id_of("-dash.tif", "d/-dash.tif"))
    assert re.fullmatch("nuclei-01-[0-9a-f]{8}", image_id_of("nuclei-01.tif", "d", at_home=False))
    assert re.fullmatch("Zahler_1-[0-9a-f]{8}", image_id_of("Zähler (1).tif", "d"))
    assert re.fullmatch("p.zarr_A_1_0-[0-9a-f]{8}", image_id_of("p.zarr", "d", series="A/1/0"))


def test_a_manifest_comes_back(tmp_path):
    file = ManifestFile(path="a.tif", size_bytes=1, digest="sha256:00", etag='"x"')
    manifest = Manifest(source="https://a.org/a.tif", files=(file,), primary="a.tif")
    (tmp_path / "manifest.json").write_text(manifest.model_dump_json(exclude_none=True))
    assert read_manifest(tmp_path) == manifest
    assert manifest.primary_path(tmp_path) == tmp_path / "a.tif"
    in_place = manifest.model_copy(update={"primary": "/data/a.tif"})
    assert str(in_place.primary_path(tmp_path)) == "/data/a.tif"


def test_a_manifest_that_is_none_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(InputError, match="format"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "link", "beside"),
    [
        ("https://a.org/x/b.tif", "https://a.org/x/b.tif", "https://a.org/x/c%20d.xml"),
        ("s3://bucket/x/ä #1.tif", "s3://bucket/x/%C3%A4%20%231.tif", "s3://bucket/x/c%20d.xml"),
        ("bia:S-BIAD1/x/a b.tif", "bia:S-BIAD1/x/a b.tif", "bia:S-BIAD1/x/c d.xml"),
        ("idr:image/7", "idr:image/7", "idr:image/7#c%20d.xml"),
        ("omero://h/image/7", "omero://h/image/7", "omero://h/image/7#c%20d.xml"),
    ],
)
def test_links_of_sources_and_of_what_comes_with_them(text, link, beside):
    assert link_of(text) == link
    assert link_of(text, "c d.xml") == beside
