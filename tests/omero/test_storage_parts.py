"""Tables and label images as storage: they come back as they went, and only ours are touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omero_connections import forget_connections
from parfocal.core.digest import digest_path
from parfocal.core.publish import remove_tree
from parfocal.errors import InputError, ParfocalError, RemoteError
from parfocal.images import ZarrOptions, write_ome_zarr
from parfocal.models.image import ImageMetadata
from snakemake_storage_plugin_omero import StorageObject, StorageProvider, StorageProviderSettings


@pytest.fixture
def dataset(alice) -> int:
    import omero

    made = omero.model.DatasetI()
    made.name = omero.rtypes.rstring("of a workflow")
    return alice.getUpdateService().saveAndReturnObject(made).id.val


@pytest.fixture
def image(alice, dataset: int) -> int:
    planes = iter([np.zeros((20, 30), "u1")])
    parent = alice.getObject("Dataset", dataset)
    return alice.createImageFromNumpySeq(planes, "cells", dataset=parent).getId()


def stored(tmp_path: Path, query: str) -> StorageObject:
    provider = StorageProvider(tmp_path / "prefix", logger=None, settings=StorageProviderSettings())
    found = provider.object(query)
    found.local_path().parent.mkdir(parents=True, exist_ok=True)
    return found


TABLE = pa.table(
    {
        "label": pa.array([1, 2, 3], pa.int64()),
        "area_um2": pa.array([1.5, float("nan"), -2.25], pa.float64()),
        "kind": pa.array(["Zelle", "", "\U0001f52c"], pa.string()),
        "touches": pa.array([True, False, True], pa.bool_()),
    },
    schema=pa.schema(
        [
            pa.field("label", pa.int64(), nullable=False),
            pa.field("area_um2", pa.float64(), metadata={"unit": "um2"}),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("touches", pa.bool_(), nullable=False),
        ]
    ),
)


def test_a_table_comes_back_as_it_went(logged_in: str, alice, dataset, tmp_path: Path) -> None:
    found = stored(tmp_path, f"{logged_in}/dataset/{dataset}/table/Zählung 1")
    assert not found.exists()
    pq.write_table(TABLE, found.local_path())
    found.store_object()
    (there,) = alice.getObject("Dataset", dataset).listAnnotations()
    assert there.getFile().getName() == "Zählung 1"
    assert there.getFile().getMimetype() == "OMERO.tables"
    found.local_path().unlink()
    found.retrieve_object()
    back = pq.read_table(found.local_path())
    for name in TABLE.column_names:
        np.testing.assert_array_equal(
            back[name].to_numpy(zero_copy_only=False), TABLE[name].to_numpy(zero_copy_only=False)
        )
        assert back.schema.field(name).type == TABLE.schema.field(name).type
    assert back.schema.field("area_um2").metadata[b"unit"] == b"um2"
    found.remove()
    assert not found.exists()
    assert list(alice.getObject("Dataset", dataset).listAnnotations()) == []


def test_a_table_without_rows_and_one_in_many_parts(
    logged_in: str, dataset, tmp_path: Path
) -> None:
    for rows in (0, 120_001):
        found = stored(tmp_path, f"{logged_in}/dataset/{dataset}/table/t{rows}")
        column = pa.array(np.arange(rows), pa.int64())
        pq.write_table(pa.table({"n": column}), found.local_path())
        found.store_object()
        found.local_path().unlink()
        found.retrieve_object()
        assert pq.read_table(found.local_path())["n"].to_pylist() == list(range(rows))


def test_a_table_replaces_its_like_and_leaves_an_attachment_of_its_name(
    logged_in: str, alice, dataset, tmp_path: Path
) -> None:
    table = stored(tmp_path, f"{logged_in}/dataset/{dataset}/table/same")
    file = stored(tmp_path, f"{logged_in}/dataset/{dataset}/attachment/same")
    file.local_path().write_text("same", "utf-8")
    file.store_object()
    for value in (1, 2):
        pq.write_table(pa.table({"n": pa.array([value])}), table.local_path())
        table.store_object()
    table.retrieve_object()
    assert pq.read_table(table.local_path())["n"].to_pylist() == [2]
    assert len(list(alice.getObject("Dataset", dataset).listAnnotations())) == 2
    table.remove()
    assert file.exists()


def test_what_is_no_table_leaves_nothing(logged_in: str, alice, dataset, tmp_path: Path) -> None:
    found = stored(tmp_path, f"{logged_in}/dataset/{dataset}/table/t")
    found.local_path().write_text("n\n1\n", "utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        found.store_object()
    assert list(alice.getObject("Dataset", dataset).listAnnotations()) == []


class Pixels:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape5 = array.shape
        self.dtype = array.dtype

    def read(self, region):
        return self.array[region]


def write_labels(path: Path, dtype: str, shape: tuple[int, ...] = (2, 1, 3, 20, 30)) -> None:
    rng = np.random.default_rng(3)
    array = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    if dtype.endswith("64"):
        array //= 1 << 12
    t, _, z, y, x = shape
    metadata = ImageMetadata(
        name="nuclei", axes="TZYX", shape=(t, z, y, x), dtype=dtype, x_um=0.25, y_um=0.5, z_um=2
    )
    attributes = {"parfocal": {"source": {"digest": "sha256:" + "0" * 64}}}
    write_ome_zarr(
        path, metadata, Pixels(array), ZarrOptions(halve_z=True), labels=True, attributes=attributes
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int32"])
def test_labels_come_back_as_they_went(
    logged_in: str, alice, dataset, image, tmp_path: Path, dtype: str
) -> None:
    found = stored(tmp_path, f"{logged_in}/image/{image}/labels/nuclei {dtype}")
    assert not found.exists()
    write_labels(found.local_path(), dtype)
    digest = digest_path(found.local_path())
    found.store_object()
    found.local_path().rename(tmp_path / "before")
    assert found.exists()
    assert found.size() == found.local_footprint() == 2 * 3 * 20 * 30 * np.dtype(dtype).itemsize
    found.retrieve_object()
    assert digest_path(found.local_path()) == digest
    children = alice.getObject("Dataset", dataset).listChildren()
    assert {child.getName() for child in children} == {"cells", f"nuclei {dtype}"}


def test_labels_replace_their_like_and_go_when_removed(
    logged_in: str, alice, dataset, image, tmp_path: Path
) -> None:
    found = stored(tmp_path, f"{logged_in}/image/{image}/labels/nuclei")
    write_labels(found.local_path(), "uint16")
    found.store_object()
    first = found.mtime()
    found.store_object()
    assert found.mtime() > first
    names = sorted(c.getName() for c in alice.getObject("Dataset", dataset).listChildren())
    assert names == ["cells", "nuclei"]
    found.remove()
    assert not found.exists()
    assert [c.getName() for c in alice.getObject("Dataset", dataset).listChildren()] == ["cells"]


@pytest.mark.parametrize("way", ["store_object", "remove"])
def test_an_image_that_was_given_the_pairs_of_labels_is_none(
    logged_in: str, alice, image, tmp_path: Path, way: str
) -> None:
    import omero

    found = stored(tmp_path, f"{logged_in}/image/{image}/labels/copied")
    write_labels(found.local_path(), "uint16")
    found.store_object()
    name = "select max(a.id) from MapAnnotation a where a.ns like 'parfocal%/labels'"
    ((pairs,),) = alice.getQueryService().projection(name, None)
    link = omero.model.ImageAnnotationLinkI()
    link.parent = omero.model.ImageI(image, False)
    link.child = omero.model.MapAnnotationI(pairs.val, False)
    alice.getUpdateService().saveObject(link)
    getattr(found, way)()
    assert alice.getObject("Image", image) is not None
    found.remove()
    assert not found.exists()


@pytest.mark.parametrize("put_on", ["comment", "roi"])
@pytest.mark.parametrize("way", ["store_object", "remove"])
def test_labels_that_carry_something_of_users_stay_as_an_image(
    logged_in: str, alice, image, tmp_path: Path, caplog, put_on: str, way: str
) -> None:
    import omero
    from omero.rtypes import rstring

    def label_images() -> set[int]:
        query = "select i.id from Image i where i.name = 'kept'"
        return {row[0].val for row in alice.getQueryService().projection(query, None)}

    found = stored(tmp_path, f"{logged_in}/image/{image}/labels/kept")
    write_labels(found.local_path(), "uint16")
    before = label_images()
    found.store_object()
    (first,) = label_images() - before
    roi, link = omero.model.RoiI(), omero.model.ImageAnnotationLinkI()
    roi.image = link.parent = omero.model.ImageI(first, False)
    link.child = omero.model.CommentAnnotationI()
    link.child.textValue = rstring("look here")
    alice.getUpdateService().saveObject(roi if put_on == "roi" else link)
    getattr(found, way)()
    assert f"image {first} was a label image and stays" in caplog.text
    there = label_images() - before
    assert first in there
    assert found.exists() == (way == "store_object")
    found.remove()
    assert label_images() - before == {first}
    assert not found.exists()


def test_an_image_with_channels_is_no_label_image(logged_in: str, image, tmp_path: Path) -> None:
    found = stored(tmp_path, f"{logged_in}/image/{image}/labels/nuclei")
    metadata = ImageMetadata(name="i", axes="CYX", shape=(2, 9, 9), dtype="uint8")
    write_ome_zarr(found.local_path(), metadata, Pixels(np.zeros((1, 2, 1, 9, 9), "u1")))
    with pytest.raises(InputError, match="no label image"):
        found.store_object()
    assert not found.exists()


@pytest.mark.parametrize("call", ["setTile", "save"])
def test_labels_that_are_cut_off_leave_nothing(
    logged_in: str, alice, faults, dataset, image, tmp_path: Path, call: str
) -> None:
    images = "select count(i) from Image i"
    before = alice.getQueryService().projection(images, None)
    found = stored(tmp_path, f"{logged_in}/image/{image}/labels/x")
    write_labels(found.local_path(), "uint32")
    faults.drop("RawPixelsStore", call, nth=1)
    with pytest.raises(RemoteError):
        found.store_object()
    after = alice.getQueryService().projection(images, None)
    assert after[0][0].val == before[0][0].val
    found.store_object()
    assert found.exists()


def test_a_name_that_omero_cannot_hold_is_told(logged_in: str, image, tmp_path: Path) -> None:
    for form in ("table", "labels"):
        found = stored(tmp_path, f"{logged_in}/image/{image}/{form}/{'n' * 256}")
        found.set_local_path(tmp_path / f"{form}.ome.zarr")
        if form == "table":
            pq.write_table(TABLE, found.local_path())
        else:
            write_labels(found.local_path(), "uint8")
        with pytest.raises(InputError, match="OMERO cannot hold"):
            found.store_object()
        assert not found.exists()


@pytest.mark.parametrize("form", ["table", "labels"])
def test_a_refused_link_leaves_nothing(
    logged_in: str, alice, faults, dataset, image, tmp_path: Path, form: str
) -> None:
    found = stored(tmp_path, f"{logged_in}/image/{image}/{form}/x")
    if form == "table":
        pq.write_table(TABLE, found.local_path())
    else:
        write_labels(found.local_path(), "uint8", (1, 1, 1, 9, 9))
    files = "select f.id from OriginalFile f where f.path like '%parfocal/%'"
    before = alice.getQueryService().projection(files, None)
    method = "saveObject" if form == "table" else "saveArray"
    # A table is named by a save of its own before.
    faults.refuse("IUpdate", method, "SecurityViolation", times=9)
    with pytest.raises(ParfocalError):
        found.store_object()
    faults.reset()
    assert not found.exists()
    assert [c.getName() for c in alice.getObject("Dataset", dataset).listChildren()] == ["cells"]
    assert len(alice.getQueryService().projection(files, None)) == len(before)


@pytest.fixture
def shared(gateway) -> int:
    """An image of alice's in a group that is read-write."""
    alice = gateway("alice", group="write")
    return alice.createImageFromNumpySeq(iter([np.zeros((20, 30), "u1")]), "cells").getId()


@pytest.fixture
def of(logged_in: str, server, shared: int, tmp_path: Path, monkeypatch) -> Callable:
    """Return what a user finds by the query of a form: ``of(user, form)``."""

    def log_in(user: str, form: str) -> StorageObject:
        forget_connections()
        monkeypatch.setenv("OMERO_USER", user)
        monkeypatch.setenv("OMERO_PASSWORD", server.password(user))
        return stored(tmp_path / user, f"{logged_in}/image/{shared}/{form}/same")

    return log_in


def put(found: StorageObject, form: str, number: int) -> str:
    """Store what differs by a number; return its digest."""
    path = found.local_path()
    remove_tree(path)
    if form == "attachment":
        path.write_text(str(number), "utf-8")
    elif form == "table":
        pq.write_table(pa.table({"n": pa.array([number])}), path)
    else:
        write_labels(path, "uint16", (1, 1, number, 9, 9))
    found.store_object()
    return got(found, form)


def got(found: StorageObject, form: str) -> str:
    """Retrieve what there is; return its digest, or that of its rows."""
    found.retrieve_object()
    rows = pq.read_table(found.local_path()).to_pydict() if form == "table" else ""
    return str(rows or digest_path(found.local_path()))


@pytest.mark.parametrize("form", ["attachment", "table", "labels"])
def test_users_of_one_group_have_their_own_and_read_that_of_others(of: Callable, form: str) -> None:
    hers = put(of("alice", form), form, 1)
    time = of("alice", form).mtime()
    bob = of("bob", form)
    assert (bob.exists(), bob.mtime(), got(bob, form)) == (True, time, hers)
    bob.remove()
    assert bob.exists()
    his = put(bob, form, 2)
    assert his != hers
    assert bob.mtime() > time
    put(bob, form, 3)
    his = put(bob, form, 4)
    size = bob.size()
    alice = of("alice", form)
    assert (alice.mtime(), got(alice, form)) == (time, hers)
    alice.remove()
    assert (alice.exists(), alice.size(), got(alice, form)) == (True, size, his)
    of("bob", form).remove()
    assert not of("alice", form).exists()


def test_nobody_makes_an_image_of_another_user_a_label_image(of: Callable, gateway, shared) -> None:
    import omero
    from omero.rtypes import rlong, rstring

    put(of("alice", "labels"), "labels", 1)
    alice, bob = gateway("alice", group="write"), gateway("bob", group="write")
    query = "select a from MapAnnotation a where a.description = :key"
    parameters = omero.sys.ParametersI()
    parameters.map["key"] = rstring(f"labels of image {shared}: same")
    pairs = alice.getQueryService().findByQuery(query, parameters)
    link, copy = omero.model.ImageAnnotationLinkI(), omero.model.MapAnnotationI()
    copy.ns, copy.description, copy.mapValue = pairs.ns, pairs.description, pairs.mapValue
    link.parent, link.child = omero.model.ImageI(rlong(shared), False), copy
    bob.getUpdateService().saveObject(link)
    of("bob", "labels").remove()
    assert alice.getObject("Image", shared) is not None
    of("alice", "labels").remove()
    assert not of("alice", "labels").exists()
    assert alice.getObject("Image", shared) is not None
