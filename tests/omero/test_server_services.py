"""The test server keeps pixels, files, ROIs and pictures as OMERO does, for omero-py as it is."""

from __future__ import annotations

import hashlib
import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ezomero
import numpy as np
import omero
import omero.model
import pytest
from omero.rtypes import rdouble, rint, rstring
from PIL import Image

TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def planes(array: np.ndarray) -> Any:
    """Yield the planes of (T, C, Z, Y, X) as createImageFromNumpySeq takes them: Z, C, T."""
    for z in range(array.shape[2]):
        for c in range(array.shape[1]):
            for t in range(array.shape[0]):
                yield array[t, c, z]


def upload(gateway: Any, array: np.ndarray, name: str = "an image", dataset: Any = None) -> Any:
    """Return a new image with the pixels of (T, C, Z, Y, X)."""
    t, c, z = array.shape[:3]
    return gateway.createImageFromNumpySeq(
        planes(array), name, sizeZ=z, sizeC=c, sizeT=t, dataset=dataset
    )


def counted(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return pixels that all differ from their neighbours."""
    return (np.arange(np.prod(shape)) % 119).reshape(shape).astype(dtype)


def raw_store(gateway: Any, pixels_id: int) -> Any:
    store = gateway.c.sf.createRawPixelsStore()
    store.setPixelsId(pixels_id, True)
    return store


def new_image(gateway: Any, size: tuple[int, ...], kind: str, name: str = "empty") -> Any:
    """Return an image of (X, Y, Z, C, T) without bytes."""
    found = gateway.getQueryService().findByQuery(f"from PixelsType t where t.value='{kind}'", None)
    x, y, z, c, t = size
    made = gateway.getPixelsService().createImage(x, y, z, t, list(range(c)), found, name, None)
    return gateway.getObject("Image", made.val)


@pytest.mark.parametrize("dtype", TYPES)
def test_pixels_come_back_as_they_were_sent(alice: Any, dtype: str) -> None:
    sent = counted((2, 3, 2, 9, 7), dtype)
    image = alice.getObject("Image", upload(alice, sent).id)

    pixels = image.getPrimaryPixels()
    assert [image.getSizeT(), image.getSizeC(), image.getSizeZ()] == [2, 3, 2]
    for t, c, z in np.ndindex(2, 3, 2):
        np.testing.assert_array_equal(pixels.getPlane(z, c, t), sent[t, c, z])
    np.testing.assert_array_equal(pixels.getTile(1, 2, 1, (2, 3, 4, 5)), sent[1, 2, 1, 3:8, 2:6])


def test_bytes_are_big_endian_and_hashed(alice: Any) -> None:
    sent = counted((1, 1, 2, 4, 5), "uint16")
    pixels_id = upload(alice, sent).getPixelsId()

    store = raw_store(alice, pixels_id)
    assert store.getPlane(1, 0, 0) == sent[0, 0, 1].astype(">u2").tobytes()
    assert store.getRow(2, 1, 0, 0) == sent[0, 0, 1, 2].astype(">u2").tobytes()
    assert store.getCol(3, 1, 0, 0) == sent[0, 0, 1, :, 3].astype(">u2").tobytes()
    assert store.getStack(0, 0) == sent[0, 0].astype(">u2").tobytes()
    assert store.getTimepoint(0) == sent.astype(">u2").tobytes()
    cube = store.getHypercube([1, 0, 0, 0, 0], [3, 4, 2, 1, 1], [2, 1, 1, 1, 1])
    assert cube == sent[:, :, :, :, 1:4:2].astype(">u2").tobytes()
    assert (store.getByteWidth(), store.isSigned(), store.isFloat()) == (2, False, False)
    assert store.getPlaneOffset(1, 0, 0) == 40
    store.close()
    digest = hashlib.sha1(sent.astype(">u2").tobytes()).hexdigest()
    assert alice.getQueryService().get("Pixels", pixels_id).sha1.val == digest


def test_pixels_cannot_be_written_again_by_another_store(alice: Any) -> None:
    sent = counted((1, 1, 1, 4, 4), "uint8")
    store = raw_store(alice, upload(alice, sent).getPixelsId())
    with pytest.raises(omero.ApiUsageException, match="not permitted"):
        store.setPlane(sent[0, 0, 0].tobytes(), 0, 0, 0)
    store.close()


def test_pixels_that_are_deleted_cannot_be_read(alice: Any) -> None:
    image = upload(alice, counted((1, 1, 1, 4, 4), "uint8"))
    store = raw_store(alice, image.getPixelsId())
    alice.deleteObjects("Image", [image.getId()], wait=True)
    with pytest.raises(omero.ResourceError, match="Deleted"):
        store.getPlane(0, 0, 0)
    store.close()
    with pytest.raises(omero.ValidationException):
        raw_store(alice, image.getPixelsId())


def test_planes_of_the_wrong_size_and_places_outside_are_refused(alice: Any) -> None:
    store = raw_store(alice, new_image(alice, (4, 4, 1, 1, 1), "uint16").getPixelsId())
    with pytest.raises(omero.ResourceError, match="Underflow"):
        store.setPlane(b"\0" * 31, 0, 0, 0)
    with pytest.raises(omero.ApiUsageException, match="greater than sizeZ"):
        store.getPlane(1, 0, 0)
    with pytest.raises(omero.ApiUsageException, match="greater than sizeX"):
        store.getTile(0, 0, 0, 2, 0, 3, 1)
    store.close()
    with pytest.raises(omero.ValidationException):
        raw_store(alice, 999_999)


def test_large_planes_are_written_by_tiles_and_read_in_resolutions(alice: Any) -> None:
    image = new_image(alice, (3500, 3200, 1, 1, 1), "uint16", "large")
    sent = counted((3200, 3500), "uint16")
    store = raw_store(alice, image.getPixelsId())
    assert store.requiresPixelsPyramid()
    with pytest.raises(omero.InternalException, match="tile"):
        store.setPlane(sent.tobytes(), 0, 0, 0)
    width, height = store.getTileSize()
    for y in range(0, 3200, height):
        for x in range(0, 3500, width):
            tile = sent[y : y + height, x : x + width]
            store.setTile(tile.astype(">u2").tobytes(), 0, 0, 0, x, y, tile.shape[1], tile.shape[0])
    with pytest.raises(omero.ApiUsageException, match="comes after"):
        store.setTile(sent[:2, :2].tobytes(), 0, 0, 0, 0, 0, 2, 2)
    store.close()

    store = raw_store(alice, image.getPixelsId())
    assert store.getResolutionLevels() == 6
    assert [(d.sizeX, d.sizeY) for d in store.getResolutionDescriptions()][:2] == [
        (3500, 3200),
        (1750, 1600),
    ]
    tile = np.frombuffer(store.getTile(0, 0, 0, 300, 200, 50, 40), ">u2").reshape(40, 50)
    np.testing.assert_array_equal(tile, sent[200:240, 300:350])
    store.setResolutionLevel(4)
    half = np.frombuffer(store.getTile(0, 0, 0, 300, 200, 50, 40), ">u2").reshape(40, 50)
    np.testing.assert_array_equal(half, sent[400:480:2, 600:700:2])
    store.close()


def test_ranges_of_channels_are_kept(alice: Any) -> None:
    sent = counted((1, 2, 1, 8, 8), "uint8")
    image = alice.getObject("Image", upload(alice, sent).id)
    channel = image.getChannels()[1]
    assert (channel.getWindowMin(), channel.getWindowMax()) == (
        sent[0, 1].min(),
        sent[0, 1].max(),
    )
    histogram = image.getHistogram([0], 4)[0]
    assert sum(histogram) == 64


def test_an_image_is_copied_with_its_channels(alice: Any) -> None:
    sent = counted((1, 2, 1, 8, 8), "uint8")
    source = upload(alice, sent)
    made = alice.createImageFromNumpySeq(
        planes(sent[:, 1:]), "copied", sourceImageId=source.id, channelList=[1]
    )
    np.testing.assert_array_equal(made.getPrimaryPixels().getPlane(), sent[0, 1, 0])


def test_ezomero_posts_and_gets_an_image(alice: Any) -> None:
    sent = counted((1, 2, 3, 6, 5), "uint16")
    dataset = ezomero.post_dataset(alice, "for images")
    made = ezomero.post_image(
        alice, sent, "posted", dataset_id=dataset, dim_order="tczyx", description="by ezomero"
    )
    assert ezomero.get_image_ids(alice, dataset=dataset) == [made]
    _, pixels = ezomero.get_image(alice, made, dim_order="tczyx")
    np.testing.assert_array_equal(pixels, sent)
    _, part = ezomero.get_image(
        alice, made, start_coords=(1, 2, 1, 0, 0), axis_lengths=(3, 2, 1, 2, 1)
    )
    np.testing.assert_array_equal(part, sent.transpose(0, 2, 3, 4, 1)[:, 1:2, 2:4, 1:4, :2])


def test_files_are_attached_and_downloaded(alice: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * 21_000
    (tmp_path / "data.bin").write_bytes(content)
    made = alice.createFileAnnfromLocalFile(
        str(tmp_path / "data.bin"), mimetype="application/octet-stream", ns="a.namespace"
    )

    found = alice.getObject("FileAnnotation", made.id)
    assert b"".join(found.getFileInChunks(buf=1_000_000)) == content
    assert found.getFile().getSize() == len(content)
    assert found.getFile().getHash() == hashlib.sha1(content).hexdigest()
    with found.getFile().asFileObj() as file:
        file.seek(300)
        assert file.read(4) == content[300:304]


def test_ezomero_posts_and_gets_a_file(alice: Any, tmp_path: Path) -> None:
    dataset = ezomero.post_dataset(alice, "for files")
    (tmp_path / "notes.txt").write_text("some notes")
    made = ezomero.post_file_annotation(
        alice,
        str(tmp_path / "notes.txt"),
        ns="a.namespace",
        object_type="Dataset",
        object_id=dataset,
    )
    (tmp_path / "got").mkdir()
    path = ezomero.get_file_annotation(alice, made, folder_path=str(tmp_path / "got"))
    assert Path(path).read_text() == "some notes"


def test_a_file_is_cut_and_grown(alice: Any) -> None:
    file = omero.model.OriginalFileI()
    file.name, file.path = rstring("x"), rstring("/")
    file = alice.getUpdateService().saveAndReturnObject(file)
    store = alice.c.sf.createRawFileStore()
    store.setFileId(file.id.val)
    assert not store.exists()
    store.write(b"abcdef", 0, 6)
    store.write(b"xyz", 8, 3)
    assert store.size() == 11
    assert store.read(0, 14) == b"abcdef\0\0xyz\0\0\0"
    assert store.truncate(4)
    assert not store.truncate(4)
    saved = store.save()
    assert (saved.size.val, store.save()) == (4, None)
    store.close()


def test_a_file_of_others_is_read_only(alice: Any, gateway: Any) -> None:
    file = omero.model.OriginalFileI()
    file.name, file.path = rstring("x"), rstring("/")
    file = alice.getUpdateService().saveAndReturnObject(file)
    store = alice.c.sf.createRawFileStore()
    store.setFileId(file.id.val)
    store.write(b"abc", 0, 3)
    store.close()

    store = gateway("bob").c.sf.createRawFileStore()
    store.setFileId(file.id.val)
    assert store.read(0, 3) == b"abc"
    with pytest.raises(omero.SecurityViolation):
        store.write(b"x", 0, 1)
    store.close()


def test_rois_come_back_with_their_shapes(alice: Any) -> None:
    image = upload(alice, counted((1, 1, 2, 8, 8), "uint8"))
    roi = omero.model.RoiI()
    roi.image = omero.model.ImageI(image.id, False)
    for z in range(2):
        mask = omero.model.MaskI()
        mask.x, mask.y, mask.width, mask.height = (rdouble(v) for v in (1, 2, 4, 2))
        mask.theZ, mask.theT = rint(z), rint(0)
        mask.bytes = bytes([0b10100000 + z])
        roi.addShape(mask)
    saved = alice.getUpdateService().saveAndReturnObject(roi)

    service = alice.getRoiService()
    found = service.findByImage(image.id, None).rois
    assert [one.id.val for one in found] == [saved.id.val]
    assert [bytes(s.bytes) for s in found[0].copyShapes()] == [b"\xa0", b"\xa1"]
    assert len(service.findByPlane(image.id, 1, 0, None).rois) == 1
    assert service.findByPlane(image.id, 2, 0, None).rois == []
    assert len(service.findByRoi(saved.id.val, None).rois) == 1
    assert alice.getObject("Image", image.id).getROICount() == 1


def test_ezomero_posts_and_gets_rois(alice: Any) -> None:
    image = upload(alice, counted((1, 1, 1, 8, 8), "uint8")).id
    shapes = [
        ezomero.rois.Rectangle(1, 2, 3, 4, label="box"),
        ezomero.rois.Polygon([(0, 0), (5, 0), (5, 5)], z=0, t=0),
    ]
    made = ezomero.post_roi(alice, image, shapes, name="two")
    assert ezomero.get_roi_ids(alice, image) == [made]
    found = [ezomero.get_shape(alice, one) for one in ezomero.get_shape_ids(alice, made)]
    assert [type(one).__name__ for one in found] == ["Rectangle", "Polygon"]
    assert found[0].label == "box"


def test_pictures_are_drawn_in_the_colours_of_channels(alice: Any) -> None:
    sent = np.zeros((1, 2, 1, 16, 32), "uint8")
    sent[0, 0, 0, :, :16] = 200
    sent[0, 1, 0, :, 16:] = 100
    image = alice.getObject("Image", upload(alice, sent).id)

    image.set_active_channels([1, 2], windows=[[0, 200], [0, 100]], colors=["FF0000", "00FF00"])
    picture = np.asarray(image.renderImage(0, 0, compression=0.95)).astype(int)
    assert picture.shape == (16, 32, 3)
    assert np.all(np.abs(picture[8, 4] - [255, 0, 0]) < 12)
    assert np.all(np.abs(picture[8, 28] - [0, 255, 0]) < 12)
    image.set_active_channels([2], windows=[[0, 100]], colors=["0000FF"])
    picture = np.asarray(image.renderImage(0, 0, compression=0.95)).astype(int)
    assert np.all(picture[8, 4] < 12)

    thumbnail = Image.open(io.BytesIO(image.getThumbnail((16,))))
    assert thumbnail.size == (16, 8)
    assert Image.open(io.BytesIO(image.getThumbnail((10, 12)))).size == (10, 12)


def test_rendering_settings_are_the_users_own(alice: Any, gateway: Any) -> None:
    image = alice.getObject("Image", upload(alice, counted((1, 2, 1, 8, 8), "uint8")).id)
    image.set_active_channels([1], windows=[[3, 77]])
    assert image.saveDefaults()

    again = alice.getObject("Image", image.id)
    first, second = again.getChannels()
    assert (first.getWindowStart(), first.getWindowEnd()) == (3, 77)
    assert (first.isActive(), second.isActive()) == (True, False)
    seen = gateway("bob").getObject("Image", image.id).getChannels()[0]
    assert seen.getWindowEnd() == 77


def test_instruments_are_loaded_whole(alice: Any) -> None:
    instrument = omero.model.InstrumentI()
    objective = omero.model.ObjectiveI()
    query = alice.getQueryService()
    objective.immersion = query.findByString("Immersion", "value", "Oil")
    objective.correction = query.findByString("Correction", "value", "PlanApo")
    objective.nominalMagnification = rdouble(63)
    instrument.addObjective(objective)
    saved = alice.getUpdateService().saveAndReturnObject(instrument)

    found = alice.getMetadataService().loadInstrument(saved.id.val)
    lens = found.copyObjective()[0]
    assert (lens.nominalMagnification.val, lens.immersion.value.val) == (63, "Oil")


def test_annotations_are_loaded_by_what_carries_them(alice: Any) -> None:
    dataset = ezomero.post_dataset(alice, "annotated")
    made = ezomero.post_map_annotation(alice, "Dataset", dataset, {"a": "b"}, ns="some.ns")
    service = alice.getMetadataService()
    found = service.loadAnnotations("Dataset", [dataset], ["MapAnnotation"], None, None)
    assert [one.id.val for one in found[dataset]] == [made]
    linked = service.loadSpecifiedAnnotationsLinkedTo(
        "MapAnnotation", ["some.ns"], [], "Dataset", [dataset], None
    )
    assert [one.id.val for one in linked[dataset]] == [made]
    assert not service.loadSpecifiedAnnotationsLinkedTo(
        "MapAnnotation", [], ["some.ns"], "Dataset", [dataset], None
    )


def test_several_clients_read_while_another_saves(gateway: Any, alice: Any) -> None:
    sent = counted((1, 1, 4, 256, 256), "uint16")
    pixels_id = upload(alice, sent).getPixelsId()
    readers = [gateway("bob") for _ in range(4)]
    saved: list[int] = []

    def read(reader: Any) -> bool:
        store = raw_store(reader, pixels_id)
        tiles = [(z, store.getTile(z, 0, 0, x, 64, 128, 64)) for z in range(4) for x in (0, 128)]
        store.close()
        return all(
            tile in (sent[0, 0, z, 64:128, x : x + 128].astype(">u2").tobytes() for x in (0, 128))
            for z, tile in tiles
        )

    def save() -> bool:
        saved.extend(ezomero.post_dataset(alice, f"dataset {n}") for n in range(20))
        return len(set(saved)) == 20

    with ThreadPoolExecutor(5) as pool:
        work = [pool.submit(read, reader) for reader in readers for _ in range(3)]
        work.append(pool.submit(save))
        assert all(one.result(timeout=60) for one in work)


def test_pixels_stay_on_disk(alice: Any, own_server: Any) -> None:
    def private_mb() -> int:
        status = Path(f"/proc/{own_server.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) // 1024

    image = new_image(alice, (11_000, 11_000, 1, 1, 1), "float", "half a gigabyte")
    path = own_server.folder / "Pixels" / str(image.getPixelsId())
    try:
        before = private_mb()
        store = raw_store(alice, image.getPixelsId())
        row = np.arange(11_000, dtype=">f4").tobytes()
        store.setRow(row, 10_999, 0, 0, 0)
        for y in range(0, 11_000, 500):
            store.getTile(0, 0, 0, 0, y, 11_000, 100)
        assert store.getRow(10_999, 0, 0, 0) == row
        store.close()
        assert private_mb() - before < 100
        assert path.stat().st_size == 4 * 11_000**2
    finally:  # or tests that read all images read this one
        alice.deleteObjects("Image", [image.getId()], wait=True)
    assert not path.exists()
