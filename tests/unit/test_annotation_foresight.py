"""What annotations would fail of after hours is refused when a run is planned, without a server."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from parfocal.engine.workflow import Plan, make_plan
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.sheet import Row, write_sheet
from parfocal.omero import loading
from parfocal.steps.annotations.servers import check_logins

HOST = "omero://omero.example.org"
STEPS = ["convert_image", "plan_annotations", "apply_annotations"]
PLANNED = {"enabled": True, "apply": False}


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, no login of this user, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HOST", "PORT", "USER", "PASSWORD", "SESSION", "SESSIONDIR", "USERDIR"):
        monkeypatch.delenv(f"OMERO_{name}", raising=False)

    def refuse(*_arguments: Any, **_options: Any) -> None:
        msg = "nobody is to be asked"
        raise AssertionError(msg)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(loading, "find_spec", lambda name: name)


def plan(annotate: dict[str, Any], *rows: dict[str, str], is_main: bool = True, **params: Any):
    """Plan a run of images that are on a server."""
    sheet = [Row(**{"image_id": f"i{n}", "source": f"{n}.tif"} | row) for n, row in enumerate(rows)]
    write_sheet(Path("samples.tsv"), sheet)
    config = {"sheet": "samples.tsv", "annotate": annotate, "plan_annotations": params}
    return make_plan(config, steps=STEPS, files=["own.yaml"], is_main=is_main)


def refused(*rows: dict[str, str], annotate: dict[str, Any] | None = None, **params: Any) -> str:
    """Return what a run is refused with; it always says what to do."""
    with pytest.raises(InputError) as caught:
        plan(annotate or PLANNED, *rows, **params)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    return str(caught.value)


def image(number: int, **columns: str) -> dict[str, str]:
    return {"omero": f"{HOST}/image/{number}"} | columns


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"key_values": {"columns": ["drug", "dose"]}}, "key_values.columns"),
        ({"tag_columns": ["dose"]}, "tag_columns"),
        ({"rating_column": "dose"}, "rating_column"),
    ],
)
def test_a_column_that_the_sheet_does_not_have(params: dict[str, Any], parameter: str) -> None:
    told = refused(image(1, drug="taxol"), **params)
    assert "not in the sample sheet: samples.tsv" in told
    assert "found dose" in told
    assert parameter in told


@pytest.mark.parametrize(
    ("column", "cell", "found"),
    [
        ("omero", "123", "found 123"),
        ("omero", "dish.tif", "found dish.tif"),
        ("omero", f"{HOST}/dataset/7", f"found {HOST}/dataset/7"),
        ("omero", f"{HOST}/image/seven", f"found {HOST}/image/seven: image/seven"),
        ("omero", "https://omero.example.org/webclient/?show=image-7", "found https://omero"),
        ("omero_container", f"{HOST}/image/7", f"found {HOST}/image/7"),
        ("omero_container", f"{HOST}/folder/7", "folder/7"),
    ],
)
def test_a_cell_that_names_nothing_of_its_kind(column: str, cell: str, found: str) -> None:
    told = refused(image(1), image(2) | {column: cell})
    assert f"samples.tsv, image i1, column {column}" in told
    assert "expected omero://host/" in told
    assert found in told
    assert "Correct the cell" in told


@pytest.mark.parametrize("stars", ["good", "0", "6", "4.5"])
def test_a_rating_that_is_none(stars: str) -> None:
    told = refused(image(1, stars="5"), image(2, stars=stars), rating_column="stars")
    assert "samples.tsv, image i1" in told
    assert "stars" in told
    assert stars in told


def test_what_omero_cannot_hold() -> None:
    told = refused(image(1, drug="a\0b"), key_values={"columns": ["drug"]})
    assert "samples.tsv, image i0" in told
    assert "NUL" in told


def test_two_images_that_are_one() -> None:
    assert "images i0 and i1" in refused(image(1), image(1))


def test_no_login_where_the_plan_is_applied() -> None:
    told = refused(image(1), annotate={"enabled": True})
    assert f"nothing to log in to the OMERO server with: {HOST}" in told
    assert f"parfocal login {HOST}" in told
    assert "annotate.apply" in told


def test_no_login_for_the_server_of_a_container() -> None:
    row = {"omero_container": f"{HOST}/dataset/1"}
    assert "nothing to log in" in refused(row, annotate={"enabled": True})


def test_without_omero_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    assert "pip install 'parfocal[omero]'" in refused(image(1), annotate={"enabled": True})


def test_what_is_well_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(plan(PLANNED, image(1, stars="5"), {}, rating_column="stars"), Plan)
    assert plan({}, image(1), tag_columns=["nowhere"])  # nobody asks for annotations
    assert plan({"enabled": True}, {})  # and no image is on a server
    assert plan({"enabled": True}, image(1), is_main=False)
    monkeypatch.setenv("OMERO_SESSION", "key")
    assert plan({"enabled": True}, image(1))


def test_a_login_of_another_server_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMERO_SESSION", "key")
    monkeypatch.setenv("OMERO_HOST", "elsewhere.org")
    with pytest.raises(ConfigurationError, match="OMERO_HOST is elsewhere"):
        check_logins([f"{HOST}/image/1"])
    check_logins([])
