"""The test server keeps OMERO.tables: omero-py's own, over HDF files."""

from __future__ import annotations

from typing import Any

import ezomero
import numpy as np
import omero
import omero.grid
import pandas as pd
import pytest

ROWS = 1_000_000


def new_table(gateway: Any, columns: list[Any], name: str = "a table") -> Any:
    resources = gateway.c.sf.sharedResources()
    repository = resources.repositories().descriptions[0].getId().getValue()
    table = resources.newTable(repository, name)
    table.initialize(columns)
    return table


def columns(count: int = 0) -> list[Any]:
    """Return columns of a few types with values that follow from the row."""
    numbers = list(range(count))
    return [
        omero.grid.ImageColumn("Image", "", numbers),
        omero.grid.RoiColumn("Roi", "", numbers),
        omero.grid.DoubleColumn("area_um2", "an area", [n / 8 for n in numbers]),
        omero.grid.StringColumn("name", "", 8, [f"n{n % 1000}" for n in numbers]),
        omero.grid.BoolColumn("kept", "", [n % 2 == 0 for n in numbers]),
    ]


def reopened(gateway: Any, file_id: int) -> Any:
    return gateway.c.sf.sharedResources().openTable(omero.model.OriginalFileI(file_id, False))


def test_rows_come_back_as_they_were_added(alice: Any) -> None:
    table = new_table(alice, columns())
    table.addData(columns(10))
    table.addData(columns(5))
    table.setAllMetadata({"run": omero.rtypes.rstring("id")})
    file = table.getOriginalFile()
    table.close()

    table = reopened(alice, file.id.val)
    assert table.getNumberOfRows() == 15
    assert [c.name for c in table.getHeaders()] == ["Image", "Roi", "area_um2", "name", "kept"]
    data = table.read([0, 2, 3, 4], 8, 12)
    assert [list(c.values) for c in data.columns] == [
        [8, 9, 0, 1],
        [1.0, 1.125, 0.0, 0.125],
        ["n8", "n9", "n0", "n1"],
        [True, False, True, False],
    ]
    assert table.getWhereList("area_um2 > 1", {}, 0, 15, 0) == [9]
    assert table.getAllMetadata()["run"].val == "id"
    table.close()

    saved = alice.getQueryService().get("OriginalFile", file.id.val)
    assert saved.mimetype.val == "OMERO.tables"
    assert saved.size.val > 0
    assert len(saved.hash.val) == 40


def test_a_million_rows(alice: Any) -> None:
    table = new_table(
        alice, [omero.grid.LongColumn("id", "", []), omero.grid.DoubleColumn("v", "", [])]
    )
    for start in range(0, ROWS, ROWS // 4):
        numbers = np.arange(start, start + ROWS // 4)
        table.addData(
            [
                omero.grid.LongColumn("id", "", numbers.tolist()),
                omero.grid.DoubleColumn("v", "", (numbers / 4).tolist()),
            ]
        )
    assert table.getNumberOfRows() == ROWS
    data = table.read([0, 1], ROWS - 2, ROWS)
    assert [list(c.values) for c in data.columns] == [
        [ROWS - 2, ROWS - 1],
        [(ROWS - 2) / 4, (ROWS - 1) / 4],
    ]
    assert table.getWhereList("v >= 249999.5", {}, 0, ROWS, 0) == [ROWS - 2, ROWS - 1]
    table.close()


def test_rows_are_changed_in_place(alice: Any) -> None:
    table = new_table(alice, columns())
    table.addData(columns(4))
    data = table.slice([2], [1, 3])
    data.columns[0].values = [50.0, 60.0]
    table.update(data)
    assert list(table.read([2], 0, 4).columns[0].values) == [0.0, 50.0, 0.25, 60.0]
    table.close()


def test_wrong_columns_are_refused(alice: Any) -> None:
    table = new_table(alice, columns())
    with pytest.raises(omero.ServerError):
        table.addData([omero.grid.LongColumn("Image", "", [1]), *columns(2)[1:]])
    with pytest.raises(omero.ValidationException):
        table.initialize(columns())
    table.close()


def test_others_read_a_table_and_cannot_change_it(alice: Any, gateway: Any) -> None:
    table = new_table(alice, columns())
    table.addData(columns(3))
    file = table.getOriginalFile().id.val
    table.close()

    theirs = reopened(gateway("bob"), file)
    assert theirs.getNumberOfRows() == 3
    with pytest.raises(omero.SecurityViolation):
        theirs.addData(columns(1))
    theirs.close()
    assert reopened(gateway("carol"), file) is None


def test_what_is_no_table_is_not_opened(alice: Any) -> None:
    file = omero.model.OriginalFileI()
    file.name, file.path = omero.rtypes.rstring("x"), omero.rtypes.rstring("/")
    file = alice.getUpdateService().saveAndReturnObject(file)
    assert alice.c.sf.sharedResources().openTable(file) is None


def test_ezomero_posts_and_gets_a_table(alice: Any) -> None:
    dataset = ezomero.post_dataset(alice, "with a table")
    sent = pd.DataFrame({"area": [1.5, 2.5], "name": ["a", "b"], "count": [3, 4]})
    made = ezomero.post_table(alice, sent, object_type="Dataset", object_id=dataset)
    got = ezomero.get_table(alice, made)
    pd.testing.assert_frame_equal(got[sent.columns], sent, check_dtype=False)


def test_tables_are_deleted_with_their_file(alice: Any, own_server: Any) -> None:
    table = new_table(alice, columns())
    table.addData(columns(3))
    file = table.getOriginalFile().id.val
    path = own_server.folder / "Files" / str(file)
    assert path.exists()
    table.delete()
    assert not path.exists()
    assert alice.getQueryService().find("OriginalFile", file) is None


def test_tables_that_a_session_leaves_open_are_closed(
    alice: Any, gateway: Any, own_server: Any
) -> None:
    bob = gateway("bob")
    table = new_table(bob, columns())
    table.addData(columns(3))
    file = table.getOriginalFile().id.val
    bob.close()
    saved = alice.getQueryService().get("OriginalFile", file)
    assert saved.size.val == (own_server.folder / "Files" / str(file)).stat().st_size > 0
