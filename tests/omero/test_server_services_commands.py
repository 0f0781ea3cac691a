"""The test server deletes, moves and gives graphs by the rules of OMERO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ezomero
import numpy as np
import omero
import omero.cmd
import omero.model
import pytest
from omero.gateway import MapAnnotationWrapper, TagAnnotationWrapper

KEPT = ["TagAnnotation", "FileAnnotation"]


def image_in(gateway: Any, dataset: int | None = None, name: str = "an image") -> int:
    """Return the id of a new image."""
    parent = None if dataset is None else omero.model.DatasetI(dataset, False)
    plane = np.zeros((4, 4), "uint8")
    return int(gateway.createImageFromNumpySeq(iter([plane]), name, dataset=parent).id)


def tagged(gateway: Any, *images: int, text: str = "a tag") -> int:
    tag = TagAnnotationWrapper(gateway)
    tag.setValue(text)
    tag.save()
    for image in images:
        gateway.getObject("Image", image).linkAnnotation(tag)
    return int(tag.getId())


def mapped(gateway: Any, *images: int) -> int:
    pairs = MapAnnotationWrapper(gateway)
    pairs.setValue([["a", "b"]])
    pairs.save()
    for image in images:
        gateway.getObject("Image", image).linkAnnotation(pairs)
    return int(pairs.getId())


def delete(gateway: Any, **targets: list[int]) -> Any:
    """Delete objects by their classes; return the response."""
    return submit(gateway, omero.cmd.Delete2(targetObjects=targets))


def submit(gateway: Any, request: Any) -> Any:
    callback = gateway.c.submit(request, loops=60)
    try:
        return callback.getResponse()
    finally:
        callback.close(True)


def there(gateway: Any, kind: str, number: int) -> bool:
    query = f"select count(o) from {kind} o where o.id = {number}"
    return bool(gateway.getQueryService().projection(query, None)[0][0].val)


def test_an_image_goes_with_what_is_its_alone(alice: Any) -> None:
    image, other = image_in(alice), image_in(alice)
    own, shared = mapped(alice, image), mapped(alice, image, other)
    own_tag, shared_tag = tagged(alice, image), tagged(alice, image, other, text="shared")
    roi = ezomero.post_roi(alice, image, [ezomero.rois.Rectangle(1, 1, 2, 2)])
    pixels = alice.getObject("Image", image).getPixelsId()

    deleted = delete(alice, Image=[image]).deletedObjects
    assert deleted["ome.model.core.Image"] == [image]
    assert deleted["ome.model.annotations.MapAnnotation"] == [own]
    for kind, number in [("Image", image), ("Pixels", pixels), ("Roi", roi)]:
        assert not there(alice, kind, number)
    for kind, number in [("MapAnnotation", own), ("TagAnnotation", own_tag)]:
        assert not there(alice, kind, number)
    for kind, number in [("MapAnnotation", shared), ("TagAnnotation", shared_tag)]:
        assert there(alice, kind, number)
    assert len(list(alice.getObject("Image", other).listAnnotations())) == 2


def test_tags_that_a_request_leaves_out_stay(alice: Any) -> None:
    image = image_in(alice)
    tag, pairs = tagged(alice, image), mapped(alice, image)
    option = omero.cmd.graphs.ChildOption(excludeType=KEPT)
    submit(alice, omero.cmd.Delete2({"Image": [image]}, [option], False))
    assert there(alice, "TagAnnotation", tag)
    assert not there(alice, "MapAnnotation", pairs)


def test_options_hold_for_namespaces(alice: Any) -> None:
    image = image_in(alice)
    kept = ezomero.post_map_annotation(alice, "Image", image, {"a": "b"}, ns="kept.ns")
    gone = ezomero.post_map_annotation(alice, "Image", image, {"a": "b"}, ns="gone.ns")
    option = omero.cmd.graphs.ChildOption(excludeType=["Annotation"], includeNs=["kept.ns"])
    submit(alice, omero.cmd.Delete2({"Image": [image]}, [option], False))
    assert there(alice, "MapAnnotation", kept)
    assert not there(alice, "MapAnnotation", gone)


def test_a_link_takes_its_key_value_pairs_along_but_no_tag(alice: Any) -> None:
    image = image_in(alice)
    pairs, tag = mapped(alice, image), tagged(alice, image)
    links = [a.link.id for a in alice.getObject("Image", image).listAnnotations()]
    delete(alice, ImageAnnotationLink=links)
    assert there(alice, "Image", image)
    assert not there(alice, "MapAnnotation", pairs)
    assert there(alice, "TagAnnotation", tag)


def test_a_dataset_takes_along_images_that_are_in_no_other(alice: Any) -> None:
    first, second = (ezomero.post_dataset(alice, name) for name in ("one", "two"))
    alone, both = image_in(alice, first), image_in(alice, first)
    ezomero.link_images_to_dataset(alice, [both], second)
    delete(alice, Dataset=[first])
    assert (there(alice, "Image", alone), there(alice, "Image", both)) == (False, True)


def test_containers_alone_are_deleted_when_asked(alice: Any) -> None:
    dataset = ezomero.post_dataset(alice, "alone")
    image = image_in(alice, dataset)
    alice.deleteObjects("Dataset", [dataset], wait=True)
    assert there(alice, "Image", image)
    assert not there(alice, "Dataset", dataset)


def test_a_dry_run_tells_and_changes_nothing(alice: Any) -> None:
    image = image_in(alice)
    request = omero.cmd.Delete2(targetObjects={"Image": [image]}, dryRun=True)
    assert submit(alice, request).deletedObjects["ome.model.core.Image"] == [image]
    assert there(alice, "Image", image)


def test_what_is_not_there_cannot_be_deleted(alice: Any) -> None:
    image = image_in(alice)
    with pytest.raises(omero.CmdError, match="cannot read all the specified objects") as caught:
        delete(alice, Image=[image, 987_654])
    assert isinstance(caught.value.err, omero.cmd.GraphException)
    assert there(alice, "Image", image)


def test_what_belongs_to_others_cannot_be_deleted(alice: Any, gateway: Any) -> None:
    image = image_in(alice)
    with pytest.raises(omero.CmdError, match="not permitted to delete"):
        delete(gateway("bob"), Image=[image])
    assert there(alice, "Image", image)


def test_bytes_go_with_what_they_are_of(alice: Any, own_server: Any, tmp_path: Path) -> None:
    image = image_in(alice)
    pixels = own_server.folder / "Pixels" / str(alice.getObject("Image", image).getPixelsId())
    (tmp_path / "a.txt").write_text("a")
    made = ezomero.post_file_annotation(
        alice, str(tmp_path / "a.txt"), ns="ns", object_type="Image", object_id=image
    )
    file = own_server.folder / "Files" / str(alice.getObject("FileAnnotation", made).getFile().id)
    assert pixels.exists()
    assert file.exists()
    delete(alice, Image=[image])
    assert not pixels.exists()
    assert not file.exists()


def test_rois_are_deleted_by_the_thousand(alice: Any) -> None:
    image = image_in(alice)
    rois = []
    for _ in range(3000):
        roi = omero.model.RoiI()
        roi.image = omero.model.ImageI(image, False)
        shape = omero.model.PointI()
        shape.x = shape.y = omero.rtypes.rdouble(1)
        roi.addShape(shape)
        rois.append(roi)
    ids = alice.getUpdateService().saveAndReturnIds(rois)
    deleted = delete(alice, Roi=ids).deletedObjects
    assert len(deleted["ome.model.roi.Roi"]) == len(deleted["ome.model.roi.Point"]) == 3000
    assert alice.getObject("Image", image).getROICount() == 0


def test_several_requests_are_all_done_or_none(alice: Any) -> None:
    image = image_in(alice)
    requests = [omero.cmd.Delete2({"Image": [number]}) for number in (image, 987_654)]
    with pytest.raises(omero.CmdError):
        submit(alice, omero.cmd.DoAll(requests=requests))
    assert there(alice, "Image", image)
    assert submit(alice, omero.cmd.DoAll(requests=requests[:1])).responses
    assert not there(alice, "Image", image)


def test_objects_are_deleted_from_another_group_than_the_calls(alice: Any, gateway: Any) -> None:
    private = gateway("alice", group="private")
    image = image_in(private)
    delete(alice, Image=[image])
    assert not there(private, "Image", image)


def test_images_move_to_a_group_with_what_is_theirs(alice: Any, gateway: Any) -> None:
    dataset = ezomero.post_dataset(alice, "stays")
    image, other = image_in(alice, dataset), image_in(alice)
    pairs, shared = mapped(alice, image), tagged(alice, image, other, text="stays")
    write = ezomero.get_group_id(alice, "write")
    submit(alice, omero.cmd.Chgrp2({"Image": [image]}, groupId=write))

    moved = gateway("alice", group="write")
    assert moved.getObject("Image", image).getDetails().getGroup().getName() == "write"
    assert there(moved, "MapAnnotation", pairs)
    np.testing.assert_array_equal(
        moved.getObject("Image", image).getPrimaryPixels().getPlane(), np.zeros((4, 4))
    )
    assert not list(moved.getObject("Image", image).getParent() or [])
    assert not there(alice, "Image", image)
    assert there(alice, "TagAnnotation", shared)


def test_images_move_into_a_container_of_the_other_group(alice: Any, gateway: Any) -> None:
    image = image_in(alice)
    write = gateway("alice", group="write")
    dataset = ezomero.post_dataset(write, "waits")
    handle = alice.chgrpObjects("Image", [image], write.getGroupFromContext().getId(), dataset)
    alice._waitOnCmd(handle, loops=60, closehandle=True).close(True)
    assert ezomero.get_image_ids(write, dataset=dataset) == [image]


def test_nothing_moves_to_a_group_that_one_is_not_in(alice: Any) -> None:
    image = image_in(alice)
    with pytest.raises(omero.CmdError):
        submit(alice, omero.cmd.Chgrp2({"Image": [image]}, groupId=0))
    assert there(alice, "Image", image)


def test_images_are_given_by_group_owners(alice: Any, gateway: Any) -> None:
    bob = gateway("bob")
    image = image_in(bob)
    with pytest.raises(omero.CmdError, match="not permitted"):
        submit(bob, omero.cmd.Chown2({"Image": [image]}, userId=alice.getUserId()))
    submit(alice, omero.cmd.Chown2({"Image": [image]}, userId=alice.getUserId()))
    assert alice.getObject("Image", image).getOwnerOmeName() == "alice"


def test_settings_alone_are_deleted_below_an_image(alice: Any) -> None:
    image = image_in(alice)
    alice.getObject("Image", image).saveDefaults()
    query = f"select count(r) from RenderingDef r where r.pixels.image.id = {image}"
    count = alice.getQueryService().projection
    assert count(query, None)[0][0].val == 1
    assert alice.getObject("Image", image).resetRDefs()
    assert count(query, None)[0][0].val == 0
    assert there(alice, "Image", image)


def test_parents_and_children_are_found(alice: Any) -> None:
    project = ezomero.post_project(alice, "p")
    dataset = ezomero.post_dataset(alice, "d", project_id=project)
    image = image_in(alice, dataset)
    found = submit(alice, omero.cmd.FindParents({"Image": [image]}, ["Project"])).parents
    assert found == {"ome.model.containers.Project": [project]}
    found = submit(alice, omero.cmd.FindChildren({"Project": [project]}, ["Image"])).children
    assert found == {"ome.model.core.Image": [image]}


def test_commands_that_do_not_exist_are_told_of(alice: Any) -> None:
    with pytest.raises(omero.CmdError, match="not implemented"):
        submit(alice, omero.cmd.Timing(1, 1))
