"""What is told of annotating: what was written where, and what could not be, with the remedy."""

from __future__ import annotations

import logging
from pathlib import Path

import ezomero
import pytest

from annotating import Desk, labels_3d, numbers_in
from omero_objects import (
    annotated,
    dataset,
    image,
    key_values,
    projection,
    reference,
    save,
)
from omero_state import held
from parfocal.engine import run_step
from parfocal.errors import AccessError, InputError, RemoteError
from parfocal.models.annotation_entries import (
    CLIENT_NAMESPACE,
    RUN_NAMESPACE,
    Comment,
    KeyValues,
    LabelImage,
)
from parfocal.provenance.records import iter_records
from parfocal.steps import load_step

WRITER = "parfocal.omero.annotate.apply"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty results folder."""
    return Desk(tmp_path / "results")


def number_of(uri: str) -> int:
    return int(uri.rpartition("/")[2])


def ids_of(spans: list[list[int]]) -> set[int]:
    """Return the ids that a receipt tells of."""
    return {number for first, last in spans for number in range(first, last + 1)}


def warnings_of(desk: Desk) -> str:
    """Return what the last application warned of."""
    records = [each for each in iter_records(desk.folder) if each.step == "apply-annotations"]
    return str(max(records, key=lambda each: each.attempt).warnings)


def test_the_receipt_names_all_that_is_there(desk: Desk, target: str, root) -> None:
    before = held(root)
    desk.targets[target] = desk.everything(target)
    told = desk.apply()["targets"][target]["ids"]
    new = {kind: ids - before[kind] for kind, ids in held(root).items()}
    found = {kind: ids_of(spans) for kind, spans in told.items()}
    annotations = {kind for kind in found if kind.endswith("Annotation")} | {"TagSet"}
    assert set.union(*(found[kind] for kind in annotations)) == new["Annotation"]
    for kind in ("Roi", "Image", "ImageAnnotationLink", "DatasetImageLink"):
        assert found[kind] == new[kind], kind


def test_what_was_written_is_told_in_one_line(desk: Desk, target: str, caplog) -> None:
    caplog.set_level(logging.INFO, WRITER)
    desk.targets[target] = desk.everything(target)
    desk.apply()
    desk.targets[target] = desk.everything(target, said="second")[:-1]
    desk.apply()
    desk.apply()
    lines = [each.getMessage() for each in caplog.records if each.name == WRITER]
    server = target.rpartition("/image/")[0]
    made = "made key-values (2), tag (2), rating (1), comment (1), rois (1), table (1), "
    made += "label-image (1), file (2)"
    changed = "replaced key-values (1), comment (1); removed file (1)"
    told = [f"{made}; 0 were", f"{changed}; 8 were", "nothing was written; 10 were"]
    assert lines == [f"{server}: 1 target(s); {each} there already" for each in told]


@pytest.mark.parametrize(
    ("service", "method", "title"),
    [
        ("IUpdate", "saveAndReturnIds", "rois nuclei"),
        ("RawFileStore", "write", "file first.txt"),
        ("IPixels", "createImage", "label-image cells [nuclei]"),
        ("IUpdate", "saveAndReturnArray", "comment"),
    ],
)
def test_a_permission_that_is_missing_is_told_with_entry_image_group_and_remedy(
    service: str, method: str, title: str, desk: Desk, target: str, faults, root
) -> None:
    before = held(root)
    desk.targets[target] = [
        each for each in desk.everything(target) if each.kind != "file" or each.name == "first.txt"
    ]
    faults.refuse(service, method, "SecurityViolation", times=100, message="Cannot do this")
    with pytest.raises(AccessError) as caught:
        desk.apply()
    told = str(caught.value)
    assert title in told
    assert target in told
    assert "the permission to" in told
    assert "Cannot do this" in told
    assert "in the group annotate (rwra--)" in told
    assert "Ask the owner of the group" in told
    assert caught.value.exit_code == 2
    faults.reset()
    assert held(root) == before


def test_another_error_names_the_entry_too(desk: Desk, target: str, faults) -> None:
    desk.targets[target] = [Comment.planned(target, namespace=RUN_NAMESPACE, text="hello")]
    faults.refuse("IUpdate", "saveAndReturnArray", "ResourceError", times=100)
    with pytest.raises(RemoteError) as caught:
        desk.apply()
    assert f": comment of {target};" in str(caught.value)


def test_an_image_that_may_not_be_annotated_is_told_with_its_group(
    desk: Desk, gateway, logged_in
) -> None:
    theirs = f"{logged_in}/image/{save(gateway('bob', 'readonly'), image('of bob')).id.val}"
    desk.targets[theirs] = [Comment.planned(theirs, namespace=RUN_NAMESPACE, text="hello")]
    with pytest.raises(AccessError, match=r"alice in the group readonly \(rwr---\)") as caught:
        desk.apply()
    assert "read-annotate or read-write" in str(caught.value)


def test_a_label_image_that_may_not_go_to_its_dataset_is_refused_first(
    desk: Desk, target: str, alice, server, monkeypatch, root
) -> None:
    (parent,) = [each.getId() for each in alice.getObject("Image", number_of(target)).listParents()]
    desk.targets[target] = [
        Comment.planned(target, namespace=RUN_NAMESPACE, text="hello"),
        LabelImage.planned(target, name="labels", labels=desk.labels(labels_3d())),
    ]
    before = held(root)
    monkeypatch.setenv("OMERO_USER", "bob")  # who may annotate the image, and no more
    monkeypatch.setenv("OMERO_PASSWORD", server.password("bob"))
    with pytest.raises(AccessError) as caught:
        desk.apply()
    told = str(caught.value)
    assert f"label-image labels of {target}, dataset {parent}" in told
    assert "bob in the group annotate (rwra--)" in told
    assert "label_images=false" in told
    assert "Nothing was written" in told
    assert held(root) == before


@pytest.mark.parametrize("group", [None, "write"])
def test_a_dataset_that_is_missing_or_of_another_group_is_refused_first(
    group, desk: Desk, target: str, gateway, logged_in, root
) -> None:
    number = save(gateway("alice", group), dataset("labels")).id.val if group else 99999999
    desk.targets[target] = [
        LabelImage.planned(
            target,
            name="labels",
            labels=desk.labels(labels_3d()),
            dataset=f"{logged_in}/dataset/{number}",
        )
    ]
    before = held(root)
    with pytest.raises(InputError, match="of another group" if group else "is not on") as caught:
        desk.apply()
    assert f"dataset {number}" in str(caught.value)
    assert held(root) == before


def test_label_images_of_images_in_no_dataset_are_told(
    desk: Desk, faults, alice, logged_in, root
) -> None:
    plate = faults.seed("plate", name="P", rows=1, columns=1, shape=[1, 1, 1, 24, 32])
    uri = f"{logged_in}/image/{plate['images']['A01'][0]}"
    labels = desk.labels(labels_3d()[:1, :1])
    desk.targets[uri] = [LabelImage.planned(uri, name="of a well", labels=labels)]
    before = held(root)
    told = desk.apply()["targets"][uri]["ids"]
    assert "lie in no dataset" in warnings_of(desk)
    assert f"label-image of a well of {uri}" in warnings_of(desk)
    assert ids_of(told["Image"]) == held(root)["Image"] - before["Image"]
    desk.verify()


def test_a_table_of_an_image_in_no_well_goes_without_that_column(
    desk: Desk, target: str, alice, root
) -> None:
    before = held(root)
    desk.targets[target] = [desk.table(target, {"label": [1, 2]}, references=("Image", "Well"))]
    desk.apply()
    told = "without their column Well, since their images lie in no well on the server"
    assert told in warnings_of(desk)
    assert f"table nuclei of {target}" in warnings_of(desk)
    (file,) = held(root)["Annotation"] - before["Annotation"]
    there = ezomero.get_table(alice, file)
    assert there.to_dict("list") == {"Image": [number_of(target)] * 2, "label": [1, 2]}
    desk.verify()
    assert numbers_in(desk.apply(), target) == (0, 0, 1, 0)
    desk.revert()
    assert held(root) == before


def test_an_id_of_another_kind_is_told(desk: Desk, alice, logged_in) -> None:
    number = save(alice, dataset()).id.val
    while projection(alice, "select i.id from Image i where i.id = :id", id=number):
        number = save(alice, dataset()).id.val
    uri, meant = f"{logged_in}/image/{number}", f"{logged_in}/dataset/{number}"
    desk.targets[uri] = [Comment.planned(uri, namespace=RUN_NAMESPACE, text="hello")]
    with pytest.raises(InputError, match="are not on the OMERO server") as caught:
        desk.apply()
    assert meant in str(caught.value)
    with pytest.raises(InputError, match="no such image") as caught:
        run_step(load_step("list-images"), {}, {"sheet": desk.folder / "s.tsv"}, {"source": [uri]})
    assert meant in str(caught.value)
    with pytest.raises(InputError, match="no such image") as caught:
        run_step(load_step("fetch-image"), {}, {"original": desk.folder / "o"}, {"source": uri})
    assert meant in str(caught.value)


def test_pairs_of_users_and_ours_stand_side_by_side(desk: Desk, target: str, alice, root) -> None:
    parent = alice.getObject("Image", number_of(target))._obj
    save(alice, annotated(reference(parent), key_values(CLIENT_NAMESPACE, drug="mine")))
    before = held(root)
    desk.targets[target] = [
        KeyValues.planned(target, namespace=CLIENT_NAMESPACE, pairs=(("drug", "ours"),)),
        KeyValues.planned(target, namespace=RUN_NAMESPACE, pairs=(("drug", "of the run"),)),
    ]
    desk.apply()
    found = alice.getObject("Image", number_of(target)).listAnnotations(ns=CLIENT_NAMESPACE)
    assert sorted(str(each.getValue()) for each in found) == [
        "[('drug', 'mine')]",
        "[('drug', 'ours')]",
    ]
    desk.revert()
    assert held(root) == before
