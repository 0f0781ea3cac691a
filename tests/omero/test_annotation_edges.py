"""Annotations at the edges of what OMERO and Unicode hold, and of what a server can do."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ezomero
import numpy as np
import omero
import pyarrow as pa
import pytest

from annotating import Desk, labels_3d, numbers_in, objects_of
from omero_objects import dataset_link, projection, save, upload_image
from omero_state import contents, held
from parfocal.errors import InputError, ParfocalError, RemoteError
from parfocal.models.annotation_entries import (
    BULK_NAMESPACE,
    CLIENT_NAMESPACE,
    RUN_NAMESPACE,
    Comment,
    KeyValues,
    LabelImage,
    Rois,
    Tag,
)

PLANES = (
    "é中नाמש\u202eﷺ\U0001d510🧫\U00020000\U00030000\U000e0041\U000fffff\U0010fffd"
    " e\u0301\u200d\ufeff\t'\"%<&"
)
"""Letters of all planes of Unicode, right to left, marks, and what markup would trip over."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty results folder."""
    return Desk(tmp_path / "results")


def number_of(uri: str) -> int:
    return int(uri.rpartition("/")[2])


def test_text_of_all_planes_and_of_64_kb(desk: Desk, target: str, alice, root) -> None:
    before = held(root)
    name = (PLANES * 20)[:255]
    long = (PLANES * 3000)[:65536]
    desk.folder.mkdir()
    desk.targets[target] = [
        KeyValues.planned(target, namespace=CLIENT_NAMESPACE, pairs=((name, long), (PLANES, ""))),
        Tag.planned(target, name=name, description=long),
        Comment.planned(target, namespace=name, text=long),
        desk.attachment(target, f"{PLANES.replace('/', '')}.txt", PLANES.encode()),
    ]
    desk.apply()
    desk.verify()
    (pairs,) = alice.getObject("Image", number_of(target)).listAnnotations(ns=CLIENT_NAMESPACE)
    assert pairs.getValue() == [(name, long), (PLANES, "")]
    desk.revert()
    assert held(root) == before


@pytest.mark.parametrize("rows", [0, 3])
def test_tables_of_all_types(rows: int, desk: Desk, target: str, alice) -> None:
    columns = {
        "label": pa.array([1, 2, -(2**63)][:rows], "int64"),
        "small": pa.array([0, 255, 7][:rows], "uint8"),
        "flag": pa.array([True, False, True][:rows], "bool"),
        "area": pa.array([0.1, float("nan"), None][:rows], "float64"),
        "short": pa.array([0.1, float("inf"), -0.0][:rows], "float32"),
        PLANES[:20]: pa.array(["", PLANES, "x" * 1000][:rows], "string"),
    }
    desk.targets[target] = [desk.table(target, columns, references=("Image",), name=PLANES)]
    desk.apply()
    desk.verify()
    (file,) = alice.getObject("Image", number_of(target)).listAnnotations(ns=BULK_NAMESPACE)
    found = ezomero.get_table(alice, file.getId())
    assert list(found.columns) == ["Image", *columns]
    assert len(found) == rows
    if rows:
        assert list(found[PLANES[:20]]) == ["", PLANES, "x" * 1000]
        assert found.area.isna().tolist() == [False, True, True]


def test_a_column_that_changes_its_type(desk: Desk, target: str) -> None:
    desk.targets[target] = [desk.table(target, {"label": [1, 2], "class": ["a", "b"]})]
    desk.apply()
    desk.targets[target] = [desk.table(target, {"label": [1, 2], "class": [0.5, 1.5]})]
    assert numbers_in(desk.apply(), target) == (0, 1, 0, 0)
    desk.verify()


def test_no_objects(desk: Desk, target: str, root) -> None:
    before = held(root)
    labels = np.zeros((1, 1, 24, 32), "u2")
    desk.labels(labels)
    columns = {"label": pa.array([], "int64"), "t": pa.array([], "int64")}
    desk.targets[target] = [
        desk.rois(target, labels),
        desk.table(target, columns, references=("Image", "Roi"), rois="nuclei"),
    ]
    desk.apply()
    desk.verify()
    assert numbers_in(desk.apply(), target) == (0, 0, 2, 0)
    desk.revert()
    assert held(root) == before


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("shape", ["mask", "polygon"])
def test_label_images_of_all_sizes_of_numbers(dtype, shape, desk: Desk, target, alice) -> None:
    labels = labels_3d(dtype)
    labels[labels == 9] = largest = min(int(np.iinfo(dtype).max), 2**53)
    desk.labels(labels)
    desk.targets[target] = [
        LabelImage.planned(target, name="labels", labels=desk.labels_file()),
        desk.rois(target, labels, shape=shape),
    ]
    desk.apply()
    desk.verify()
    parent = alice.getObject("Image", number_of(target)).getParent()
    made = next(each for each in parent.listChildren() if each.getName() == "labels")
    _, pixels = ezomero.get_image(alice, made.getId())
    np.testing.assert_array_equal(pixels[..., 0], labels)
    assert int(pixels.max()) == largest


def test_a_label_beyond_what_omero_keeps_is_refused(desk: Desk, target: str, root) -> None:
    before = held(root)
    labels = labels_3d("uint64")
    labels[labels == 9] = 2**53 + 1
    desk.labels(labels)
    desk.targets[target] = [
        Comment.planned(target, namespace=RUN_NAMESPACE, text="first"),
        LabelImage.planned(target, name="labels", labels=desk.labels_file()),
    ]
    with pytest.raises(InputError, match="too large for OMERO"):
        desk.apply()
    assert held(root) == before


def test_shapes_of_projections_lie_on_all_planes(desk: Desk, target: str, alice) -> None:
    labels = labels_3d()[:1, :1]
    desk.labels(labels)
    drawn = desk.rois(target, labels, shape="polygon")
    desk.targets[target] = [Rois.planned(target, **_said(drawn), all_planes=True, all_times=True)]
    desk.apply()
    desk.verify()
    rois = alice.getRoiService().findByImage(number_of(target), None).rois
    assert len(rois) == len(objects_of(labels))
    for roi in rois:
        (shape,) = roi.copyShapes()
        assert (shape.theZ, shape.theT, shape.theC) == (None, None, None)


def _said(drawn: Rois) -> dict[str, object]:
    return {
        name: getattr(drawn, name) for name in ("name", "labels", "label_name", "shape", "objects")
    }


def test_a_row_without_its_object_is_refused(desk: Desk, target: str, root) -> None:
    before = held(root)
    labels = labels_3d()
    desk.labels(labels)
    desk.targets[target] = [
        desk.rois(target, labels),
        desk.table(target, {"t": [0], "label": [77]}, references=("Roi",), rois="nuclei"),
    ]
    with pytest.raises(InputError, match="does not have") as caught:
        desk.apply()
    assert "label 77" in str(caught.value)
    assert held(root) == before


@pytest.mark.parametrize("free", [0, 600, 4000])
def test_a_server_without_room(free: int, desk: Desk, target: str, faults, root) -> None:
    before = held(root)
    desk.targets[target] = desk.everything(target)
    faults.fill_disk(free)
    with pytest.raises(RemoteError) as caught:
        desk.apply()
    assert "No space left on device" in str(caught.value)
    faults.reset()
    assert held(root) == before
    desk.apply()
    desk.verify()


def test_a_target_that_is_deleted_meanwhile(desk: Desk, target: str, alice, faults, root) -> None:
    image = number_of(target)
    desk.targets[target] = desk.everything(target)
    (own,) = projection(alice, "select p.id from Pixels p where p.image.id = :image", image=image)
    before = held(root)
    rule = faults.delay("Table", "close", 3.0)

    def delete() -> None:
        while not faults.seen(rule):
            time.sleep(0.01)
        alice.deleteObjects("Image", [image], wait=True)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(delete)
        with pytest.raises(ParfocalError):
            desk.apply()
        done.result(60)
    left = {kind: ids - before[kind] for kind, ids in held(root).items() if ids - before[kind]}
    assert left == {}
    assert own in before["Pixels"]
    with pytest.raises(InputError, match="are not on the OMERO server"):
        desk.apply()


def test_a_label_image_goes_once_into_a_dataset_that_several_users_have_linked(
    desk: Desk, gateway, logged_in: str, root
) -> None:
    alice, bob = gateway("alice", group="write"), gateway("bob", group="write")
    image = upload_image(alice)
    query = "select l.parent.id from DatasetImageLink l where l.child.id = :image"
    (number,) = projection(alice, query, image=image)
    there = omero.model.DatasetI(number, False)
    save(bob, dataset_link(there, omero.model.ImageI(image, False)))
    assert projection(alice, query, image=image) == [number, number]
    before = held(root)
    desk.labels(labels_3d())
    target = f"{logged_in}/image/{image}"
    desk.targets[target] = [LabelImage.planned(target, name="l", labels=desk.labels_file())]
    desk.apply()
    desk.verify()
    assert len(held(root)["DatasetImageLink"] - before["DatasetImageLink"]) == 1
    desk.revert()
    assert held(root) == before


def test_masks_and_polygons_follow_each_other(desk: Desk, target: str, root) -> None:
    before = held(root)
    labels = labels_3d()
    desk.labels(labels)
    desk.targets[target] = [desk.rois(target, labels, shape="mask")]
    desk.apply()
    desk.targets[target] = [desk.rois(target, labels, shape="polygon")]
    desk.apply()
    rois = contents(root, before)["rois"]
    assert len(rois) == len(objects_of(labels))
    assert any("20,10" in roi[3] for roi in rois)
    desk.verify()


def test_pairs_keep_their_order_and_repeated_keys(desk: Desk, target: str, alice) -> None:
    pairs = (("b", "1"), ("a", "2"), ("b", "3"))
    desk.folder.mkdir()
    desk.targets[target] = [KeyValues.planned(target, namespace=RUN_NAMESPACE, pairs=pairs)]
    desk.apply()
    (found,) = alice.getObject("Image", number_of(target)).listAnnotations(ns=RUN_NAMESPACE)
    assert found.getValue() == list(pairs)
