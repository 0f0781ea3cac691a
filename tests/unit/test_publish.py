import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parfocal.core.publish import (
    Stamp,
    partial_path,
    publish,
    remove_partials,
    remove_tree,
    write_json,
)
from unit.toy_runs import names


def prepared(final, token, content, *, folder):
    partial = partial_path(final, token)
    partial.parent.mkdir(parents=True)
    if folder:
        partial.mkdir()
        (partial / "zarr.json").write_text(content)
    else:
        partial.write_text(content)
    return partial


def text_of(path):
    return (path / "zarr.json" if path.is_dir() else path).read_text()


def test_a_partial_lies_on_the_same_file_system_and_keeps_the_suffix(tmp_path) -> None:
    final = tmp_path / "image.ome.zarr"
    partial = partial_path(final, "t1")
    assert partial.name == final.name
    assert partial.parent.parent == tmp_path
    assert partial.parent.name.startswith(".")
    assert partial != partial_path(final, "t2")


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("old", [None, "file", "folder", "link", "dangling"])
def test_publishing_replaces_whatever_lay_there(tmp_path, folder, old) -> None:
    final = tmp_path / "out"
    target = tmp_path / "target"
    target.mkdir()
    (target / "kept").write_text("kept")
    if old == "file":
        final.write_text("old")
    elif old == "folder":
        final.mkdir()
        (final / "stale").write_text("old")
    elif old:
        final.symlink_to(target if old == "link" else tmp_path / "nowhere")
    publish(prepared(final, "t", "new", folder=folder), final)
    assert text_of(final) == "new"
    assert not final.is_symlink()
    assert not folder or names(final) == ["zarr.json"]
    assert names(tmp_path) == ["out", "target"]
    assert (target / "kept").read_text() == "kept"


def test_partials_of_the_dead_are_removed_and_those_of_others_are_not(tmp_path) -> None:
    final = tmp_path / "a.zarr"
    prepared(final, "t1", "x", folder=True)
    prepared(final, "t2", "x", folder=False)
    other = prepared(tmp_path / "b.zarr", "t3", "x", folder=True)
    (tmp_path / ".a.zarr.stamp.json").write_text("{}")
    remove_partials(final)
    assert names(tmp_path) == [".a.zarr.stamp.json", other.parent.name]
    remove_partials(tmp_path / "none" / "c")


def test_removing_nothing_and_links(tmp_path) -> None:
    remove_tree(tmp_path / "none")
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "link")
    assert names(tmp_path) == ["kept"]


def test_json_is_sorted_and_ends_in_a_line_break(tmp_path) -> None:
    write_json(tmp_path / "new" / "a.json", {"b": 1, "a": "ä"})
    assert (tmp_path / "new" / "a.json").read_text() == '{\n "a": "ä",\n "b": 1\n}\n'
    assert names(tmp_path / "new") == ["a.json"]


def test_json_that_cannot_be_written_leaves_the_old_file_and_no_draft(tmp_path) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, object())
    with pytest.raises(UnicodeEncodeError):
        write_json(path, "\ud800")
    assert names(tmp_path) == ["a.json"]
    assert json.loads(path.read_text()) == 1


def test_json_is_not_written_in_place_of_a_folder(tmp_path) -> None:
    for path in (Path(), Path("/"), tmp_path):
        with pytest.raises(IsADirectoryError):
            write_json(path, {})


def test_two_writers_of_one_json_file_do_not_mix(tmp_path) -> None:
    path = tmp_path / "a.json"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: write_json(path, [n] * 200), range(40)))
    assert len(set(json.loads(path.read_text()))) == 1
    assert names(tmp_path) == ["a.json"]


@pytest.fixture
def final(tmp_path):
    path = tmp_path / "a.ome.zarr"
    path.mkdir()
    (path / "zarr.json").write_text("{}")
    return path


def test_a_stamp_says_what_was_published(final, tmp_path) -> None:
    table = tmp_path / "a.tsv"
    table.write_text("x")
    outputs = {"image": final, "table": table}
    Stamp(final).write("key", {"image": "d1", "table": "d2"}, outputs)
    stamp = Stamp(final)
    assert stamp.key == "key"
    assert stamp.digests == {"image": "d1", "table": "d2"}
    assert stamp.digest() == "d1"
    assert all(stamp.vouches_for(role, path) for role, path in outputs.items())
    table.write_text("changed")
    assert not stamp.vouches_for("table", table)
    assert stamp.digest() == "d1"


def test_a_stamp_does_not_vouch_for_what_was_changed_or_is_gone(final) -> None:
    Stamp(final).write("key", {"image": "d1"}, {"image": final})
    (final / ".snakemake_timestamp").touch()
    assert Stamp(final).digest() == "d1"
    (final / "zarr.json").write_text("{ }")
    assert Stamp(final).digest() is None
    remove_tree(final)
    assert Stamp(final).digest() is None


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"\xff", b"{}"])
def test_no_stamp_and_a_broken_one_vouch_for_nothing(final, content) -> None:
    if content is not None:
        Stamp(final).path.write_bytes(content)
    stamp = Stamp(final)
    assert (stamp.key, stamp.digests, stamp.digest()) == (None, {}, None)
    assert not stamp.vouches_for("image", final)


def test_a_removed_stamp_is_gone_at_once(final) -> None:
    stamp = Stamp(final)
    stamp.write("key", {"image": "d1"}, {"image": final})
    stamp.remove()
    stamp.remove()
    assert stamp.digest() is None
    assert Stamp(final).key is None
