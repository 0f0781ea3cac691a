"""Files attached to objects: what goes up comes down, and what is not ours stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from parfocal.errors import InputError, ParfocalError, RemoteError
from parfocal.models.source import parse_source
from parfocal.omero import files
from parfocal.omero.attachments import attach, attachments, download, remove
from parfocal.omero.connection import Connection
from parfocal.omero.credentials import Credentials
from parfocal.omero.states import object_state

NAMESPACE = "parfocal.readthedocs.io/test"


@pytest.fixture
def dataset(alice):
    """A dataset of alice's in her default group, as a source."""
    return make_dataset(alice)


@pytest.fixture
def of_bob(connection, server) -> Iterator[Connection]:
    """A connection of bob to the server of alice's."""
    login = Credentials("bob", server.password("bob"), "the test")
    with Connection(connection.server, login) as made:
        yield made


def make_dataset(gateway, name: str = "for attachments"):
    import omero

    made = omero.model.DatasetI()
    made.name = omero.rtypes.rstring(name)
    number = gateway.getUpdateService().saveAndReturnObject(made, gateway.SERVICE_OPTS).id.val
    return parse_source(f"omero://{gateway.host}:{gateway.port}/dataset/{number}")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "local.bin"
    path.write_bytes(content)
    return path


def original_files(root) -> set[int]:
    """Return the files on the server that attachments were made of."""
    query = "select f.id from OriginalFile f where f.path like 'parfocal/%'"
    rows = root.getQueryService().projection(query, None, {"omero.group": "-1"})
    return {row[0].val for row in rows}


@pytest.mark.parametrize("size", [0, 1, 100_000, (4 << 20) + 1])
def test_a_file_comes_back_as_it_went(connection, dataset, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    attached = attach(connection, dataset, written(tmp_path, content), "a.bin", NAMESPACE)
    assert attached.size_bytes == size
    assert attached.sha1
    download(connection, attached, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_other_clients_see_it(connection, dataset, alice, tmp_path: Path) -> None:
    name = "Zählung 核 \U0001f52c.tsv"
    attach(connection, dataset, written(tmp_path, b"n\n1\n"), name, NAMESPACE)
    (found,) = alice.getObject("Dataset", dataset.id).listAnnotations(ns=NAMESPACE)
    assert found.getFile().getName() == name
    assert found.getFile().getMimetype() == "text/tab-separated-values"
    assert b"".join(found.getFileInChunks()) == b"n\n1\n"


def test_it_replaces_what_it_attached_and_nothing_else(
    connection, dataset, alice, tmp_path: Path
) -> None:
    first = attach(connection, dataset, written(tmp_path, b"1"), "a.txt", NAMESPACE)
    other = attach(connection, dataset, written(tmp_path, b"x"), "b.txt", NAMESPACE)
    elsewhere = attach(connection, dataset, written(tmp_path, b"y"), "a.txt", "other.org")
    second = attach(connection, dataset, written(tmp_path, b"22"), "a.txt", NAMESPACE)
    assert attachments(connection, dataset, NAMESPACE) == [second, other]
    assert attachments(connection, dataset, "other.org") == [elsewhere]
    assert second.updated_s >= first.updated_s
    assert alice.getObject("OriginalFile", first.file_id) is None
    remove(connection, dataset, "a.txt", NAMESPACE)
    assert attachments(connection, dataset, NAMESPACE) == [other]
    assert attachments(connection, dataset, "other.org") == [elsewhere]
    remove(connection, dataset, "a.txt", NAMESPACE)


def test_it_goes_into_the_group_of_the_object(connection, gateway, tmp_path: Path) -> None:
    private = gateway("alice", group="private")
    dataset = make_dataset(private)
    attached = attach(connection, dataset, written(tmp_path, b"1"), "a.txt", NAMESPACE)
    assert attached.group_id == private.getGroupFromContext().getId()
    assert attached.group_id == object_state(connection, dataset).group_id
    assert connection.group_id != attached.group_id


def test_an_object_that_is_missing_or_read_only_gets_nothing(
    connection, gateway, root, tmp_path: Path
) -> None:
    before = original_files(root)
    missing = parse_source("omero://localhost/dataset/999999999")
    with pytest.raises(InputError, match="no such object"):
        attach(connection, missing, written(tmp_path, b"1"), "a.txt", NAMESPACE)
    of_bob = make_dataset(gateway("bob", group="readonly"))
    with pytest.raises(InputError, match="may not annotate"):
        attach(connection, of_bob, written(tmp_path, b"1"), "a.txt", NAMESPACE)
    assert attachments(connection, missing, NAMESPACE) == []
    assert object_state(connection, missing) is None
    assert original_files(root) == before


def test_a_file_that_is_missing_here_is_told(connection, dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        attach(connection, dataset, tmp_path / "absent", "a.txt", NAMESPACE)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("service", "method", "nth"),
    [
        ("RawFileStore", "write", 2),
        ("RawFileStore", "save", 1),
        ("IUpdate", "saveAndReturnObject", 1),
        ("IUpdate", "saveObject", 1),
    ],
)
def test_a_connection_lost_at_any_call_leaves_one_whole_file(
    connection, dataset, faults, root, tmp_path, monkeypatch, service, method, nth, when
) -> None:
    monkeypatch.setattr(files, "_PIECE_BYTES", 1000)
    content = os.urandom(3500)
    before = original_files(root)
    rule = faults.drop(service, method, nth=nth, when=when)
    attached = attach(connection, dataset, written(tmp_path, content), "a.bin", NAMESPACE)
    assert faults.seen(rule) >= nth
    assert attachments(connection, dataset, NAMESPACE) == [attached]
    assert original_files(root) - before == {attached.file_id}
    rule = faults.drop("RawFileStore", "read", nth=2, when=when)
    download(connection, attached, tmp_path / "back")
    assert faults.seen(rule) >= 2
    assert (tmp_path / "back").read_bytes() == content


def test_a_full_disk_is_told_and_leaves_nothing(
    connection, dataset, faults, root, tmp_path: Path
) -> None:
    before = original_files(root)
    attached = attach(connection, dataset, written(tmp_path, b"old"), "a.bin", NAMESPACE)
    faults.fill_disk(10)
    with pytest.raises(RemoteError, match="not the means"):
        attach(connection, dataset, written(tmp_path, bytes(1000)), "a.bin", NAMESPACE)
    faults.reset()
    assert attachments(connection, dataset, NAMESPACE) == [attached]
    assert original_files(root) - before == {attached.file_id}


def test_a_refused_link_takes_the_file_away_again(
    connection, dataset, faults, root, tmp_path: Path
) -> None:
    before = original_files(root)
    faults.refuse("IUpdate", "saveObject", "SecurityViolation")
    with pytest.raises(ParfocalError, match="does not allow"):
        attach(connection, dataset, written(tmp_path, b"1"), "a.bin", NAMESPACE)
    assert original_files(root) == before


def test_a_damaged_file_is_noticed(connection, dataset, own_server, tmp_path: Path) -> None:
    attached = attach(connection, dataset, written(tmp_path, b"whole"), "a.bin", NAMESPACE)
    kept = [path for path in own_server.folder.rglob("*") if path.is_file()]
    (stored,) = [
        path for path in kept if path.stat().st_size == 5 and path.read_bytes() == b"whole"
    ]
    stored.write_bytes(b"wrong")
    with pytest.raises(RemoteError, match="not the same"):
        download(connection, attached, tmp_path / "back")


@pytest.mark.parametrize("group", ["annotate", "write"])
def test_each_user_replaces_and_removes_only_his_or_her_own(
    connection, of_bob, gateway, tmp_path: Path, group: str
) -> None:
    dataset = make_dataset(gateway("alice", group=group))

    def of(user: Connection) -> list:
        return attachments(user, dataset, NAMESPACE, "a.txt")

    def put(user: Connection, content: bytes):
        return attach(user, dataset, written(tmp_path, content), "a.txt", NAMESPACE)

    hers = put(connection, b"alice")
    assert of(of_bob) == [hers]
    remove(of_bob, dataset, "a.txt", NAMESPACE)
    assert of(of_bob) == [hers]
    put(of_bob, b"bob")
    his = put(of_bob, b"bob again")
    assert (hers.owner_id, his.owner_id) == (connection.user_id, of_bob.user_id)
    assert (of(connection), of(of_bob)) == ([hers, his], [his, hers])
    hers = put(connection, b"alice again")
    assert (of(connection), of(of_bob)) == ([hers, his], [his, hers])
    remove(connection, dataset, "a.txt", NAMESPACE)
    assert of(connection) == of(of_bob) == [his]
    remove(of_bob, dataset, "a.txt", NAMESPACE)
    assert of(connection) == of(of_bob) == []


@pytest.mark.parametrize("way", ["replace", "remove"])
def test_what_a_user_linked_to_another_object_stays_there(
    connection, dataset, alice, tmp_path: Path, way: str
) -> None:
    import omero

    first = attach(connection, dataset, written(tmp_path, b"1"), "a.txt", NAMESPACE)
    other = make_dataset(alice, "that the user linked it to")
    link = omero.model.DatasetAnnotationLinkI()
    link.parent = omero.model.DatasetI(other.id, False)
    link.child = omero.model.FileAnnotationI(first.annotation_id, False)
    alice.getUpdateService().saveObject(link)
    new = written(tmp_path, b"2")
    for target in (dataset, other):
        assert first in attachments(connection, other, NAMESPACE)
        if way == "replace":
            expected = [attach(connection, target, new, "a.txt", NAMESPACE)]
        else:
            remove(connection, target, "a.txt", NAMESPACE)
            expected = []
        assert attachments(connection, target, NAMESPACE) == expected
    assert alice.getObject("OriginalFile", first.file_id) is None


def test_what_was_replaced_goes_though_the_answer_is_lost(
    connection, dataset, faults, root, tmp_path: Path
) -> None:
    before = original_files(root)
    attach(connection, dataset, written(tmp_path, b"old"), "a.txt", NAMESPACE)
    rule = faults.drop("Command", "Delete2", when="after")
    attached = attach(connection, dataset, written(tmp_path, b"new"), "a.txt", NAMESPACE)
    assert attachments(connection, dataset, NAMESPACE) == [attached]
    assert original_files(root) - before == {attached.file_id}
    assert faults.seen(rule) >= 1
