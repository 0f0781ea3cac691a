"""What somebody put on annotations before the call that was killed making them is made good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import omero
import pytest
from omero.rtypes import rdouble, rstring

from annotating import Desk
from omero_additions import ADDED, ours
from omero_objects import annotated, dataset, projection, reference, save, tag
from omero_state import contents, held
from parfocal.errors import ConfigurationError, ParfocalError
from parfocal.models.annotation_entries import RUN_NAMESPACE, Comment, Tag
from parfocal.provenance.records import iter_records

ENTRIES = 11


@pytest.fixture
def desk(target: str, tmp_path: Path) -> Desk:
    """An entry of every kind for one image, all of it begun and not finished."""
    made = Desk(tmp_path / "results")
    made.targets[target] = made.everything(target)
    made.apply()
    journal = made.journal()
    lines = journal.read_text("utf-8").splitlines(keepends=True)
    begun = [line for line in lines if line.startswith('{"begin"')]
    assert len(begun) == ENTRIES < len(lines)
    journal.write_text("".join(begun), "utf-8")
    return made


def warnings_of(desk: Desk, step: str) -> str:
    """Return what the last attempt of a step warned of."""
    records = [each for each in iter_records(desk.folder) if each.step == step]
    return str(max(records, key=lambda each: each.attempt).warnings)


@pytest.mark.parametrize("what", ADDED)
def test_revert_leaves_what_others_put_something_on(
    desk: Desk, target: str, gateway, alice, root, what: str
) -> None:
    who, kind, add = ADDED[what]
    user = gateway(who)
    added = save(user, add(user, ours(alice, target, kind)))
    there = f"select o.id from {type(added).__name__[:-1]} o where o.id = :n"
    assert desk.revert()["targets"] == {target: {"removed": ENTRIES - 1, "kept": 1}}
    entry = "label-image" if kind == "Image" else "rois"
    told = f"edited on the server since, and stay there (see remove_edited): {entry} of"
    assert told in warnings_of(desk, "revert-annotations")
    assert projection(root, there, n=added.id.val) == [added.id.val]
    assert desk.revert(remove_edited=True)["targets"] == {target: {"removed": 1, "kept": 0}}
    assert projection(root, there, n=added.id.val) == []


@pytest.mark.parametrize("what", ADDED)
def test_apply_refuses_to_undo_what_others_put_something_on(
    desk: Desk, target: str, gateway, alice, root, what: str
) -> None:
    who, kind, add = ADDED[what]
    user = gateway(who)
    added = save(user, add(user, ours(alice, target, kind)))
    there = f"select o.id from {type(added).__name__[:-1]} o where o.id = :n"
    written = held(root)
    with pytest.raises(ConfigurationError, match="were edited on the server since") as caught:
        desk.apply()
    entry = "label-image" if kind == "Image" else "rois"
    assert caught.value.where == f"{entry} of {target}"
    assert held(root) == written
    desk.apply(overwrite_edited=True)
    assert projection(root, there, n=added.id.val) == []
    assert desk.verify()["verdict"] == "verified"


def edit_comment(gateway: Any) -> None:
    """Let the comment of the plan say something else."""
    query = "select max(a.id) from CommentAnnotation a where a.textValue = 'first 🔬'"
    (number,) = projection(gateway, query)
    comment = gateway.getQueryService().get("CommentAnnotation", number)
    comment.textValue = rstring("better")
    save(gateway, comment)


def move_shape(gateway: Any) -> None:
    """Move a shape of the plan."""
    (number,) = projection(gateway, "select max(m.id) from Mask m")
    mask = gateway.getQueryService().get("Mask", number)
    mask.x = rdouble(mask.x.val + 1)
    save(gateway, mask)


@pytest.mark.parametrize("edit", [edit_comment, move_shape])
def test_what_somebody_edited_meanwhile_stays(
    desk: Desk, target: str, alice, edit: Callable[[Any], None]
) -> None:
    edit(alice)
    with pytest.raises(ConfigurationError, match="were edited on the server since"):
        desk.apply()
    assert desk.revert()["targets"] == {target: {"removed": ENTRIES - 1, "kept": 1}}


def test_what_others_linked_elsewhere_stays_and_is_told(
    desk: Desk, target: str, gateway, alice
) -> None:
    bob = gateway("bob")
    query = "select max(a.id) from FileAnnotation a where a.file.name = 'first.txt'"
    (number,) = projection(alice, query)
    theirs = save(bob, dataset("of bob"))
    save(bob, annotated(reference(theirs), omero.model.FileAnnotationI(number, False)))
    desk.apply()
    assert f"FileAnnotation {number}" in warnings_of(desk, "apply-annotations")
    (kept,) = bob.getObject("Dataset", theirs.id.val).listAnnotations()
    assert b"".join(kept.getFileInChunks()) == b"first"
    assert desk.verify()["verdict"] == "verified"


def test_nothing_else_is_made_good_as_before(desk: Desk, target: str, root) -> None:
    nothing = {kind: frozenset() for kind in held(root)}
    said = contents(root, nothing)
    query, image = "select r.id from Roi r where r.image.id = :n", int(target.rpartition("/")[2])
    before = projection(root, query, n=image)
    desk.apply()
    assert contents(root, nothing) == said
    after = projection(root, query, n=image)
    assert len(after) == len(before) == 5
    assert not {*before} & {*after}
    assert desk.revert()["targets"] == {target: {"removed": ENTRIES, "kept": 0}}


def test_a_failure_undoes_nothing_that_somebody_has_annotated_by_then(
    target: str, tmp_path: Path, gateway, alice, root, faults, monkeypatch
) -> None:
    from parfocal.omero.annotate.making import Maker

    made = Desk(tmp_path / "results")
    made.targets[target] = made.everything(target)
    bob = gateway("bob")
    link = Maker._link

    def annotate_first(self: Maker, *args: Any) -> None:
        _, kind, add = ADDED["a comment on a ROI"]
        save(bob, add(bob, ours(alice, target, kind)))
        link(self, *args)

    faults.refuse("IUpdate", "saveAndReturnArray", "SecurityViolation", times=1)
    with monkeypatch.context() as patched:
        patched.setattr(Maker, "_link", annotate_first)
        with pytest.raises(ParfocalError):
            made.apply()
    told = "half made stay, since somebody edited them or put something on them meanwhile"
    assert told in warnings_of(made, "apply-annotations")
    assert f"revert-annotations: rois of {target}'" in warnings_of(made, "apply-annotations")
    query = "select count(r.id) from Roi r where r.image.id = :n"
    assert projection(root, query, n=int(target.rpartition("/")[2])) == [5]
    with pytest.raises(ConfigurationError, match="were edited on the server since"):
        made.apply()
    made.apply(overwrite_edited=True)
    assert made.verify()["verdict"] == "verified"


def test_a_failure_that_cannot_be_undone_at_once_is_told(
    target: str, tmp_path: Path, root, faults
) -> None:
    made = Desk(tmp_path / "results")
    made.targets[target] = made.everything(target)
    before = held(root)
    faults.refuse("IUpdate", "saveAndReturnArray", "SecurityViolation", times=100)
    faults.refuse("*", "submit", "ResourceError", times=100)
    with pytest.raises(ParfocalError):
        made.apply()
    told = f"what was begun of {target} stays until the next call undoes it: "
    assert told in warnings_of(made, "apply-annotations")
    faults.reset()
    assert held(root) != before
    made.apply()
    assert made.verify()["verdict"] == "verified"
    made.revert()
    assert held(root) == before


def test_a_tag_that_a_user_linked_after_a_kill_stays_beside_what_somebody_edited(
    target: str, tmp_path: Path, alice
) -> None:
    number = int(target.rpartition("/")[2])
    name = f"linked and edited {number}"
    desk = Desk(tmp_path / "results")
    hello = Comment.planned(target, namespace=RUN_NAMESPACE, text="hello")
    desk.targets[target] = [Tag.planned(target, name=name), hello]
    desk.apply()
    lines = desk.journal().read_text("utf-8").splitlines(keepends=True)
    desk.journal().write_text("".join(line for line in lines if '"begin"' in line), "utf-8")
    theirs = save(alice, annotated(omero.model.ImageI(number, False), tag(name))).id.val
    on_image = "from ImageAnnotationLink l, {} a where l.child.id = a.id and l.parent.id = :image"
    query = f"select a.id {on_image.format('CommentAnnotation')}"
    (comment,) = projection(alice, query, image=number)
    said = alice.getQueryService().get("CommentAnnotation", comment)
    said.textValue = rstring("edited")
    save(alice, said)
    assert desk.revert()["targets"] == {target: {"removed": 1, "kept": 1}}
    query = f"select l.id {on_image.format('TagAnnotation')}"
    assert projection(alice, query, image=number) == [theirs]
    assert desk.revert(remove_edited=True)["targets"] == {target: {"removed": 1, "kept": 0}}
    assert projection(alice, query, image=number) == [theirs]
