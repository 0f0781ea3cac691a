"""Where fetched originals came from."""

from __future__ import annotations

import pytest

from crate_records import artifact, chain, manifest_of, record, write_results
from parfocal.core.digest import digest_json, digest_path
from parfocal.core.publish import write_json
from parfocal.models.image_part import FetchedPart
from parfocal.models.manifest import Manifest, ManifestFile
from parfocal.models.record import Artifact
from parfocal.provenance.crate_sources import with_sources


def sources_of(results, item):
    """Return the inputs of a record with its sources, and the warnings."""
    warnings = []
    return with_sources(item, results, warnings.append).inputs, warnings


@pytest.mark.parametrize(
    ("source", "uri"),
    [("plate/a b.tif", "/data/plate/a b.tif"), ("https://h/x/a.tif", "https://h/x/a.tif")],
)
def test_source_is_an_input_of_the_fetching(tmp_path, source, uri):
    fetch, *others = chain("a", source)
    write_results(tmp_path, [fetch])
    (file,), warnings = sources_of(tmp_path, fetch)
    assert (file.role, file.uri) == ("source", uri)
    assert file.digest == manifest_of(source).files[0].digest
    assert warnings == []
    assert [with_sources(item, tmp_path, warnings.append) for item in others] == others


def test_files_of_a_set_have_addresses_beside_the_first(tmp_path):
    names = ["a.companion.ome", "a 1.tif"]
    digests = [artifact("f", "file", name).digest for name in names]
    files = tuple(
        ManifestFile(path=name, size_bytes=1, digest=digest)
        for name, digest in zip(names, digests, strict=True)
    )
    manifest = Manifest(source="https://h/x/a.companion.ome", files=files, primary=names[0])
    write_json(tmp_path / "o" / "manifest.json", manifest.model_dump(exclude_none=True))
    digest = digest_path(tmp_path / "o")
    assert digest == "manifest-sha256:" + digest_json(sorted(zip(names, digests, strict=True)))
    fetched = Artifact(role="original", kind="folder", uri="o", digest=digest)
    inputs, _ = sources_of(tmp_path, record("fetch-image", "a", outputs=(fetched,)))
    assert [item.uri for item in inputs] == ["https://h/x/a.companion.ome", "https://h/x/a%201.tif"]


@pytest.mark.parametrize(
    ("source", "uris"),
    [("/data/a.ome.zarr", []), ("https://h/a.ome.zarr", ["https://h/a.ome.zarr"])],
)
def test_a_part_is_no_state_of_a_source_on_this_machine(tmp_path, source, uris):
    part = FetchedPart(level=1, region={"X": (0, 8)})
    digest = artifact("f", "ome-zarr", "a.ome.zarr").digest
    file = ManifestFile(path="a.ome.zarr", size_bytes=1, digest=digest)
    manifest = Manifest(source=source, files=(file,), primary=file.path, part=part)
    write_json(tmp_path / "o" / "manifest.json", manifest.model_dump(exclude_none=True))
    fetched = Artifact(role="original", kind="folder", uri="o", digest=digest_path(tmp_path / "o"))
    inputs, warnings = sources_of(tmp_path, record("fetch-image", "a", outputs=(fetched,)))
    assert [item.uri for item in inputs] == uris
    told = f"Of {source} a part was taken: the crate has the digest of the part, and none"
    assert [warning.startswith(told) for warning in warnings] == ([] if uris else [True])


@pytest.mark.parametrize("content", [None, "{}", '{"files": []}', "not json"])
def test_originals_that_are_gone_or_changed_are_warned_about(tmp_path, content):
    fetch = chain("a", "a.tif")[0]
    write_results(tmp_path, [fetch])
    manifest = tmp_path / "originals" / "a" / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_text(content, encoding="utf-8")
    inputs, warnings = sources_of(tmp_path, fetch)
    assert inputs == ()
    assert warnings == ["originals/a is gone or was changed: its sources are not in the crate"]
