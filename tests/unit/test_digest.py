import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from parfocal.core.digest import (
    digest_json,
    digest_path,
    digest_zarr,
    fingerprint,
    is_zarr,
    size_of,
    zarr_keys,
)
from parfocal.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "digest.md"


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def zarr(tmp_path):
    files = {
        "zarr.json": b"{}",
        "0/zarr.json": b'{"a": 1}',
        "0/c/0/0": b"pixels",
        "0/c/0/10": b"more",
        "0/c/0/9": b"most",
        "labels/nuclei/0/c/0": b"7",
        "OME/METADATA.ome.xml": b"<OME/>",
    }
    return write(tmp_path / "a.ome.zarr", files)


@pytest.fixture
def zarr2(tmp_path):
    files = {".zgroup": b"{}", ".zattrs": b"{}", "0/.zarray": b"{}", "0/0/1": b"p", "1/0.1": b"q"}
    return write(tmp_path / "b.ome.zarr", files)


def by_hand(root):
    lines = b""
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    for name in sorted(names, key=str.encode):
        lines += f"{hashlib.sha256((root / name).read_bytes()).hexdigest()}  {name}\n".encode()
    return "zarr-merkle-sha256:" + hashlib.sha256(lines).hexdigest()


def test_the_digest_is_the_sha256_of_the_list_of_sha256s(zarr, zarr2) -> None:
    assert digest_zarr(zarr) == by_hand(zarr) == digest_path(zarr)
    assert digest_zarr(zarr2) == by_hand(zarr2)
    assert zarr_keys(zarr2) == [".zattrs", ".zgroup", "0/.zarray", "0/0/1", "1/0.1"]


def test_keys_are_sorted_by_their_bytes(zarr) -> None:
    keys = zarr_keys(zarr)
    assert keys == sorted(keys, key=str.encode)
    assert keys.index("0/c/0/10") < keys.index("0/c/0/9")


@pytest.mark.parametrize(
    "stray",
    [
        ".snakemake_timestamp",
        ".DS_Store",
        "0/.snakemake_timestamp",
        "0/c/.nfs0001",
        "0/c/0/0.partial",
        ".zarr.json.tmp",
        "notes.txt",
        "0/OME/METADATA.ome.xml",
        "c.txt",
    ],
)
def test_a_file_that_an_engine_drops_does_not_change_the_digest(zarr, stray) -> None:
    before = digest_zarr(zarr), size_of(zarr), fingerprint(zarr)
    write(zarr, {stray: b"stray"})
    assert (digest_zarr(zarr), size_of(zarr), fingerprint(zarr)) == before


@pytest.mark.parametrize("key", ["zarr.json", "0/zarr.json", "0/c/0/10", "OME/METADATA.ome.xml"])
def test_one_flipped_bit_changes_the_digest(zarr, key) -> None:
    before = digest_zarr(zarr)
    content = bytearray((zarr / key).read_bytes())
    content[-1] ^= 1
    (zarr / key).write_bytes(content)
    assert digest_zarr(zarr) != before


def test_a_missing_an_added_and_a_renamed_chunk_change_the_digest(zarr) -> None:
    digests = {digest_zarr(zarr)}
    (zarr / "0/c/0/9").rename(zarr / "0/c/0/8")
    digests.add(digest_zarr(zarr))
    (zarr / "0/c/0/8").unlink()
    digests.add(digest_zarr(zarr))
    write(zarr, {"0/c/1/0": b""})
    digests.add(digest_zarr(zarr))
    assert len(digests) == 4


def test_threads_do_not_change_the_digest(zarr) -> None:
    assert digest_zarr(zarr, threads=4) == digest_zarr(zarr, threads=1)


def test_a_scalar_array_has_its_chunk(tmp_path) -> None:
    assert zarr_keys(write(tmp_path, {"zarr.json": b"{}", "c": b"1"})) == ["c", "zarr.json"]


def test_chunks_of_zarr_3_count_whatever_separates_their_places(tmp_path) -> None:
    files = {"zarr.json": b"{}", "0/zarr.json": b"{}", "0/c.0.1": b"p", "0/c.txt": b"no chunk"}
    root = write(tmp_path, files)
    before = digest_zarr(root)
    assert zarr_keys(root) == ["0/c.0.1", "0/zarr.json", "zarr.json"]
    (root / "0/c.0.1").write_bytes(b"q")
    assert digest_zarr(root) != before


def test_linked_parts_count_and_a_loop_ends(zarr, tmp_path) -> None:
    expected = digest_zarr(zarr)
    (zarr / "0").rename(tmp_path / "elsewhere")
    (zarr / "0").symlink_to(tmp_path / "elsewhere")
    (zarr / "loop").symlink_to(zarr)
    assert digest_zarr(zarr) == expected


def test_a_file_has_the_sha256_of_its_bytes(tmp_path) -> None:
    path = write(tmp_path, {"a b[1] $x'\".bin": b"x" * 3_000_000}) / "a b[1] $x'\".bin"
    assert digest_path(path) == "sha256:" + hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert size_of(path) == 3_000_000


def test_any_other_folder_counts_all_its_files(tmp_path) -> None:
    folder = write(tmp_path / "crate", {"a.txt": b"1", "b/.hidden": b"2"})
    before = digest_path(folder)
    assert before.startswith("tree-sha256:")
    assert size_of(folder) == 2
    write(folder, {"b/.hidden": b"3"})
    assert digest_path(folder) != before


def manifest(folder, path, digest, **more):
    file = {"path": path, "size_bytes": 1, "digest": digest}
    content = {"format": "parfocal-manifest-1", "source": "s", "files": [file], "primary": path}
    return write(folder, {"manifest.json": json.dumps(content | more).encode()})


def test_fetched_originals_have_the_same_digest_wherever_they_lie(tmp_path) -> None:
    here = digest_path(manifest(tmp_path / "here", "/data/a.tif", "sha256:1"))
    there = digest_path(manifest(tmp_path / "there", "/mnt/a.tif", "sha256:1"))
    other = digest_path(manifest(tmp_path / "other", "/mnt/a.tif", "sha256:2"))
    assert here == there != other
    assert here.startswith("manifest-sha256:")


def test_a_manifest_of_another_program_is_a_file_like_any_other(tmp_path) -> None:
    for number, content in enumerate([b'{"files": 3}', b"[]", b"\xff{", b"{}"]):
        folder = write(tmp_path / str(number), {"manifest.json": content})
        assert digest_path(folder).startswith("tree-sha256:")


def test_a_damaged_manifest_is_an_error_of_the_input(tmp_path) -> None:
    with pytest.raises(InputError, match="manifest is not valid"):
        digest_path(manifest(tmp_path / "a", "a.tif", "sha256:1", files=3))


def test_nothing_there_is_an_error_of_the_input(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        digest_path(tmp_path / "none")


def test_the_fingerprint_tells_a_change_of_content_or_time(zarr) -> None:
    seen = {fingerprint(zarr)}
    (zarr / "0/c/0/0").write_bytes(b"pixels and more")
    seen.add(fingerprint(zarr))
    os.utime(zarr / "0/c/0/0", ns=(1, 1))
    seen.add(fingerprint(zarr))
    assert len(seen) == 3


def test_canonical_json_does_not_depend_on_order() -> None:
    assert digest_json({"b": 1, "a": ["ä"]}) == digest_json({"a": ["ä"], "b": 1})
    assert digest_json({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


def test_what_is_a_zarr(zarr, zarr2, tmp_path) -> None:
    assert is_zarr(zarr)
    assert is_zarr(zarr2)
    assert not is_zarr(tmp_path)
    assert not is_zarr(zarr / "zarr.json")


@pytest.mark.parametrize("language", ["sh", "python"])
def test_the_recipes_of_the_reference_page_give_the_same_digest(zarr, zarr2, language) -> None:
    write(zarr, {"0/.snakemake_timestamp": b"", "notes with spaces.txt": b"x"})
    recipe = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert len(recipe.strip().splitlines()) <= 10
    program = ["bash", "-c"] if language == "sh" else [sys.executable, "-c"]
    for folder in (zarr, zarr2):
        done = subprocess.run(
            [*program, recipe], cwd=folder, capture_output=True, text=True, check=True
        )
        assert "zarr-merkle-sha256:" + done.stdout.split()[0] == digest_zarr(folder)
