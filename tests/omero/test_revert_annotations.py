"""The step revert-annotations: what a run added goes, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import omero.model
import pytest
from omero.rtypes import rstring

from annotating import Desk, numbers_in
from omero_additions import ADDED, folder, ours
from omero_connections import forget_connections
from omero_objects import (
    annotated,
    dataset,
    projection,
    reference,
    save,
    upload_image,
)
from omero_state import LINKED, contents, held
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.annotation_entries import RUN_NAMESPACE, Comment, Tag
from parfocal.omero.annotate.deletion import _LINKED
from parfocal.provenance.records import iter_records


@pytest.fixture
def desk(target: str, tmp_path: Path) -> Desk:
    """A plan with an entry of every kind for one image."""
    made = Desk(tmp_path / "results")
    made.targets[target] = made.everything(target)
    return made


def warnings_of(desk: Desk, step: str = "revert-annotations") -> str:
    """Return what the last attempt of a step warned of."""
    records = [each for each in iter_records(desk.folder) if each.step == step]
    return str(max(records, key=lambda each: each.attempt).warnings)


def test_only_the_original_remains(desk: Desk, target: str, root) -> None:
    nothing = {kind: frozenset() for kind in held(root)}
    before, said = held(root), contents(root, nothing)
    desk.apply()
    told = desk.revert()
    assert told["targets"] == {target: {"removed": 11, "kept": 0}}
    assert held(root) == before
    assert contents(root, nothing) == said
    assert desk.revert()["targets"] == {target: {"removed": 0, "kept": 0}}


def test_what_is_common_goes_with_its_last_target(target, tmp_path, alice, logged_in, root) -> None:
    other = f"{logged_in}/image/{upload_image(alice)}"
    before = held(root)
    desk = Desk(tmp_path)
    for uri in (target, other):
        desk.targets[uri] = [
            Tag.planned(uri, name=f"{name} of {target}", tag_set=f"set of {target}")
            for name in ("one", "two")
        ]
        desk.targets[uri].append(desk.attachment(uri, "shared.txt", b"shared"))
    desk.apply()
    both = dict(desk.targets)
    desk.targets = {target: both[target]}
    desk.revert()
    desk.targets = {other: both[other]}
    desk.verify()
    desk.revert()
    assert held(root) == before


def test_what_a_later_run_added_goes_and_what_an_earlier_one_did_stays(
    desk: Desk, target: str, root
) -> None:
    before = held(root)
    desk.apply()
    first = held(root)
    desk.run_id = "run-2"
    more = Comment.planned(target, namespace="another", text="more")
    desk.targets[target].append(more)
    desk.apply()
    desk.revert()
    assert held(root) == first
    desk.revert(all_runs=True)
    assert held(root) == before


def test_all_runs_goes_beyond_the_plan(desk: Desk, target: str, alice, logged_in, root) -> None:
    other = f"{logged_in}/image/{upload_image(alice)}"
    before = held(root)
    desk.apply()
    desk.targets = {other: [Comment.planned(other, namespace=RUN_NAMESPACE, text="hello")]}
    desk.apply()
    told = desk.revert(all_runs=True)
    assert told["targets"] == {
        other: {"removed": 1, "kept": 0},
        target: {"removed": 11, "kept": 0},
    }
    assert held(root) == before


def test_what_somebody_edited_stays_unless_told_otherwise(
    desk: Desk, target: str, alice, root
) -> None:
    before = held(root)
    desk.apply()
    (number,) = (
        held(root)["Annotation"]
        & frozenset(
            projection(alice, "select a.id from CommentAnnotation a where a.textValue = 'first 🔬'")
        )
        - before["Annotation"]
    )
    comment = alice.getQueryService().get("CommentAnnotation", number)
    comment.textValue = rstring("better")
    alice.getUpdateService().saveObject(comment)
    assert desk.revert()["targets"] == {target: {"removed": 10, "kept": 1}}
    assert "edited" in warnings_of(desk)
    left = {kind: ids - before[kind] for kind, ids in held(root).items() if ids != before[kind]}
    assert {kind: len(ids) for kind, ids in left.items()} == {
        "Annotation": 1,
        "ImageAnnotationLink": 1,
    }
    assert desk.revert(remove_edited=True)["targets"] == {target: {"removed": 1, "kept": 0}}
    assert held(root) == before


def test_what_others_linked_stays_and_is_told(
    desk: Desk, target: str, gateway, alice, root
) -> None:
    bob = gateway("bob")
    desk.apply()
    image = int(target.rpartition("/")[2])
    query = (
        "select a.id from ImageAnnotationLink l, FileAnnotation a where l.child.id = a.id "
        "and l.parent.id = :image and a.file.name = 'first.txt'"
    )
    (number,) = projection(alice, query, image=image)
    file = alice.getQueryService().get("FileAnnotation", number)
    theirs = save(bob, dataset("of bob"))
    save(bob, annotated(reference(theirs), reference(file)))
    desk.revert()
    assert f"FileAnnotation {number}" in warnings_of(desk)
    (kept,) = bob.getObject("Dataset", theirs.id.val).listAnnotations()
    assert b"".join(kept.getFileInChunks()) == b"first"
    assert projection(alice, query, image=image) == []


def test_all_kinds_of_links_to_annotations_are_asked_for() -> None:
    assert set(_LINKED) == set(LINKED)
    assert len(_LINKED) == 27


@pytest.mark.parametrize("how", ["revert", "drop"])
def test_what_others_linked_to_anything_stays_and_is_told(
    desk: Desk, target: str, gateway, alice, how: str
) -> None:
    bob, number = gateway("bob"), target.rpartition("/")[2]
    desk.apply()
    (tag,) = projection(
        alice, "select a.id from TagAnnotation a where a.textValue = :n", n=f"segmented {number}"
    )
    query = (
        "select a.id from ImageAnnotationLink l, FileAnnotation a where l.child.id = a.id "
        "and l.parent.id = :image and a.file.name = 'first.txt'"
    )
    (file,) = projection(alice, query, image=int(number))
    links = [
        save(bob, annotated(reference(run_of_plate(bob)), omero.model.TagAnnotationI(tag, False))),
        save(bob, annotated(reference(folder(bob)), omero.model.FileAnnotationI(file, False))),
    ]
    if how == "revert":
        desk.revert()
    else:
        desk.targets[target] = desk.targets[target][:1]
        desk.apply()
    told = warnings_of(desk, {"revert": "revert-annotations", "drop": "apply-annotations"}[how])
    assert f"TagAnnotation {tag}" in told
    assert f"FileAnnotation {file}" in told
    for link in links:
        kind = type(link).__name__[:-1]
        there = projection(bob, f"select l.child.id from {kind} l where l.id = :n", n=link.id.val)
        assert there == [link.child.id.val]
    assert projection(alice, query, image=int(number)) == []


def run_of_plate(gateway: Any) -> Any:
    """Return a new run of a new plate."""
    plate = omero.model.PlateI()
    plate.name = rstring("a plate")
    run = omero.model.PlateAcquisitionI()
    run.plate = reference(save(gateway, plate))
    return save(gateway, run)


@pytest.mark.parametrize("what", ADDED)
def test_what_others_put_on_ours_keeps_it_unless_told_otherwise(
    desk: Desk, target: str, gateway, alice, root, what: str
) -> None:
    before = held(root)
    who, kind, add = ADDED[what]
    user = gateway(who)
    desk.apply()
    added = save(user, add(user, ours(alice, target, kind)))
    name = type(added).__name__[:-1]
    there = f"select o.id from {name} o where o.id = :n"
    assert desk.revert()["targets"] == {target: {"removed": 10, "kept": 1}}
    entry = "label-image" if kind == "Image" else "rois"
    assert f"edited on the server since, and stay there (see remove_edited): {entry} of" in (
        warnings_of(desk)
    )
    assert projection(root, there, n=added.id.val) == [added.id.val]
    assert desk.revert(remove_edited=True)["targets"] == {target: {"removed": 1, "kept": 0}}
    assert projection(root, there, n=added.id.val) == []
    left = {kind: ids - before[kind] for kind, ids in held(root).items()}
    assert {kind for kind, ids in left.items() if ids} <= {"Annotation", "Dataset"}


@pytest.mark.parametrize("what", ["a comment on the label image", "a comment on a ROI"])
def test_a_new_plan_does_not_replace_what_others_put_something_on(
    desk: Desk, target: str, gateway, alice, root, what: str
) -> None:
    desk.apply()
    who, kind, add = ADDED[what]
    bob = gateway(who)
    link = save(bob, add(bob, ours(alice, target, kind)))
    theirs = f"select l.id from {kind}AnnotationLink l where l.id = :n"
    assert numbers_in(desk.apply(), target)[3] == 0
    assert "edited on the server since, and stay so" in warnings_of(desk, "apply-annotations")
    desk.targets[target] = desk.targets[target][:1]
    written = held(root)
    with pytest.raises(ConfigurationError, match="were edited on the server since"):
        desk.apply()
    assert held(root) == written
    desk.apply(overwrite_edited=True)
    assert projection(root, theirs, n=link.id.val) == []


def test_a_target_that_is_gone_does_not_keep_the_others(
    desk: Desk, target: str, alice, logged_in, root
) -> None:
    other = f"{logged_in}/image/{upload_image(alice)}"
    before = held(root)
    desk.targets[other] = desk.everything(other)
    desk.apply()
    alice.deleteObjects("Image", [int(target.rpartition("/")[2])], wait=True)
    told = desk.revert()
    assert told["targets"][other] == {"removed": 11, "kept": 0}
    assert "no longer on the server" in warnings_of(desk)
    after = held(root)
    assert {kind: ids - before[kind] for kind, ids in after.items() if ids - before[kind]} == {}


def test_nobody_else_takes_back_what_a_user_wrote(
    desk: Desk, target: str, root, server, monkeypatch
) -> None:
    before = held(root)
    desk.apply()
    written = held(root)
    for user in ("bob", "carol"):  # of whom the second does not even see the target
        monkeypatch.setenv("OMERO_USER", user)
        monkeypatch.setenv("OMERO_PASSWORD", server.password(user))
        forget_connections()
        with pytest.raises(InputError, match="written by another user"):
            desk.revert()
    assert held(root) == written
    monkeypatch.setenv("OMERO_USER", "alice")
    monkeypatch.setenv("OMERO_PASSWORD", server.password("alice"))
    forget_connections()
    desk.revert()
    assert held(root) == before


def test_without_the_journal_nothing_is_said_to_be_reverted(
    desk: Desk, tmp_path: Path, logged_in
) -> None:
    desk.apply()
    shutil.rmtree(desk.folder / "annotations")
    with pytest.raises(InputError, match="no journal"):
        desk.revert()
