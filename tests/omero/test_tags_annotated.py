"""Tags that users, other results folders and other users put on the same targets, or take away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import omero
import pytest
from omero.rtypes import rdouble, rstring

from annotating import Desk, numbers_in
from omero_connections import forget_connections
from omero_objects import annotated, image, projection, save, tag, upload_image
from omero_state import contents, held
from parfocal.errors import ConfigurationError, RemoteError, VerificationError
from parfocal.models.annotation_entries import RUN_NAMESPACE, Comment, Tag
from parfocal.provenance.records import iter_records

NAMED = "select a.id from TagAnnotation a where a.textValue = :name"
LINKED = (
    "select l.id from ImageAnnotationLink l, TagAnnotation a where l.child.id = a.id "
    "and l.parent.id = :image and a.textValue = :name order by l.id"
)


@pytest.fixture
def name(target: str) -> str:
    """The name of a tag, which no other test has."""
    return f"segmented {number_of(target)}"


@pytest.fixture
def desk(target: str, name: str, tmp_path: Path) -> Desk:
    """A plan with one tag for one image."""
    made = Desk(tmp_path / "results")
    made.targets[target] = [Tag.planned(target, name=name)]
    return made


@pytest.fixture
def login(server: Any, monkeypatch: pytest.MonkeyPatch, logged_in: str) -> Callable[[str], None]:
    """Let Parfocal be another user: ``login("bob")``."""

    def be(user: str) -> None:
        monkeypatch.setenv("OMERO_USER", user)
        monkeypatch.setenv("OMERO_PASSWORD", server.password(user))
        forget_connections()

    return be


def number_of(uri: str) -> int:
    return int(uri.rpartition("/")[2])


def link(gateway: Any, uri: str, annotation: Any) -> int:
    """Link an annotation to an image by hand; return the id of the link."""
    image = omero.model.ImageI(number_of(uri), False)
    return int(save(gateway, annotated(image, annotation)).id.val)


def unlink(gateway: Any, uri: str, name: str) -> None:
    """Take a tag off an image by hand."""
    ids = projection(gateway, LINKED, image=number_of(uri), name=name)
    assert ids
    gateway.deleteObjects("ImageAnnotationLink", ids, wait=True)


def warnings_of(desk: Desk, step: str) -> str:
    """Return what the last attempt of a step warned of."""
    records = [each for each in iter_records(desk.folder) if each.step == step]
    return str(max(records, key=lambda each: each.attempt).warnings)


def test_a_tag_that_a_user_had_linked_and_takes_away_is_made(
    desk: Desk, target: str, name: str, alice, root
) -> None:
    save(alice, tag(name))
    before = held(root)
    link(alice, target, omero.model.TagAnnotationI(*projection(alice, NAMED, name=name), False))
    assert numbers_in(desk.apply(), target) == (1, 0, 0, 0)
    assert desk.verify()["verdict"] == "verified"
    unlink(alice, target, name)
    with pytest.raises(VerificationError, match=f"tag {name}: it is no longer on the object"):
        desk.verify()
    assert numbers_in(desk.apply(), target) == (0, 1, 0, 0)
    assert desk.verify()["verdict"] == "verified"
    desk.revert()
    assert held(root) == before


def test_a_tag_of_two_results_folders_outlives_the_first(
    desk: Desk, target: str, tmp_path: Path, root
) -> None:
    before = held(root)
    desk.apply()
    other = Desk(tmp_path / "other", dict(desk.targets), "run-2")
    other.apply()
    desk.revert()
    with pytest.raises(VerificationError, match="it is no longer on the object"):
        other.verify()
    other.apply()
    assert other.verify()["verdict"] == "verified"
    other.revert()
    assert held(root) == before


def test_a_tag_that_a_user_links_anew_is_good(
    desk: Desk, target: str, name: str, alice, faults
) -> None:
    desk.apply()
    (ours,) = projection(alice, NAMED, name=name)
    unlink(alice, target, name)
    theirs = link(alice, target, tag(name))
    assert desk.verify()["verdict"] == "verified"
    assert numbers_in(desk.apply(), target) == (0, 0, 1, 0)
    assert projection(alice, LINKED, image=number_of(target), name=name) == [theirs]
    desk.revert()
    assert projection(alice, LINKED, image=number_of(target), name=name) == [theirs]
    assert ours not in projection(alice, NAMED, name=name)


def test_a_tag_of_ours_that_somebody_renamed_is_not_replaced_unasked(
    desk: Desk, target: str, name: str, alice, root
) -> None:
    before = held(root)
    desk.apply()
    (number,) = projection(alice, NAMED, name=name)
    ours = alice.getQueryService().get("TagAnnotation", number)
    ours.textValue = rstring(f"better {name}")
    save(alice, ours)
    with pytest.raises(VerificationError, match="it is no longer on the object"):
        desk.verify()
    written = held(root)
    with pytest.raises(ConfigurationError, match="edited on the server") as caught:
        desk.apply()
    assert caught.value.where == f"tag of {target}"
    assert held(root) == written
    assert desk.revert()["targets"] == {target: {"removed": 0, "kept": 1}}
    assert held(root) == written
    desk.apply(overwrite_edited=True)
    assert desk.verify()["verdict"] == "verified"
    assert projection(alice, NAMED, name=f"better {name}") == []
    desk.revert()
    assert held(root) == before


def test_tags_of_many_targets_are_asked_for_at_once(
    target: str, name: str, tmp_path: Path, alice, logged_in: str, faults
) -> None:
    desk = Desk(tmp_path / "results")
    counts = []
    for uri in (target, *(f"{logged_in}/image/{upload_image(alice)}" for _ in range(3))):
        desk.targets[uri] = [Tag.planned(uri, name=name), Tag.planned(uri, name=f"more {name}")]
        desk.apply()
        last = faults.last()
        desk.apply()
        desk.verify()
        counts.append(len(faults.journal("IQuery", "*", since=last)))
    assert set(counts) == {counts[0]}


def test_what_somebody_redrew_stays_where_another_roi_is_gone(
    target: str, tmp_path: Path, alice, root
) -> None:
    desk = Desk(tmp_path / "results")
    desk.targets[target] = desk.everything(target)
    desk.apply()
    rois = alice.getRoiService().findByImage(number_of(target), None).rois
    shape = rois[2].copyShapes()[0]
    shape.x = rdouble(shape.x.val + 1)
    alice.getUpdateService().saveObject(shape)
    alice.deleteObjects("Roi", [rois[0].id.val], wait=True)
    written = held(root)
    with pytest.raises(ConfigurationError, match="edited on the server"):
        desk.apply()
    assert held(root) == written
    desk.apply(overwrite_edited=True)
    assert desk.verify()["verdict"] == "verified"


@pytest.mark.parametrize("index", [0, 1])  # of an object on one plane, and of one on two
def test_a_shape_that_somebody_deleted_counts_as_edited(
    index: int, target: str, tmp_path: Path, alice, root
) -> None:
    desk = Desk(tmp_path / "results")
    desk.targets[target] = desk.everything(target)
    desk.apply()
    rois = alice.getRoiService().findByImage(number_of(target), None).rois
    shapes = sorted(rois, key=lambda each: each.id.val)[index].copyShapes()
    assert len(shapes) == 1 + index
    alice.deleteObjects("Shape", [shapes[0].id.val], wait=True)
    with pytest.raises(VerificationError, match="its shapes are not those of the object"):
        desk.verify()
    assert numbers_in(desk.apply(), target)[:2] == (0, 0)
    assert "edited on the server since, and stay so" in warnings_of(desk, "apply-annotations")
    desk.apply(overwrite_edited=True)
    assert desk.verify()["verdict"] == "verified"


def test_tags_that_others_have_in_a_read_only_group_are_not_used(
    name: str, tmp_path: Path, gateway, logged_in: str, root
) -> None:
    alice, bob = gateway("alice", "readonly"), gateway("bob", "readonly")
    theirs = save(bob, tag(name)).id.val
    of_sets = tag(f"set of {name}")
    of_sets.ns = rstring("openmicroscopy.org/omero/insight/tagset")
    save(bob, of_sets)
    uri = f"{logged_in}/image/{save(alice, image('of alice')).id.val}"
    before = held(root)
    desk = Desk(tmp_path / "results")
    desk.targets[uri] = [Tag.planned(uri, name=name, tag_set=f"set of {name}")]
    desk.apply()
    assert desk.verify()["verdict"] == "verified"
    assert len(held(root)["Annotation"] - before["Annotation"]) == 2
    assert theirs in projection(bob, NAMED, name=name)
    desk.revert()
    assert held(root) == before


def test_each_of_two_users_takes_back_their_own(
    target: str, tmp_path: Path, alice, logged_in: str, login, root
) -> None:
    other = f"{logged_in}/image/{upload_image(alice)}"
    before = held(root)
    desk = Desk(tmp_path / "results")
    desk.targets[target] = [desk.attachment(target, "shared.txt", b"shared")]
    desk.apply()
    login("bob")
    desk.run_id = "run-2"
    desk.targets[other] = [desk.attachment(other, "shared.txt")]
    assert numbers_in(desk.apply(), target) == (0, 0, 1, 0)
    login("alice")
    desk.run_id = "run-1"
    both = dict(desk.targets)
    desk.targets = {target: both[target]}
    desk.revert()
    login("bob")
    desk.run_id, desk.targets = "run-2", both
    desk.revert()
    assert held(root) == before


def test_tags_that_another_user_applied_are_good_for_all(
    desk: Desk, target: str, name: str, alice, login, root
) -> None:
    desk.apply()
    written = held(root)
    login("bob")
    assert desk.verify()["verdict"] == "verified"
    assert numbers_in(desk.apply(), target) == (0, 0, 1, 0)
    assert held(root) == written
    unlink(alice, target, name)
    with pytest.raises(VerificationError, match="it is no longer on the object"):
        desk.verify()


def test_links_of_others_do_not_stand_for_ours(
    desk: Desk, target: str, name: str, alice, gateway
) -> None:
    desk.apply()
    unlink(alice, target, name)
    link(gateway("bob"), target, tag(name))
    with pytest.raises(VerificationError, match="it is no longer on the object"):
        desk.verify()
    desk.apply()
    assert desk.verify()["verdict"] == "verified"


def comment(target: str) -> Comment:
    return Comment.planned(target, namespace=RUN_NAMESPACE, text="hello")


def begun_only(desk: Desk) -> None:
    """Leave in the journal what a kill right after its begin would, and nothing on the server."""
    desk.apply()
    lines = desk.journal().read_text("utf-8").splitlines(keepends=True)
    desk.revert()
    desk.journal().write_text("".join(line for line in lines if '"begin"' in line), "utf-8")


@pytest.mark.parametrize("tag_set", [None, "a set"])
def test_a_tag_that_a_user_linked_after_a_kill_stays(
    tag_set: str | None, target: str, name: str, tmp_path: Path, alice, root
) -> None:
    desk = Desk(tmp_path / "results")
    tag_set = tag_set and f"{tag_set} {name}"
    desk.targets[target] = [Tag.planned(target, name=name, tag_set=tag_set), comment(target)]
    begun_only(desk)
    theirs = link(alice, target, tag(name))
    before = held(root)
    desk.apply()
    assert projection(alice, LINKED, image=number_of(target), name=name) == [theirs]
    assert desk.verify()["verdict"] == "verified"
    desk.revert()
    assert held(root) == before


def test_a_file_of_ours_that_a_user_linked_after_a_kill_stays(
    target: str, tmp_path: Path, alice, logged_in: str
) -> None:
    other = f"{logged_in}/image/{upload_image(alice)}"
    desk = Desk(tmp_path / "results")
    desk.targets[target] = [desk.attachment(target, "linked.txt", b"linked")]
    desk.apply()
    whole = desk.journal().read_text("utf-8")
    desk.targets[other] = [comment(other)]
    desk.apply()
    more = desk.journal().read_text("utf-8").removeprefix(whole).splitlines(keepends=True)
    desk.journal().write_text(whole + more[0], "utf-8")
    query = "select max(a.id) from FileAnnotation a where a.file.name = 'linked.txt'"
    (number,) = projection(alice, query)
    theirs = link(alice, other, omero.model.FileAnnotationI(number, False))
    desk.apply()
    query = "select l.id from ImageAnnotationLink l where l.child.id = :number order by l.id"
    assert theirs in projection(alice, query, number=number)
    assert desk.verify()["verdict"] == "verified"


def test_an_undo_leaves_what_is_finished(desk: Desk, target: str, name: str, alice, root) -> None:
    before = held(root)
    desk.apply()
    lines = desk.journal().read_text("utf-8").splitlines(keepends=True)
    (begun,) = [line for line in lines if '"begin"' in line]
    token = begun.partition('"token": "')[2][:32]
    again = begun.replace(token, "f" * 32)
    desk.journal().write_text("".join([again, *lines]), "utf-8")
    linked = projection(alice, LINKED, image=number_of(target), name=name)
    assert numbers_in(desk.apply(), target) == (0, 0, 1, 0)
    assert projection(alice, LINKED, image=number_of(target), name=name) == linked
    assert desk.verify()["verdict"] == "verified"
    desk.revert()
    assert held(root) == before


@pytest.mark.parametrize("how", ["applied", "reverted", "left out and reverted"])
def test_a_tag_that_was_half_made_is_no_other_targets(
    how: str, target: str, name: str, tmp_path: Path, alice, logged_in: str, root
) -> None:
    first = f"{logged_in}/image/{upload_image(alice)}"
    before = held(root)
    desk = Desk(tmp_path / "results")
    desk.targets[target] = [Tag.planned(target, name=name, tag_set=f"set of {name}")]
    desk.apply()
    lines = desk.journal().read_text("utf-8").splitlines(keepends=True)
    desk.journal().write_text("".join(line for line in lines if '"begin"' in line), "utf-8")
    both = {first: [Tag.planned(first, name=name, tag_set=f"set of {name}")], **desk.targets}
    desk.targets = dict(list(both.items())[: 1 if how.startswith("left out") else 2])
    if how != "reverted":
        desk.apply()
        assert desk.verify()["verdict"] == "verified"
    desk.revert(all_runs=True)
    assert held(root) == before


@pytest.mark.parametrize(("comments", "nth"), [(0, 1), *((1, nth) for nth in range(1, 5))])
def test_a_failure_that_was_undone_in_part_is_made_good_by_the_next_call(
    comments: int, nth: int, target: str, name: str, tmp_path: Path, root, faults
) -> None:
    before = held(root)
    desk = Desk(tmp_path / "results")
    desk.targets[target] = [
        Tag.planned(target, name=name, tag_set=f"set of {name}"),
        *[comment(target)] * comments,
    ]
    desk.apply()
    whole = contents(root, before)
    desk.revert()
    faults.refuse("IUpdate", "saveAndReturnArray", "ResourceError", when="after")
    rule = faults.refuse("*", "submit", "ResourceError", nth=nth)
    with pytest.raises(RemoteError, match="asked for by a test"):
        desk.apply()
    assert faults.seen(rule) == nth
    faults.reset()
    desk.apply()
    assert contents(root, before) == whole
    assert desk.verify()["verdict"] == "verified"
    desk.revert()
    assert held(root) == before
