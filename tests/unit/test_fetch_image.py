"""The step fetch-image: local sources stay in place, remote ones come; a manifest tells both."""

import hashlib
import json
import os

import numpy as np
import pytest
import tifffile

from ome_tiff_set import write_set
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError, RemoteError
from parfocal.models.manifest import read_manifest
from parfocal.models.sheet import Row
from parfocal.remote.filesets import named_files
from parfocal.steps.fetch_image import STEP, FetchImageParams
from plate_files import write_cellvoyager, write_harmony, write_imagexpress
from webserver import serve


def fetch(source, tmp_path, **kwargs):
    context = Context(scratch=tmp_path, row=Row(image_id="a", source=source), **kwargs)
    out = tmp_path / "original"
    STEP.run({}, {"original": out}, FetchImageParams(), context)
    return out, read_manifest(out), context


def write_zarr(path):
    path.mkdir(parents=True)
    array = {
        "node_type": "array",
        "shape": [2],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1]}},
        "chunk_key_encoding": {"name": "default"},
    }
    ome = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    (path / "zarr.json").write_text(json.dumps({"attributes": {"ome": ome}}))
    (path / "0" / "c").mkdir(parents=True)
    (path / "0" / "zarr.json").write_text(json.dumps(array))
    (path / "0" / "c" / "0").write_bytes(b"chunk")
    return path


def test_a_local_file_stays_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "Zelle [1] $HOME 'ä'.tif"
    (tmp_path / name).write_bytes(b"pixels")
    out, manifest, context = fetch(name, tmp_path)
    assert [path.name for path in out.iterdir()] == ["manifest.json"]
    assert manifest.source == name
    assert manifest.primary == str(tmp_path / name)
    (file,) = manifest.files
    assert (file.path, file.size_bytes) == (manifest.primary, 6)
    assert file.digest == f"sha256:{hashlib.sha256(b'pixels').hexdigest()}"
    assert context.details["bytes"] == 6


def test_a_local_zarr_has_the_digest_of_its_tree(tmp_path):
    source = write_zarr(tmp_path / "a.zarr")
    _, manifest, _ = fetch(str(source), tmp_path)
    assert manifest.files[0].digest == digest_path(source)
    assert manifest.files[0].digest.startswith("zarr-merkle-sha256:")


def test_a_parameter_does_not_go_before_the_sheet(tmp_path):
    (tmp_path / "b.tif").write_bytes(b"b")
    row = Row(image_id="a", source="nowhere.tif")
    params = FetchImageParams(source=str(tmp_path / "b.tif"))
    with pytest.raises(ConfigurationError, match=r"nowhere\.tif.*b\.tif"):
        STEP.run({}, {"original": tmp_path / "o"}, params, Context(scratch=tmp_path, row=row))
    for same in (None, row.model_copy(update={"source": params.source})):
        out = tmp_path / f"out {same is None}"
        STEP.run({}, {"original": out}, params, Context(scratch=tmp_path, row=same))
        assert read_manifest(out).source == params.source


@pytest.mark.parametrize("source", ["nowhere.tif", "folder", "idr:idr0062", "bia:S-BIAD1"])
def test_what_cannot_be_fetched_is_the_users_error(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError) as caught:
        fetch(source, tmp_path)
    assert caught.value.exit_code == 2
    assert caught.value.remedy


def test_without_any_source_it_says_so(tmp_path):
    with pytest.raises(ConfigurationError, match="no source"):
        STEP.run({}, {"original": tmp_path / "o"}, FetchImageParams(), Context(scratch=tmp_path))


def test_a_remote_file_comes_with_its_etag(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.tif").write_bytes(b"pixels")
    with serve(tmp_path / "site") as web:
        out, manifest, _ = fetch(f"{web.url}/a.tif", tmp_path)
    assert manifest.primary_path(out).read_bytes() == b"pixels"
    (file,) = manifest.files
    assert (file.path, file.size_bytes, file.etag) == ("a.tif", 6, '"1"')
    assert file.digest == f"sha256:{hashlib.sha256(b'pixels').hexdigest()}"
    raw = json.loads((out / "manifest.json").read_text())
    assert raw["format"] == "parfocal-manifest-1"


def test_a_remote_zarr_has_the_digest_of_its_source(tmp_path):
    source = write_zarr(tmp_path / "site" / "a.zarr")
    ticks = []
    with serve(tmp_path / "site") as web:
        out, manifest, context = fetch(
            f"{web.url}/a.zarr/", tmp_path, progress=lambda *tick: ticks.append(tick)
        )
    assert manifest.primary == "a.zarr"
    assert manifest.files[0].digest == digest_path(source) == digest_path(out / "a.zarr")
    assert context.details["chunks"] == 2
    assert context.details["absent_chunks"] == 1
    assert context.warnings == []
    assert ticks[-1] == (2, 2)


def test_all_files_of_a_set_stand_in_the_manifest(tmp_path):
    files = write_set(tmp_path)
    _, manifest, _ = fetch(str(files[1]), tmp_path)
    assert manifest.primary == str(files[1])
    assert [file.path for file in manifest.files] == [str(files[1]), str(files[0])]

    def state():
        return STEP.state(FetchImageParams(), Row(image_id="a", source=str(files[1])))

    before = state()
    os.utime(files[0], ns=(1, 2**62))
    assert state() != before


@pytest.mark.parametrize("write", [write_imagexpress, write_harmony, write_cellvoyager])
def test_all_files_of_a_plate_stand_in_the_manifest(tmp_path, write):
    index = write(tmp_path / "plate")
    tiffs = [str(file) for file in index.parent.rglob("*.[Tt][Ii]*")]
    assert len(tiffs) >= 8
    _, manifest, context = fetch(str(index), tmp_path)
    assert manifest.primary == str(index)
    assert {file.path for file in manifest.files} >= {str(index), *tiffs}
    assert context.warnings == []

    def state():
        return STEP.state(FetchImageParams(), Row(image_id="a", source=str(index)))

    before = state()
    os.utime(tiffs[3], ns=(1, 2**62))
    assert state() != before


def test_missing_files_of_a_plate_are_told(tmp_path):
    index = write_harmony(tmp_path / "plate")
    lost = next(index.parent.glob("*.tiff"))
    lost.unlink()
    _, manifest, context = fetch(str(index), tmp_path)
    assert str(lost) not in [file.path for file in manifest.files]
    (told,) = context.warnings
    assert "1 files of the set are missing" in told
    assert str(lost) in told


def test_a_plate_on_a_server_comes_whole(tmp_path):
    index = write_harmony(tmp_path / "site" / "plate")
    lost = sorted(index.parent.glob("*.tiff"))[2]
    lost.unlink()
    with serve(tmp_path / "site") as web:
        out, manifest, context = fetch(f"{web.url}/plate/{index.name}", tmp_path)
    assert len(manifest.files) == 16
    for file in index.parent.iterdir():
        assert (out / file.name).read_bytes() == file.read_bytes()
    (told,) = context.warnings
    assert lost.name in told


def test_a_renamed_file_of_a_set_of_one_names_no_other(tmp_path):
    first, _ = write_set(tmp_path, ("a & b.ome.tif", "other.ome.tif"))
    first.rename(tmp_path / "new.ome.tif")
    assert named_files(tmp_path / "new.ome.tif") == ("other.ome.tif",)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_names_are_found_in_any_tiff_and_in_none_that_is_cut_off(tmp_path, byteorder, bigtiff):
    path = tmp_path / "a.tif"
    text = '<OME UUID="u"><UUID FileName="b.tif">v</UUID><UUID FileName="a.tif">u</UUID></OME>'
    options = {"byteorder": byteorder, "bigtiff": bigtiff, "metadata": None}
    tifffile.imwrite(path, np.zeros((1, 1), np.uint8), description=text, **options)
    assert named_files(path) == ("b.tif",)
    whole = path.read_bytes()
    for size in range(0, whole.index(b"<OME"), 3):
        path.write_bytes(whole[:size])
        assert named_files(path) == ()
    assert named_files(tmp_path) == ()


def test_all_files_of_a_remote_set_come(tmp_path):
    (tmp_path / "site").mkdir()
    files = write_set(tmp_path / "site", ("a & b.ome.tif", "z#1.ome.tif"))
    with serve(tmp_path / "site") as web:
        out, manifest, context = fetch(f"{web.url}/a%20&%20b.ome.tif", tmp_path)
    assert [file.path for file in manifest.files] == ["a & b.ome.tif", "z#1.ome.tif"]
    for file in files:
        assert (out / file.name).read_bytes() == file.read_bytes()
    assert context.warnings == []


def test_a_remote_set_that_is_not_whole_is_told(tmp_path):
    (tmp_path / "site").mkdir()
    _, second = write_set(tmp_path / "site")
    second.unlink()
    with serve(tmp_path / "site") as web:
        _, manifest, context = fetch(f"{web.url}/z0.ome.tif", tmp_path)
    assert len(manifest.files) == 1
    assert "z1.ome.tif" in context.warnings[0]


def test_doubts_about_a_remote_zarr_are_told(tmp_path):
    source = write_zarr(tmp_path / "site" / "a.zarr")
    (source / "0" / "c" / "0").unlink()
    with serve(tmp_path / "site") as web:
        web.absent_status = 403
        _, _, context = fetch(f"{web.url}/a.zarr", tmp_path)
    assert any("no chunk of array 0" in warning for warning in context.warnings)
    assert any("403" in warning for warning in context.warnings)


def test_a_remote_file_that_is_not_there(tmp_path):
    (tmp_path / "site").mkdir()
    with serve(tmp_path / "site") as web, pytest.raises(RemoteError, match="404") as caught:
        fetch(f"{web.url}/a.tif", tmp_path)
    assert caught.value.exit_code == 3


def test_a_remote_file_called_like_the_manifest_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="manifest"):
        fetch("http://127.0.0.1:9/manifest.json", tmp_path)


def test_the_state_changes_with_a_local_source_only(tmp_path):
    file = tmp_path / "a.tif"
    file.write_bytes(b"one")

    def state(source):
        return STEP.state(FetchImageParams(), Row(image_id="a", source=source))

    first = state(str(file))
    assert state(str(file)) == first
    os.utime(file, ns=(1, 1))
    second = state(str(file))
    assert second != first
    file.write_bytes(b"more")
    os.utime(file, ns=(1, 1))
    assert state(str(file)) not in (first, second)
    zarr = write_zarr(tmp_path / "a.zarr")
    before = state(str(zarr))
    (zarr / ".snakemake_timestamp").write_text("stray")
    assert state(str(zarr)) == before
    (zarr / "0" / "c" / "1").write_bytes(b"chunk")
    assert state(str(zarr)) != before
    assert "No such file" in state(str(tmp_path / "nowhere"))
    assert state("https://a.org/a.tif") == "https://a.org/a.tif"
