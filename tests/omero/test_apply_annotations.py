"""The step apply-annotations: what it writes, read by plain omero-py, and what it leaves alone."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import ezomero
import numpy as np
import pytest
from omero.rtypes import rdouble, rstring

from annotating import Desk, labels_3d, numbers_in, objects_of
from omero_objects import (
    annotated,
    context,
    dataset,
    image,
    key_values,
    reference,
    save,
    tag,
    upload_image,
)
from omero_state import contents, held
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.annotation_entries import (
    BULK_NAMESPACE,
    CLIENT_NAMESPACE,
    FILE_NAMESPACE,
    RUN_NAMESPACE,
    Comment,
    Tag,
)

WRITING = ("save*", "create*", "write", "set*", "delete*", "submit", "addData", "newTable")


@pytest.fixture
def desk(target: str, tmp_path: Path) -> Desk:
    """A plan with an entry of every kind for one image."""
    made = Desk(tmp_path / "results")
    made.targets[target] = made.everything(target)
    return made


def number_of(uri: str) -> int:
    return int(uri.rpartition("/")[2])


def annotations(gateway: Any, uri: str, namespace: str | None = None) -> list[Any]:
    found = gateway.getObject("Image", number_of(uri))
    return sorted(found.listAnnotations(ns=namespace), key=lambda each: each.getId())


def comment_of(gateway: Any, uri: str) -> Any:
    """Return the comment of the run on an image."""
    found = annotations(gateway, uri, RUN_NAMESPACE)
    (comment,) = [each for each in found if "Comment" in type(each).__name__]
    return comment


def test_each_kind_is_there(desk: Desk, target: str, alice) -> None:
    told = desk.apply()
    assert list(told["targets"]) == [target]
    assert numbers_in(told, target) == (11, 0, 0, 0)
    number = number_of(target)
    (pairs,) = annotations(alice, target, CLIENT_NAMESPACE)
    assert ezomero.get_map_annotation(alice, pairs.getId()) == {"drug": "taxol"}
    assert comment_of(alice, target).getValue() == "first 🔬"
    ids = ezomero.get_tag_ids(alice, "Image", number)
    tags = {alice.getObject("TagAnnotation", each).getTextValue(): each for each in ids}
    assert set(tags) == {f"segmented {number}", f"measured {number}"}
    described = alice.getObject("TagAnnotation", tags[f"measured {number}"])
    assert described.getDescription() == "by us"
    (rating,) = annotations(alice, target, "openmicroscopy.org/omero/insight/rating")
    assert rating.getLongValue() == 4


def test_files_are_there_whole(desk: Desk, target: str, alice) -> None:
    desk.apply()
    crate, text = annotations(alice, target, FILE_NAMESPACE)
    assert (crate.getFileName(), text.getFileName()) == ("crate", "first.txt")
    assert b"".join(text.getFileInChunks()) == b"first"
    with zipfile.ZipFile(io.BytesIO(b"".join(crate.getFileInChunks()))) as pack:
        assert sorted(pack.namelist()) == ["more/file.bin", "ro-crate-metadata.json"]
        assert pack.read("more/file.bin") == bytes(range(256)) * 64


def test_rois_and_the_table_that_names_them(desk: Desk, target: str, alice) -> None:
    desk.apply()
    labels, number = labels_3d(), number_of(target)
    rois = alice.getRoiService().findByImage(number, None).rois
    drawn = {}
    for roi in rois:
        for shape in roi.copyShapes():
            box = [int(each.val) for each in (shape.y, shape.x, shape.height, shape.width)]
            y, x, height, width = box
            bits = np.unpackbits(np.frombuffer(shape.bytes, "u1"))[: height * width]
            plane = drawn.setdefault(roi.id.val, np.zeros(labels.shape, bool))
            plane[shape.theT.val, shape.theZ.val, y : y + height, x : x + width] = bits.reshape(
                height, width
            )
    (file,) = annotations(alice, target, BULK_NAMESPACE)
    table = ezomero.get_table(alice, file.getId())
    assert list(table.columns) == ["Image", "Roi", "t", "label", "area"]
    assert list(zip(table.t, table.label, strict=True)) == objects_of(labels)
    assert list(table.area) == [0.5 * label for label in table.label]
    assert set(table.Image) == {number}
    for row in table.itertuples():
        expected = np.zeros_like(labels, bool)
        expected[row.t] = labels[row.t] == row.label
        np.testing.assert_array_equal(drawn.pop(row.Roi), expected)
    assert not drawn


def test_the_label_image_lies_beside_its_image(desk: Desk, target: str, alice) -> None:
    desk.apply()
    parent = alice.getObject("Image", number_of(target)).getParent()
    made = next(each for each in parent.listChildren() if each.getName() == "cells [nuclei]")
    _, pixels = ezomero.get_image(alice, made.getId())  # T, Z, Y, X, C
    np.testing.assert_array_equal(pixels[..., 0], labels_3d())


def test_the_same_plan_again_writes_nothing(desk: Desk, target: str, faults) -> None:
    first = desk.apply()
    last = faults.last()
    told = desk.apply()
    written = [call for method in WRITING for call in faults.journal("*", method, since=last)]
    assert [call["method"] for call in written if call["method"] != "createSession"] == []
    assert numbers_in(told, target) == (0, 0, 11, 0)
    assert told["targets"][target]["ids"] == first["targets"][target]["ids"]


def test_a_changed_plan_changes_what_differs_and_nothing_else(
    desk: Desk, target: str, root
) -> None:
    before = held(root)
    desk.apply()
    first = held(root)
    desk.targets[target] = desk.everything(target, said="second")
    # The pairs and the comment say something else, second.txt is another entry than first.txt.
    assert numbers_in(desk.apply(), target) == (1, 2, 8, 1)
    second = held(root)
    gone = {kind: len(first[kind] - second[kind]) for kind in first if first[kind] - second[kind]}
    assert gone == {"Annotation": 3, "ImageAnnotationLink": 3, "OriginalFile": 1}
    assert {kind: len(ids) for kind, ids in second.items()} == {
        kind: len(ids) for kind, ids in first.items()
    }
    assert "'second 🔬'" in [each[2] for each in contents(root, before)["annotations"]]
    desk.verify()


def test_a_table_is_made_anew_with_its_rois(desk: Desk, target: str, root) -> None:
    desk.apply()
    first = held(root)
    labels = labels_3d()
    labels[labels == 9] = 5
    desk.labels(labels)
    (rois,) = [n for n, each in enumerate(desk.targets[target]) if each.kind == "rois"]
    t, label = zip(*objects_of(labels), strict=True)
    desk.targets[target][rois : rois + 2] = [
        desk.rois(target, labels),
        desk.table(target, {"t": t, "label": label}, references=("Roi",), rois="nuclei"),
    ]
    del desk.targets[target][rois + 2]  # the label image
    assert numbers_in(desk.apply(), target) == (0, 2, 8, 1)
    assert len(held(root)["Roi"] - first["Roi"]) == 5
    desk.verify()


def test_what_users_have_stays_as_it_is(desk: Desk, target: str, alice, root) -> None:
    number = number_of(target)
    parent = alice.getObject("Image", number)._obj
    own = [tag(f"segmented {number}"), tag("own"), key_values(CLIENT_NAMESPACE, drug="mine")]
    for each in own:
        save(alice, annotated(reference(parent), each))
    ezomero.post_roi(alice, number, [ezomero.rois.Point(x=1, y=2)], name="mine")
    before, said = held(root), contents(root, {kind: frozenset() for kind in held(root)})
    desk.apply()
    tags = [each for each in contents(root, before)["annotations"] if each[0] == "TagAnnotationI"]
    assert [each[2] for each in tags] == [
        f"'measured {number}'",
        f"'set {number}'",
    ]  # the other was there
    desk.revert()
    assert held(root) == before
    assert contents(root, {kind: frozenset() for kind in before}) == said


def test_a_tag_of_somebody_else_is_used(desk: Desk, target: str, gateway, root) -> None:
    bob = gateway("bob")
    theirs = save(bob, tag(f"segmented {number_of(target)}")).id.val
    before = held(root)
    desk.apply()
    assert theirs in ezomero.get_tag_ids(gateway("alice"), "Image", number_of(target))
    desk.revert()
    assert held(root) == before


def test_what_somebody_edited_is_not_overwritten_unasked(
    desk: Desk, target: str, alice, root
) -> None:
    desk.apply()
    comment = comment_of(alice, target)
    comment.setTextValue(rstring("better"))
    comment.save()
    assert "1 annotation(s) were edited" in str(warnings_of(desk))  # the plan does not change it
    desk.targets[target] = desk.everything(target, said="second")
    before = held(root)
    with pytest.raises(ConfigurationError, match="edited") as caught:
        desk.apply()
    assert "overwrite_edited" in str(caught.value)
    assert held(root) == before
    desk.apply(overwrite_edited=True)
    desk.verify()


def test_rois_that_somebody_redrew_are_not_overwritten_unasked(
    desk: Desk, target: str, alice, root
) -> None:
    desk.apply()
    roi = alice.getRoiService().findByImage(number_of(target), None).rois[2]
    shape = roi.copyShapes()[0]
    shape.x = rdouble(shape.x.val + 1)
    alice.getUpdateService().saveObject(shape)
    labels = labels_3d()
    labels[labels == 9] = 5
    desk.labels(labels)
    t, label = zip(*objects_of(labels), strict=True)
    desk.targets[target] = [
        desk.rois(target, labels),
        desk.table(target, {"t": t, "label": label}, references=("Roi",), rois="nuclei"),
    ]
    before = held(root)
    with pytest.raises(ConfigurationError, match="rois of"):
        desk.apply()
    assert held(root) == before
    desk.apply(overwrite_edited=True)
    desk.verify()


def warnings_of(desk: Desk) -> list[str]:
    from parfocal.provenance.records import iter_records

    desk.apply()
    records = [each for each in iter_records(desk.folder) if each.step == "apply-annotations"]
    return list(max(records, key=lambda each: each.attempt).warnings)


@pytest.mark.parametrize("kind", ["Annotation", "Roi", "Image", "ImageAnnotationLink"])
def test_what_somebody_deleted_is_made_anew(kind, desk: Desk, alice, root) -> None:
    before = held(root)
    desk.apply()
    whole = contents(root, before)
    ids = sorted(held(root)[kind] - before[kind])
    alice.deleteObjects(kind, ids[:1], wait=True)
    desk.apply()
    assert contents(root, before) == whole
    desk.revert()
    assert held(root) == before


def test_targets_share_a_file_and_tags(target: str, tmp_path: Path, alice, logged_in, root) -> None:
    other = f"{logged_in}/image/{upload_image(alice)}"
    before = held(root)
    desk = Desk(tmp_path)
    desk.result("crate.txt", b"the crate")
    for uri in (target, other):
        desk.targets[uri] = [
            Tag.planned(uri, name="shared", tag_set="a set"),
            desk.attachment(uri, "crate.txt"),
        ]
    desk.apply()
    new = {kind: len(ids - before[kind]) for kind, ids in held(root).items()}
    assert (new["OriginalFile"], new["Annotation"], new["ImageAnnotationLink"]) == (1, 3, 4)
    desk.targets[target] = []
    desk.apply()
    new = {kind: len(ids - before[kind]) for kind, ids in held(root).items()}
    assert (new["OriginalFile"], new["Annotation"], new["ImageAnnotationLink"]) == (1, 3, 2)
    desk.targets[target] = [desk.attachment(target, "crate.txt")]
    desk.apply()  # the file that is there is used
    assert len(held(root)["OriginalFile"] - before["OriginalFile"]) == 1
    desk.targets = {target: [], other: []}
    desk.apply()
    assert held(root) == before


def test_it_writes_in_the_group_of_the_target(tmp_path: Path, gateway, logged_in, root) -> None:
    alice = gateway("alice", "write")
    uri = f"{logged_in}/image/{upload_image(alice)}"
    group = alice.getGroupFromContext().getId()
    before = held(root)
    desk = Desk(tmp_path)
    desk.targets[uri] = desk.everything(uri)
    desk.apply()
    for kind in ("Annotation", "Roi", "Image", "OriginalFile", "ImageAnnotationLink"):
        for number in held(root)[kind] - before[kind]:
            found = root.getQueryService().get(kind, number, context(-1))
            assert found.details.group.id.val == group, kind
    desk.verify()
    desk.revert()
    assert held(root) == before


@pytest.mark.parametrize(
    ("group", "told"), [("private", "not on"), ("readonly", "may not annotate")]
)
def test_without_the_right_to_annotate_nothing_is_written(
    group, told, desk: Desk, gateway, logged_in, root
) -> None:
    bob = gateway("bob", group)
    theirs = f"{logged_in}/image/{save(bob, image('of bob')).id.val}"
    desk.targets[theirs] = [Comment.planned(theirs, namespace=RUN_NAMESPACE, text="hello")]
    before = held(root)
    with pytest.raises(InputError, match=told) as caught:
        desk.apply()
    assert theirs in str(caught.value)
    assert "Nothing was written" in str(caught.value)
    assert held(root) == before


def test_a_target_that_is_missing_stops_all(desk: Desk, logged_in: str, root) -> None:
    uri = f"{logged_in}/image/99999999"
    desk.targets[uri] = [Comment.planned(uri, namespace=RUN_NAMESPACE, text="hello")]
    before = held(root)
    with pytest.raises(InputError, match="are not on the OMERO server"):
        desk.apply()
    assert held(root) == before


def test_a_result_that_changed_since_stops_all(desk: Desk, root) -> None:
    (desk.folder / "first.txt").write_bytes(b"other")
    before = held(root)
    with pytest.raises(InputError, match="not what it was"):
        desk.apply()
    assert held(root) == before


def test_containers_and_wells_are_annotated(tmp_path: Path, faults, alice, logged_in, root) -> None:
    plate = faults.seed("plate", name="P", rows=1, columns=2, shape=[1, 1, 1, 8, 8])
    well = plate["wells"]["A02"]
    field = plate["images"]["A02"][0]
    before = held(root)
    desk = Desk(tmp_path)
    for kind, number in (("plate", plate["plate"]), ("well", well)):
        uri = f"{logged_in}/{kind}/{number}"
        desk.targets[uri] = [
            Comment.planned(uri, namespace=RUN_NAMESPACE, text=kind),
            desk.attachment(uri, "of.txt", b"both"),
        ]
    uri = f"{logged_in}/image/{field}"
    desk.targets[uri] = [desk.table(uri, {"label": [1, 2]}, references=("Image", "Well"))]
    desk.apply()
    (file,) = annotations(alice, uri, BULK_NAMESPACE)
    table = ezomero.get_table(alice, file.getId())
    assert (list(table.Well), list(table.Image)) == ([well, well], [field, field])
    found = list(alice.getObject("Well", well).listAnnotations())
    assert [each.getValue() for each in found if each.getNs() == RUN_NAMESPACE] == ["well"]
    desk.verify()
    desk.revert()
    assert held(root) == before


def test_a_target_that_is_left_out_of_the_plan_stays_and_is_told(
    desk: Desk, target: str, alice, logged_in, root
) -> None:
    desk.apply()
    other = f"{logged_in}/image/{upload_image(alice)}"
    desk.targets = {other: [Comment.planned(other, namespace=RUN_NAMESPACE, text="hello")]}
    assert target in str(warnings_of(desk))
    assert len(annotations(alice, target)) == 9


def test_a_dataset_that_is_named_gets_the_label_image(tmp_path, target, alice, logged_in) -> None:
    from parfocal.models.annotation_entries import LabelImage

    number = save(alice, dataset("labels")).id.val
    desk = Desk(tmp_path)
    desk.targets[target] = [
        LabelImage.planned(
            target,
            name="n" * 255,
            labels=desk.labels(labels_3d()),
            dataset=f"{logged_in}/dataset/{number}",
        )
    ]
    desk.apply()
    assert [each.getName() for each in alice.getObject("Dataset", number).listChildren()] == [
        "n" * 255
    ]
    desk.verify()
