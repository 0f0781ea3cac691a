"""The test server saves graphs as OMERO does: whole or not at all, with versions and events."""

from __future__ import annotations

import time
from typing import Any

import omero
import omero.model
import pytest
from omero.rtypes import rdouble, rint, rlong, rstring

from omero_objects import (
    annotated,
    context,
    dataset,
    dataset_link,
    image,
    key_values,
    projection,
    reference,
    save,
    tag,
)

COUNT = "select count(d) from Dataset d where d.name = :name"


def find(gateway: Any, kind: str, number: int) -> Any:
    return gateway.c.sf.getQueryService().get(kind, number, context(-1))


def test_versions_count_changes_alone(alice: Any) -> None:
    saved = save(alice, dataset("versions"))
    assert saved.version.val == 0
    assert save(alice, saved).version.val == 0
    saved.name = rstring("changed")
    changed = save(alice, saved)
    assert changed.version.val == 1
    assert find(alice, "Dataset", saved.id.val).version.val == 1


def test_a_stale_object_is_refused(alice: Any) -> None:
    saved = save(alice, dataset("stale"))
    first, second = find(alice, "Dataset", saved.id.val), find(alice, "Dataset", saved.id.val)
    first.description = rstring("by the first")
    save(alice, first)
    second.description = rstring("by the second")
    with pytest.raises(omero.OptimisticLockException):
        save(alice, second)
    assert find(alice, "Dataset", saved.id.val).description.val == "by the first"


def test_events_tell_when_and_by_whom(alice: Any) -> None:
    before = time.time_ns() // 1_000_000
    saved = save(alice, dataset("events"))
    details = saved.details
    assert details.creationEvent.id.val == details.updateEvent.id.val
    saved.description = rstring("later")
    save(alice, saved)
    query = (
        "select c.time, u.time, u.experimenter.omeName, u.experimenterGroup.name, u.type.value "
        "from Dataset d join d.details.creationEvent c join d.details.updateEvent u "
        "where d.id = :id"
    )
    [[made, changed, user, group, kind]] = projection(alice, query, id=rlong(saved.id.val))
    assert before <= made <= changed <= time.time_ns() // 1_000_000
    assert (user, group, kind) == ("alice", "annotate", "User")


def test_one_error_undoes_a_whole_save(alice: Any) -> None:
    unnamed = omero.model.DatasetI()
    with pytest.raises(omero.ValidationException):
        alice.c.sf.getUpdateService().saveAndReturnArray(
            [dataset("half"), dataset("half"), unnamed]
        )
    assert projection(alice, COUNT, name="half") == [0]


def test_one_error_undoes_what_was_changed_and_linked(alice: Any) -> None:
    saved, child = save(alice, dataset("kept")), save(alice, image())
    saved.name = rstring("lost")
    gone = omero.model.ImageI(2**40, False)
    links = [dataset_link(saved, reference(child)), dataset_link(reference(saved), gone)]
    with pytest.raises(omero.ValidationException):
        alice.c.sf.getUpdateService().saveArray(links)
    assert find(alice, "Dataset", saved.id.val).name.val == "kept"
    query = "select count(l) from DatasetImageLink l where l.parent.id = :id"
    assert projection(alice, query, id=rlong(saved.id.val)) == [0]
    # Indices are as they were: the same link can be saved now.
    assert save(alice, dataset_link(reference(saved), reference(child))).id.val > 0


def test_a_link_is_there_once_for_each_user(alice: Any, gateway: Any) -> None:
    parent, mark = save(alice, dataset()), save(alice, tag())
    link = annotated(reference(parent), reference(mark))
    save(alice, link)
    with pytest.raises(omero.ValidationException):
        save(alice, annotated(reference(parent), reference(mark)))
    assert save(gateway("bob"), annotated(reference(parent), reference(mark))).id.val > 0


def test_names_of_users_are_unique(root: Any) -> None:
    person = omero.model.ExperimenterI()
    person.omeName = rstring("alice")
    person.firstName = person.lastName = rstring("x")
    group = omero.model.ExperimenterGroupI(1, False)
    with pytest.raises(omero.ValidationException):
        root.c.sf.getAdminService().createExperimenter(person, group, [])


@pytest.mark.parametrize("made", [omero.model.DatasetI(), omero.model.DatasetImageLinkI()])
def test_what_is_required_must_be_there(alice: Any, made: Any) -> None:
    with pytest.raises(omero.ValidationException, match="null"):
        save(alice, made)


def test_required_values_cannot_be_taken_away(alice: Any) -> None:
    saved = save(alice, dataset())
    saved.name = None
    with pytest.raises(omero.ValidationException, match="null"):
        save(alice, saved)


def test_null_is_no_object(alice: Any) -> None:
    with pytest.raises(omero.ApiUsageException):
        alice.c.sf.getUpdateService().saveAndReturnObject(None)


def test_enumerations_are_found_by_their_value(alice: Any) -> None:
    file = omero.model.OriginalFileI()
    file.name, file.path = rstring("a"), rstring("/")
    file.hasher = omero.model.ChecksumAlgorithmI()
    file.hasher.value = rstring("SHA1-160")
    saved = save(alice, file)
    known = alice.c.sf.getTypesService().getEnumeration("ChecksumAlgorithm", "SHA1-160")
    assert saved.hasher.id.val == known.id.val
    file.hasher.value = rstring("none such")
    file.hasher.id = None
    with pytest.raises(omero.SecurityViolation):
        save(alice, file)


def test_numbers_with_units_come_back(alice: Any) -> None:
    shape = omero.model.PointI()
    shape.x, shape.y, shape.theZ = rdouble(1.5), rdouble(-2), rint(3)
    shape.strokeWidth = omero.model.LengthI(2.5, omero.model.enums.UnitsLength.PIXEL)
    roi = omero.model.RoiI()
    roi.addShape(shape)
    number = save(alice, roi).id.val
    query = "select r from Roi r join fetch r.shapes where r.id = :id"
    [found] = projection(alice, query, id=rlong(number))
    [point] = found.copyShapes()
    assert (point.x.val, point.y.val, point.theZ.val) == (1.5, -2.0, 3)
    assert (point.strokeWidth.getValue(), point.strokeWidth.getUnit().name) == (2.5, "PIXEL")
    query = "select s.strokeWidth.value, s.strokeWidth.unit from Shape s where s.roi.id = :id"
    assert projection(alice, query, id=rlong(number)) == [[2.5, "PIXEL"]]


def test_pairs_keep_their_order_and_every_letter(alice: Any) -> None:
    pairs = {"z": "1", "a": "\U0001f600 \u202e\u0000".replace("\u0000", "") + "ä" * 20_000, "": ""}
    saved = save(alice, key_values("test", **pairs))
    found = find(alice, "MapAnnotation", saved.id.val)
    assert [(pair.name, pair.value) for pair in found.mapValue] == list(pairs.items())
    found.mapValue = found.mapValue[::-1]
    assert save(alice, found).version.val == 1


def test_what_others_refer_to_is_not_deleted(alice: Any) -> None:
    parent, mark = save(alice, dataset()), save(alice, tag())
    link = save(alice, annotated(reference(parent), reference(mark)))
    update = alice.c.sf.getUpdateService()
    with pytest.raises(omero.ValidationException):
        update.deleteObject(reference(mark))
    update.deleteObject(reference(link))
    update.deleteObject(reference(mark))
    query = "select count(t) from TagAnnotation t where t.id = :id"
    assert projection(alice, query, id=rlong(mark.id.val)) == [0]


def test_collections_that_are_sent_are_saved_and_returned(alice: Any) -> None:
    made = dataset("with links")
    made.linkAnnotation(tag("one"))
    made.linkAnnotation(tag("two"))
    saved = save(alice, made)
    texts = [link.child.textValue.val for link in saved.copyAnnotationLinks()]
    assert texts == ["one", "two"]
    bare = find(alice, "Dataset", saved.id.val)
    assert bare.annotationLinksLoaded is False
    # A collection that is not sent is left alone.
    bare.name = rstring("renamed")
    save(alice, bare)
    query = "select count(l) from DatasetAnnotationLink l where l.parent.id = :id"
    assert projection(alice, query, id=rlong(saved.id.val)) == [2]


def test_what_objects_are_elsewhere_is_kept(alice: Any) -> None:
    def elsewhere(kind: str) -> Any:
        info = omero.model.ExternalInfoI()
        info.entityType, info.entityId = rstring(kind), rlong(1)
        return info

    made = dataset()
    made.details.externalInfo = elsewhere("first")
    saved = save(alice, made)
    assert saved.details.externalInfo.entityType.val == "first"
    saved.details.externalInfo = elsewhere("second")
    saved = save(alice, saved)
    query = "select d.details.externalInfo.entityType from Dataset d where d.id = :id"
    assert projection(alice, query, id=rlong(saved.id.val)) == ["second"]
    saved.details.externalInfo = None
    assert save(alice, saved).details.externalInfo is None


def test_what_is_deleted_cannot_be_saved(alice: Any) -> None:
    saved = save(alice, dataset())
    alice.c.sf.getUpdateService().deleteObject(reference(saved))
    saved.name = rstring("too late")
    with pytest.raises(omero.ValidationException):
        save(alice, saved)


def test_thousands_of_rois_are_saved_and_found(alice: Any) -> None:
    parent = reference(save(alice, image("many")))
    rois = []
    for number in range(3000):
        roi, mask = omero.model.RoiI(), omero.model.MaskI()
        roi.image = parent
        mask.x = mask.y = rdouble(number)
        mask.width = mask.height = rdouble(8)
        mask.setBytes(b"\xff" * 8)
        roi.addShape(mask)
        rois.append(roi)
    ids = alice.c.sf.getUpdateService().saveAndReturnIds(rois)
    assert len(set(ids)) == 3000
    query = "select r.id, s.x from Roi r join r.shapes s where r.image.id = :id order by s.x"
    found = projection(alice, query, id=rlong(parent.id.val))
    assert found == [[number, float(x)] for x, number in enumerate(ids)]
    query = "select sum(s.x) from Mask s where s.roi.id in (:ids)"
    wrapped = omero.rtypes.rlist([rlong(number) for number in ids])
    assert projection(alice, query, ids=wrapped) == [sum(range(3000))]
