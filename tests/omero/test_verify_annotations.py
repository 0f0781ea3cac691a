"""The step verify-annotations: every kind of damage is found, and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import omero
import pytest
from omero.rtypes import rdouble, rlong, rstring

from annotating import Desk
from omero_objects import context, projection, upload_image
from parfocal.errors import InputError, VerificationError
from parfocal.omero import roi_parts

Damage = Callable[[Any, int], None]


@pytest.fixture
def desk(target: str, tmp_path: Path) -> Desk:
    """An entry of every kind, applied."""
    made = Desk(tmp_path / "results")
    made.targets[target] = made.everything(target)
    made.apply()
    return made


def annotation(gateway: Any, kind: str, image: int) -> Any:
    """Return the first annotation of a kind on an image."""
    query = (
        f"select a from ImageAnnotationLink l, {kind} a where l.child.id = a.id "
        "and l.parent.id = :id order by a.id"
    )
    parameters = omero.sys.ParametersI().addId(image)
    return gateway.getQueryService().findAllByQuery(query, parameters)[0]


def save(gateway: Any, made: Any) -> None:
    gateway.getUpdateService().saveObject(made)


def edit_pair(gateway: Any, image: int) -> None:
    found = annotation(gateway, "MapAnnotation", image)
    found.mapValue[0].value = "another"
    save(gateway, found)


def edit_rating(gateway: Any, image: int) -> None:
    found = annotation(gateway, "LongAnnotation", image)
    found.longValue = rlong(5)
    save(gateway, found)


def edit_comment(gateway: Any, image: int) -> None:
    found = annotation(gateway, "CommentAnnotation", image)
    found.textValue = rstring("another")
    save(gateway, found)


def unlink_tag(gateway: Any, image: int) -> None:
    tag = annotation(gateway, "TagAnnotation", image).id.val
    query = "select l.id from ImageAnnotationLink l where l.child.id = :tag"
    gateway.deleteObjects("ImageAnnotationLink", projection(gateway, query, tag=tag), wait=True)


def delete_comment(gateway: Any, image: int) -> None:
    found = annotation(gateway, "CommentAnnotation", image)
    gateway.deleteObjects("Annotation", [found.id.val], wait=True)


def unlink_file(gateway: Any, image: int) -> None:
    query = (
        "select l.id from ImageAnnotationLink l, FileAnnotation a where l.child.id = a.id "
        "and a.ns like 'parfocal%' and l.parent.id = :image order by l.id"
    )
    ids = projection(gateway, query, image=image)
    gateway.deleteObjects("ImageAnnotationLink", ids[:1], wait=True)


def unlink_pairs(gateway: Any, image: int) -> None:
    query = (
        "select l from ImageAnnotationLink l, MapAnnotation a where l.child.id = a.id "
        "and l.parent.id = :id order by l.id"
    )
    parameters = omero.sys.ParametersI().addId(image)
    link = gateway.getQueryService().findAllByQuery(query, parameters)[0]
    project = omero.model.ProjectI()
    project.name = rstring("elsewhere")
    elsewhere = omero.model.ProjectAnnotationLinkI()
    elsewhere.parent, elsewhere.child = project, omero.model.MapAnnotationI(link.child.id, False)
    save(gateway, elsewhere)
    gateway.deleteObjects("ImageAnnotationLink", [link.id.val], wait=True)


def edit_file_byte(gateway: Any, image: int) -> None:
    query = (
        "select a.file.id from FileAnnotation a where a.file.name = 'first.txt' order by a.id desc"
    )
    store = gateway.c.sf.createRawFileStore()
    store.setFileId(projection(gateway, query)[0])
    store.write(b"F", 0, 1)
    store.save()
    store.close()


def edit_cell(gateway: Any, image: int) -> None:
    query = (
        "select a.file.id from ImageAnnotationLink l, FileAnnotation a where l.child.id = a.id "
        "and a.ns like '%bulk%' and l.parent.id = :image"
    )
    file = omero.model.OriginalFileI(projection(gateway, query, image=image)[0], False)
    table = gateway.c.sf.sharedResources().openTable(file, context(-1))
    data = table.slice([4], [2])
    data.columns[0].values = [99.0]
    table.update(data)
    table.close()


def shapes(gateway: Any, image: int) -> list[Any]:
    rois = gateway.getRoiService().findByImage(image, None).rois
    return [shape for roi in rois for shape in roi.copyShapes()]


def move_shape(gateway: Any, image: int) -> None:
    shape = shapes(gateway, image)[0]
    shape.x = rdouble(shape.x.val + 1)
    save(gateway, shape)


def edit_mask(gateway: Any, image: int) -> None:
    shape = shapes(gateway, image)[0]
    shape.bytes = b"\x00" + bytes(shape.bytes)[1:]
    save(gateway, shape)


def delete_shape(gateway: Any, image: int) -> None:
    gateway.deleteObjects("Shape", [shapes(gateway, image)[0].id.val], wait=True)


def delete_roi(gateway: Any, image: int) -> None:
    roi = gateway.getRoiService().findByImage(image, None).rois[0]
    gateway.deleteObjects("Roi", [roi.id.val], wait=True)


def label_image(gateway: Any, image: int) -> Any:
    siblings = gateway.getObject("Image", image).getParent().listChildren()
    return next(each for each in siblings if each.getId() != image)


def delete_labels(gateway: Any, image: int) -> None:
    gateway.deleteObjects("Image", [label_image(gateway, image).getId()], wait=True)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (edit_pair, "'another'"),
        (edit_rating, "it is 5 on the server, and 4 in the plan"),
        (edit_comment, "'another'"),
        (delete_comment, "comment: it is no longer on the object"),
        (unlink_tag, "it is no longer on the object"),
        (unlink_file, "no longer on the object"),
        (unlink_pairs, "no longer on the object"),
        (edit_file_byte, "first.txt"),
        (edit_cell, "column area differs in rows"),
        (move_shape, "its shapes are not those of the object"),
        (edit_mask, "its shapes are not those of the object"),
        (delete_shape, "its shapes are not those of the object"),
        (delete_roi, "is gone from the server"),
        (delete_labels, "it is gone from the server"),
    ],
)
def test_damage_is_found_and_told(
    damage: Damage, told: str, desk: Desk, target: str, alice
) -> None:
    assert desk.verify()["verdict"] == "verified"
    damage(alice, int(target.rpartition("/")[2]))
    with pytest.raises(VerificationError) as caught:
        desk.verify()
    assert told in str(caught.value)
    assert target in str(caught.value)
    left = json.loads((desk.folder / "verify-annotations.json").read_text("utf-8"))
    assert left["verdict"] == "different"
    assert told in str(left["differences"])


def test_one_place_is_one_place(desk: Desk, target: str, alice) -> None:
    edit_rating(alice, int(target.rpartition("/")[2]))
    with pytest.raises(VerificationError, match="in 1 place: "):
        desk.verify()


def test_all_that_differs_is_left_where_the_message_tells_the_first(
    desk: Desk, target: str, alice
) -> None:
    image = int(target.rpartition("/")[2])
    query = "select l.id from ImageAnnotationLink l where l.parent.id = :image"
    numbers = projection(alice, query, image=image)
    alice.deleteObjects("ImageAnnotationLink", numbers, wait=True)
    rois = [roi.id.val for roi in alice.getRoiService().findByImage(image, None).rois]
    alice.deleteObjects("Roi", rois, wait=True)
    with pytest.raises(VerificationError, match=r"and \d+ more") as caught:
        desk.verify()
    assert caught.value.exit_code == 4
    left = json.loads((desk.folder / "verify-annotations.json").read_text("utf-8"))
    assert len(left["differences"]) == len(numbers) + len(rois)
    desk.apply()
    assert desk.verify()["differences"] == []


def test_rois_are_read_in_parts_that_an_answer_can_hold(
    desk: Desk, target: str, alice, monkeypatch: pytest.MonkeyPatch, faults
) -> None:
    counts = []
    for most in (roi_parts._BYTES_AT_ONCE, 1):
        monkeypatch.setattr(roi_parts, "_BYTES_AT_ONCE", most)
        last = faults.last()
        assert desk.verify()["verdict"] == "verified"
        counts.append(len(faults.journal("IQuery", "findAllByQuery", since=last)))
    assert counts[1] == counts[0] + 4  # of five ROIs
    delete_roi(alice, int(target.rpartition("/")[2]))
    with pytest.raises(VerificationError, match=r"in 1 place: .*is gone from the server"):
        desk.verify()


def test_a_changed_pixel_is_found(desk: Desk, target: str, alice, own_server) -> None:
    made = label_image(alice, int(target.rpartition("/")[2]))
    pixels = own_server.folder / "Pixels" / str(made.getPixelsId())
    content = bytearray(pixels.read_bytes())
    content[-2 * 32 * 10 + 1] ^= 1  # in the last plane
    pixels.write_bytes(content)
    with pytest.raises(VerificationError, match="its pixels differ at T 1, Z 1"):
        desk.verify()


def test_a_byte_that_changed_without_its_checksum_is_found(
    desk: Desk, target: str, alice, own_server
) -> None:
    query = "select max(a.file.id) from FileAnnotation a where a.file.name = 'crate'"
    (number,) = projection(alice, query)
    (path,) = (own_server.folder / "Files").rglob(str(number))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(VerificationError, match="in 1 place: ") as caught:
        desk.verify()
    at = len(content) - 5
    told = f"its bytes on the server differ from those here, from byte {at} on"
    assert told in str(caught.value)


def test_a_file_of_many_pieces_is_compared_to_its_end(
    target: str, tmp_path: Path, alice, own_server, faults
) -> None:
    desk = Desk(tmp_path / "results")
    content = bytearray(bytes(range(256)) * (9 << 12))
    desk.targets[target] = [desk.attachment(target, "large.bin", bytes(content))]
    desk.apply()
    query = "select max(a.file.id) from FileAnnotation a where a.file.name = 'large.bin'"
    (number,) = projection(alice, query)
    (path,) = (own_server.folder / "Files").rglob(str(number))
    faults.drop("RawFileStore", "read", nth=2)  # it goes on where it was
    assert desk.verify()["verdict"] == "verified"
    for at in (len(content) - 1, 5 << 20):
        content[at] ^= 1
        path.write_bytes(content)
        with pytest.raises(VerificationError, match=f"from byte {at} on"):
            desk.verify()


def test_what_targets_share_comes_once(target, tmp_path, alice, logged_in, faults) -> None:
    desk = Desk(tmp_path / "results")
    for uri in (target, *(f"{logged_in}/image/{upload_image(alice)}" for _ in range(2))):
        desk.targets[uri] = [desk.attachment(uri, "shared.txt", b"shared")]
    desk.apply()
    last = faults.last()
    assert desk.verify()["verdict"] == "verified"
    assert len(faults.journal("RawFileStore", "read", since=last)) == 1
    query = "select max(a.file.id) from FileAnnotation a where a.file.name = 'shared.txt'"
    alice.deleteObjects("OriginalFile", projection(alice, query), wait=True)
    with pytest.raises(VerificationError, match="in 3 places"):
        desk.verify()


def test_what_the_journal_has_besides_the_plan_is_told(
    desk: Desk, target: str, alice, logged_in
) -> None:
    image = int(target.rpartition("/")[2])
    comment = annotation(alice, "CommentAnnotation", image).id.val
    desk.targets[target] = [each for each in desk.targets[target] if each.kind != "comment"]
    with pytest.raises(VerificationError, match="in 1 place: ") as caught:
        desk.verify()
    assert f"CommentAnnotation {comment}" in str(caught.value)
    assert "of run run-1 is there, and not in the plan" in str(caught.value)
    desk.apply()
    assert desk.verify()["other_targets"] == []
    other = f"{logged_in}/image/{upload_image(alice)}"
    desk.targets = {other: desk.everything(other)}
    desk.apply()
    told = desk.verify()
    assert told["verdict"] == "verified"
    assert told["other_targets"] == [target]


def test_what_was_replaced_and_not_removed_is_told(desk: Desk, target: str) -> None:
    before = desk.journal().read_text("utf-8")
    desk.targets[target] = desk.everything(target, said="second")
    desk.apply()
    lines = desk.journal().read_text("utf-8").splitlines(keepends=True)
    assert "".join(lines).startswith(before)
    kept = [line for line in lines if not line.startswith('{"gone"')]
    desk.journal().write_text("".join(kept), "utf-8")
    with pytest.raises(VerificationError) as caught:
        desk.verify()
    left = json.loads((desk.folder / "verify-annotations.json").read_text("utf-8"))["differences"]
    assert [each for each in left if "is there besides what replaced it" not in each] == [
        each for each in left if "FileAnnotation" in each and "not in the plan" in each
    ]
    assert len(left) == len(lines) - len(kept)
    assert str(len(left)) in str(caught.value)


def test_what_was_not_applied_is_told(desk: Desk, target: str) -> None:
    desk.targets[target] = desk.everything(target, said="second")
    with pytest.raises(
        VerificationError, match="differs from the annotation plan in 4 places"
    ) as c:
        desk.verify()
    assert "another version of it was applied" in str(c.value)
    assert "second.txt: it was not applied" in str(c.value)
    assert "of run run-1 is there, and not in the plan" in str(c.value)


def test_a_target_that_is_gone_is_told(desk: Desk, target: str, alice) -> None:
    alice.deleteObjects("Image", [int(target.rpartition("/")[2])], wait=True)
    with pytest.raises(InputError, match="are not on the OMERO server"):
        desk.verify()
