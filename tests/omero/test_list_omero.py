"""Containers of an OMERO server become rows of the sample sheet."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.omero.server.control import Control

from parfocal.cli.main import main
from parfocal.core.step import Context
from parfocal.engine import run_step
from parfocal.errors import InputError
from parfocal.models.sheet import Row, read_sheet
from parfocal.steps import list_images, load_step

Listed = Callable[..., list[Row]]


@pytest.fixture
def listed(logged_in: str, tmp_path: Path) -> Listed:
    """Run list-images on objects of the server; returns the rows."""

    def run(*objects: str, **params: Any) -> list[Row]:
        sheet = tmp_path / "samples.tsv"
        sheet.unlink(missing_ok=True)
        chosen = {"source": [f"{logged_in}/{each}" for each in objects], **params}
        run_step(load_step("list-images"), {}, {"sheet": sheet}, chosen)
        return read_sheet(sheet)

    return run


def upload(gateway: Any, name: str, dataset: Any = None) -> Any:
    plane = np.zeros((8, 9), np.uint16)
    return gateway.createImageFromNumpySeq(iter([plane, plane]), name, sizeC=2, dataset=dataset)


def new(gateway: Any, kind: str, name: str) -> Any:
    import omero.gateway
    import omero.model

    made = getattr(omero.gateway, f"{kind}Wrapper")(gateway, getattr(omero.model, f"{kind}I")())
    made.setName(name)
    made.save()
    return gateway.getObject(kind, made.getId())


def annotate(gateway: Any, target: Any, tag: str | None = None, **pairs: str) -> None:
    from omero.gateway import MapAnnotationWrapper, TagAnnotationWrapper

    if tag:
        annotation = TagAnnotationWrapper(gateway)
        annotation.setValue(tag)
        annotation.save()
        target.linkAnnotation(annotation)
    if pairs:
        annotation = MapAnnotationWrapper(gateway)
        annotation.setValue([[key, value] for key, value in pairs.items()])
        annotation.save()
        target.linkAnnotation(annotation)


def test_an_image_has_sizes_owner_pairs_and_tags(alice: Any, listed: Listed) -> None:
    image = upload(alice, "cells\t🧫 é")
    annotate(alice, image, "good", cell_line="HeLa", name="other")
    (row,) = listed(f"image/{image.getId()}")
    assert row.name == "cells 🧫 é"
    assert row.source.endswith(f"/image/{image.getId()}")
    free = row.free
    assert (free["size_c"], free["size_y"], free["size_x"]) == ("2", "8", "9")
    assert (free["dtype"], free["owner"], free["group"]) == ("uint16", "alice", "annotate")
    assert (free["cell_line"], free["key:name"], free["tags"]) == ("HeLa", "other", "good")


def test_projects_and_datasets_give_each_image_once(alice: Any, listed: Listed) -> None:
    import omero.model

    project = new(alice, "Project", "P")
    datasets = [new(alice, "Dataset", name) for name in ("first", "second")]
    for dataset in datasets:
        link = omero.model.ProjectDatasetLinkI()
        link.parent = omero.model.ProjectI(project.getId(), False)
        link.child = omero.model.DatasetI(dataset.getId(), False)
        alice.getUpdateService().saveObject(link)
    images = [upload(alice, f"image {number}", datasets[0]) for number in range(3)]
    link = omero.model.DatasetImageLinkI()
    link.parent = omero.model.DatasetI(datasets[1].getId(), False)
    link.child = omero.model.ImageI(images[0].getId(), False)
    alice.getUpdateService().saveObject(link)
    rows = listed(f"project/{project.getId()}")
    assert [row.name for row in rows] == ["image 0", "image 1", "image 2"]
    assert {row.free["dataset"] for row in rows} == {"first"}
    assert len(listed(f"dataset/{datasets[1].getId()}")) == 1
    both = listed(f"dataset/{datasets[0].getId()}", f"dataset/{datasets[1].getId()}")
    assert len(both) == 3


def test_plates_wells_and_screens_tell_well_and_field(
    alice: Any, faults: Control, listed: Listed
) -> None:
    made = faults.seed(
        "plate", name="P1", rows=2, columns=3, fields=2, screen="S", gaps=["B02"], user="alice",
        group="annotate",
    )  # fmt: skip
    well = alice.getObject("Well", made["wells"]["A02"])
    annotate(alice, well, compound="DMSO")
    rows = listed(f"screen/{made['screen']}")
    assert len(rows) == 10
    assert [(row.plate, row.well, row.field) for row in rows[:3]] == [
        ("P1", "A01", "1"),
        ("P1", "A01", "2"),
        ("P1", "A02", "1"),
    ]
    assert "B02" not in {row.well for row in rows}
    told = {row.well: row.free.get("compound", "") for row in rows}
    assert told == {"A01": "", "A02": "DMSO", "A03": "", "B01": "", "B03": ""}
    assert len(listed(f"plate/{made['plate']}")) == 10
    assert [row.well for row in listed(f"well/{made['wells']['A02']}")] == ["A02", "A02"]


def test_images_are_chosen_by_name_tag_and_pair(alice: Any, listed: Listed) -> None:
    dataset = new(alice, "Dataset", "D")
    images = [upload(alice, name, dataset) for name in ("a 1", "a 2", "b 1")]
    annotate(alice, images[0], "good", dose="1")
    annotate(alice, images[2], "good", dose="2")
    place = f"dataset/{dataset.getId()}"
    assert [row.name for row in listed(place, pattern="a *")] == ["a 1", "a 2"]
    assert [row.name for row in listed(place, tags=["good"])] == ["a 1", "b 1"]
    assert [row.name for row in listed(place, key_values={"dose": "2"})] == ["b 1"]
    other = f"dataset/{new(alice, 'Dataset', 'empty').getId()}"
    with pytest.raises(InputError, match="holds no image that has the tags") as caught:
        listed(place, tags=["bad"], key_values={"dose": "1"}, pattern="a*")
    for told in (place, "a name like 'a*'", "tag 'bad'", "'dose' being '1'", "2 image(s) without"):
        assert told in str(caught.value)
    with pytest.raises(InputError, match="take this source out") as caught:
        listed(place, other)
    assert f"/{other};" in str(caught.value)


@pytest.mark.parametrize("kind", ["image", "dataset", "project", "well", "plate", "screen"])
def test_what_is_not_there_is_told(listed: Listed, kind: str) -> None:
    with pytest.raises(InputError, match=f"no such {kind}"):
        listed(f"{kind}/987654")


def test_an_empty_container_is_told(alice: Any, listed: Listed) -> None:
    dataset = new(alice, "Dataset", "empty")
    with pytest.raises(InputError, match="holds no image"):
        listed(f"dataset/{dataset.getId()}")


def test_what_others_may_not_see_is_not_listed(gateway: Callable[..., Any], listed: Listed) -> None:
    bob = gateway("bob", group="private")
    dataset = new(bob, "Dataset", "hidden")
    upload(bob, "hidden", dataset)
    with pytest.raises(InputError, match="no such dataset"):
        listed(f"dataset/{dataset.getId()}")


def test_the_number_of_calls_does_not_go_by_the_number_of_images(
    alice: Any, faults: Control, listed: Listed
) -> None:
    made = faults.seed(
        "plate", name="many", rows=8, columns=12, fields=2, shape=[1, 2, 1, 16, 24], user="alice",
        group="annotate",
    )  # fmt: skip
    since = faults.last()
    assert len(listed(f"plate/{made['plate']}")) == 192
    assert len(faults.journal("IQuery", "*", since)) < 12


@pytest.mark.parametrize("command", [["fetch-image", "--original"], ["list-images", "--sheet"]])
def test_what_is_missing_without_omero_py_is_told(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "omero", None)
    assert main([*command, str(tmp_path / "o"), "--set", "source=omero://nowhere/image/1"]) == 2
    assert "pip install 'parfocal[omero]'" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("command", [["fetch-image", "--original"], ["list-images", "--sheet"]])
def test_without_a_login_it_is_told_how_to_get_one(
    command: list[str],
    tmp_path: Path,
    logged_in: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("OMERO_PASSWORD")
    assert main([*command, str(tmp_path / "o"), "--set", f"source={logged_in}/image/1"]) == 2
    assert "parfocal login" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_an_image_without_pixels_keeps_its_row_with_a_warning(
    alice: Any, logged_in: str, tmp_path: Path
) -> None:
    import omero.model
    from omero.rtypes import rstring

    image = omero.model.ImageI()
    image.name = rstring("nothing")
    number = alice.getUpdateService().saveAndReturnObject(image).id.val
    context = Context(scratch=tmp_path)
    params = list_images.ListImagesParams(source=(f"{logged_in}/image/{number}",))
    list_images.STEP.run({}, {"sheet": tmp_path / "s.tsv"}, params, context)
    (row,) = read_sheet(tmp_path / "s.tsv")
    assert (row.name, row.free.get("size_x", "")) == ("nothing", "")
    assert any("no pixels" in warning for warning in context.warnings)


def test_plates_of_one_name_are_told_apart_and_runs_go_on_counting(
    alice: Any, faults: Control, listed: Listed
) -> None:
    import omero.model

    same = {"name": "P", "rows": 1, "columns": 1, "user": "alice", "group": "annotate"}
    plates = [faults.seed("plate", runs=2, fields=2, screen="S", **same)]
    plates.append(faults.seed("plate", **same))
    link = omero.model.ScreenPlateLinkI()
    link.parent = omero.model.ScreenI(plates[0]["screen"], False)
    link.child = omero.model.PlateI(plates[1]["plate"], False)
    alice.getUpdateService().saveObject(link)
    rows = listed(f"screen/{plates[0]['screen']}")
    names = [f"P [{plate['plate']}]" for plate in plates]
    assert [(row.plate, row.field) for row in rows] == [
        (names[0], "1"),
        (names[0], "2"),
        (names[0], "3"),
        (names[0], "4"),
        (names[1], "1"),
    ]


def test_several_values_and_strange_texts_have_their_columns(alice: Any, listed: Listed) -> None:
    image = upload(alice, "x")
    text = "".join(map(chr, (0x41, 0x3B1, 0x4E2D, 0x1F52C, 0x2070E, 0xE0041)))
    annotate(alice, image, f"tag {text}", gene="a")
    annotate(alice, image, "other", gene="b", **{text: "line 1\nline 2\t" + 64_000 * "v"})
    (row,) = listed(f"image/{image.getId()}")
    assert row.free["gene"] == "a; b"
    assert row.free["tags"] == f"tag {text}; other"
    assert row.free[text] == "line 1 line 2 " + 64_000 * "v"


def test_what_is_listed_can_be_fetched(
    alice: Any, logged_in: str, listed: Listed, tmp_path: Path
) -> None:
    dataset = new(alice, "Dataset", "D")
    for number in range(2):
        upload(alice, f"image {number}", dataset)
    rows = listed(f"dataset/{dataset.getId()}")
    assert {row.free["omero_container"] for row in rows} == {
        f"{logged_in}/dataset/{dataset.getId()}"
    }
    for row in rows:
        folder = tmp_path / row.image_id
        run_step(load_step("fetch-image"), {}, {"original": folder}, {"source": row.source})
        told = json.loads((folder / "omero.json").read_text("utf-8"))
        assert (told["name"], told["datasets"][0]["name"]) == (row.name, "D")


def test_label_images_that_were_written_back_are_left_out(alice: Any, listed: Listed) -> None:
    dataset = new(alice, "Dataset", "D")
    upload(alice, "cells", dataset)
    labels = upload(alice, "cells [nuclei]", dataset)
    labels.setDescription("Label image of image 1 [parfocal:0123]")
    labels.save()
    assert [row.name for row in listed(f"dataset/{dataset.getId()}")] == ["cells"]
    assert len(listed(f"image/{labels.getId()}")) == 1
