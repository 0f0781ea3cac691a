"""The journal of what Parfocal has on a server: written before and after, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.errors import InputError, LeaseLostError, StorageError
from parfocal.models.omero_server import OmeroServer
from parfocal.omero.annotate.journal import Journal, Owned, new_token
from parfocal.steps.annotations.servers import journal_path, open_journal

TARGET = "omero://omero.example.org/image/7"


def begun(token: str, entry_id: str = "0" * 16, **changes: object) -> Owned:
    return Owned(token, TARGET, entry_id, "tag", "1" * 16, "run-1", **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "annotations" / "server.jsonl"


def test_what_was_begun_and_made_is_read_again(path: Path) -> None:
    known = {"links": (3,), "tags": (1, 2), "sets": (9,), "datasets": (4, 2)}
    first = begun("a", tag="done 🧫", tag_set="set", **known)
    journal = Journal(path)
    journal.begin([first, begun("b", said="digest")])
    journal.finish({"b": {"Roi": [5, 6, 7, 1]}})
    again = Journal(path)
    assert again.all() == journal.all()
    one, other = again.of(TARGET)
    assert one == first
    assert (other.finished, other.said, other.objects) == (True, "digest", {"Roi": [5, 6, 7, 1]})
    assert again.targets == [TARGET]


OLD = """\
{"begin": {"token": "a", "target": "omero://omero.example.org/image/7", "entry_id": "0", \
"kind": "comment", "content": "1", "run_id": "run-1", "user_id": 3, "tag": "", "tag_set": "", \
"links": [], "tags": [], "sets": []}}
{"made": "a", "objects": {"CommentAnnotation": [[7, 7]]}, "said": "digest"}
{"begin": {"token": "b", "target": "omero://omero.example.org/image/7", "entry_id": "1", \
"kind": "tag", "content": "2", "run_id": "run-1", "tag": "done", "links": [4], "tags": [2, 5]}}
{"made": "b", "objects": {"ImageAnnotationLink": [[8, 9]]}}
"""
"""A journal of versions that knew no datasets, and wrote what was said when it was made."""


def test_journals_of_earlier_versions_are_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(OLD, "utf-8")
    journal = Journal(path)
    comment, tag = journal.all()
    assert (comment.said, comment.finished, comment.user_id) == ("digest", True, 3)
    assert (comment.datasets, comment.objects) == ((), {"CommentAnnotation": [7]})
    assert (tag.tag, tag.links, tag.tags, tag.sets) == ("done", (4,), (2, 5), ())
    assert (tag.said, tag.objects) == ("", {"ImageAnnotationLink": [8, 9]})
    journal.begin([begun("c", said="new")])
    journal.finish({"c": {"TagAnnotation": [1]}})
    assert [owned.said for owned in Journal(path).all()] == ["digest", "", "new"]


def test_what_is_gone_is_forgotten(path: Path) -> None:
    journal = Journal(path)
    journal.begin([begun("a"), begun("b")])
    journal.forget(["a", "unknown"])
    assert [owned.token for owned in Journal(path).all()] == ["b"]
    assert Journal(path).of("omero://omero.example.org/image/8") == []


@given(st.lists(st.integers(1, 1 << 60) | st.integers(1, 20), max_size=40))
def test_ids_keep_their_order(tmp_path_factory: pytest.TempPathFactory, ids: list[int]) -> None:
    path = tmp_path_factory.mktemp("journal") / "server.jsonl"
    journal = Journal(path)
    journal.begin([begun("a")])
    journal.finish({"a": {"Roi": ids}})
    assert Journal(path).all()[0].objects == {"Roi": ids}


@pytest.mark.parametrize("left", [1, 20, -1])
def test_a_last_line_that_was_cut_is_left_out_and_written_over(path: Path, left: int) -> None:
    Journal(path).begin([begun("a")])
    whole = path.read_bytes()
    Journal(path).begin([begun("b")])
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:left])
    journal = Journal(path)
    assert [owned.token for owned in journal.all()] == ["a"]
    journal.begin([begun("c")])
    assert [owned.token for owned in Journal(path).all()] == ["a", "c"]


@pytest.mark.parametrize(
    "damage", [b"nonsense\n", b'{"made": "unknown", "objects": {}}\n', b"[]\n"]
)
def test_damage_elsewhere_is_told(path: Path, damage: bytes) -> None:
    Journal(path).begin([begun("a")])
    path.write_bytes(damage + path.read_bytes())
    with pytest.raises(InputError, match="journal of annotations is damaged") as caught:
        Journal(path)
    assert "line 1" in str(caught.value)


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    journal = Journal(tmp_path / "new" / "server.jsonl")
    (tmp_path / "new").symlink_to(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot be written"):
        journal.begin([begun("a")])
    assert journal.all() == []


def test_who_was_thought_dead_takes_nothing_from_the_journal(tmp_path: Path) -> None:
    server = OmeroServer("omero.example.org")
    path = journal_path(tmp_path, server)
    lease = path.with_name(f".{path.name}.lease")
    with open_journal(tmp_path, server) as slept:
        slept.begin([begun("a")])
        lease.write_text('{"token": "of another"}', "utf-8")
        Journal(path).begin([begun("b")])
        there = path.read_bytes()
        for change in (lambda: slept.begin([begun("c")]), lambda: slept.forget(["a"])):
            with pytest.raises(LeaseLostError, match="took over"):
                change()
    assert path.read_bytes() == there
    assert [owned.token for owned in slept.all()] == ["a"]


def test_tokens_differ() -> None:
    assert len({new_token() for _ in range(100)}) == 100
