"""The annotation plan: identities, digests, symbols, and what OMERO cannot hold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from parfocal.core.annotation_plan import complete_plan, read_plan, write_plan
from parfocal.core.publish import write_json
from parfocal.errors import InputError
from parfocal.models.annotation_entries import (
    CLIENT_NAMESPACE,
    FILE_NAMESPACE,
    RUN_NAMESPACE,
    Column,
    Comment,
    FileAttachment,
    KeyValues,
    LabelImage,
    Mask,
    Polygon,
    Rating,
    ResultFile,
    Rois,
    Table,
    Tag,
)
from parfocal.models.annotation_plan import AnnotationPlan, LeftOut, Target

IMAGE = "omero://host/image/1"
OTHER = "omero+wss://host:4443/omero-ws/image/2"
FILE = ResultFile(path="images/a/labels/nuclei.ome.zarr", digest="sha256:00", size_bytes=5)
LATE = ResultFile(path="run-crate", digest=None, size_bytes=None)


def rois(target: str = IMAGE, **changes: Any) -> Rois:
    fields: dict[str, Any] = {
        "name": "nuclei",
        "labels": FILE,
        "label_name": "nuclei",
        "shape": Mask(),
        "objects": 3,
        "all_planes": False,
        "all_times": False,
    }
    return Rois.planned(target, **(fields | changes))


def table(target: str = IMAGE, **changes: Any) -> Table:
    columns = (
        Column(name="Roi", type="Roi", source=None),
        Column(name="area_px", type="long", source="area_px", unit="px"),
    )
    fields: dict[str, Any] = {
        "namespace": "openmicroscopy.org/omero/bulk_annotations",
        "name": "nuclei",
        "file": FILE,
        "rows": 3,
        "columns": columns,
        "rois": "nuclei",
    }
    return Table.planned(target, **(fields | changes))


def crate(target: str = IMAGE) -> FileAttachment:
    return FileAttachment.planned(
        target,
        namespace=FILE_NAMESPACE,
        name="run-crate.zip",
        file=LATE,
        mimetype="application/zip",
        packed=True,
    )


def plan(*targets: Target) -> AnnotationPlan:
    return AnnotationPlan(run_id="r", made_by="parfocal 0", targets=targets)


def every_kind() -> Target:
    entries = (
        KeyValues.planned(IMAGE, namespace=RUN_NAMESPACE, pairs=(("a", "1"), ("a", "2"))),
        Tag.planned(IMAGE, name="done", tag_set="states"),
        Rating.planned(IMAGE, stars=4),
        Comment.planned(IMAGE, namespace=RUN_NAMESPACE, text="hello"),
        table(),
        crate(),
        LabelImage.planned(IMAGE, name="a nuclei", labels=FILE, dataset="omero://host/dataset/7"),
        rois(shape=Polygon(tolerance_px=1.5)),
    )
    return Target(target=IMAGE, image_id="a", annotations=entries)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = plan(every_kind())
    written = written.model_copy(update={"left_out": (LeftOut(image_id="b", reason="failed"),)})
    write_plan(tmp_path / "plan.json", written)
    assert "null" not in (tmp_path / "plan.json").read_text(encoding="utf-8")
    assert read_plan(tmp_path / "plan.json") == written
    kinds = {entry.kind for entry in written.targets[0].annotations}
    assert len(kinds) == 8


def test_the_entry_id_goes_by_target_kind_namespace_and_name_alone() -> None:
    assert rois(objects=3).entry_id == rois(objects=4).entry_id
    assert rois(objects=3).content != rois(objects=4).content
    ids = {
        entry.entry_id
        for target in (IMAGE, OTHER)
        for entry in (
            rois(target),
            rois(target, name="cells"),
            table(target),
            Comment.planned(target, namespace=RUN_NAMESPACE, text="x"),
            Comment.planned(target, namespace=CLIENT_NAMESPACE, text="x"),
        )
    }
    assert len(ids) == 10
    assert rois(IMAGE).content == rois(OTHER).content


def test_digests_are_those_of_the_documentation() -> None:
    entry = Tag.planned(IMAGE, name="größe", description=None)

    def digest(value: Any) -> str:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    assert entry.entry_id == digest([IMAGE, "tag", None, "größe"])
    said = {"kind": "tag", "name": "größe"}
    assert entry.content == digest(said)


def test_an_entry_that_was_changed_by_hand_is_refused_and_one_may_be_taken_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "plan.json"
    document = plan(every_kind()).model_dump(mode="json")
    document["targets"][0]["annotations"][1]["name"] = "undone"
    write_json(path, document)
    with pytest.raises(InputError, match=r"tag .* was changed by hand") as caught:
        read_plan(path)
    assert "targets.0" in str(caught.value)
    assert "{" not in str(caught.value)
    del document["targets"][0]["annotations"][1]
    write_json(path, document)
    assert len(read_plan(path).targets[0].annotations) == 7


def spoilt(path: Path, **changes: Any) -> str:
    """Write a plan whose rating has other fields, None for none; return what is said of it."""
    document = plan(every_kind()).model_dump(mode="json", exclude_none=True)
    entry = document["targets"][0]["annotations"][2]
    for name, value in changes.items():
        entry[name] = value
        if value is None:
            del entry[name]
    write_json(path, document)
    with pytest.raises(InputError) as caught:
        read_plan(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stars": 6}, "must be less than or equal to 5 (found 6)"),
        ({"stars": None}, "stars: is required"),
        ({"stars": {"of": [4, None]}}, 'must be a whole number (found {"of": [4, null]})'),
        ({"kind": None}, "has no 'kind'"),
        ({"kind": "stars"}, "there is no 'stars', only"),
        ({"size": 5}, "there is no such field"),
    ],
)
def test_a_plan_that_was_spoilt_by_hand_is_told_without_python(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    text = spoilt(tmp_path / "plan.json", **changes)
    assert told in text
    assert "{'" not in text
    assert "entry_id" not in text


def test_a_plan_that_is_cut_is_told_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(path, plan(every_kind()))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="Invalid JSON") as caught:
        read_plan(path)
    assert "parfocal-annotation-plan" not in str(caught.value)


def test_who_takes_out_rois_is_told_what_else_to_take_out(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    document = plan(every_kind()).model_dump(mode="json")
    entries = document["targets"][0]["annotations"]
    del entries[[entry["kind"] for entry in entries].index("rois")]
    write_json(path, document)
    with pytest.raises(InputError, match=r"take the table out too, or set rois to null") as caught:
        read_plan(path)
    assert "{" not in str(caught.value)
    del entries[[entry["kind"] for entry in entries].index("table")]
    write_json(path, document)
    assert len(read_plan(path).targets[0].annotations) == 6


def test_a_table_that_refers_to_rois_that_nothing_makes_is_refused() -> None:
    Target(target=IMAGE, image_id="a", annotations=(table(), rois()))
    with pytest.raises(ValidationError, match="refers to ROIs nuclei that no entry makes"):
        Target(target=IMAGE, image_id="a", annotations=(table(), rois(name="cells")))
    with pytest.raises(ValidationError, match="exactly where it has a column of the type Roi"):
        table(rois=None)


def test_one_annotation_one_target_and_one_column_each_stand_there_once() -> None:
    with pytest.raises(ValidationError, match="stands there twice"):
        Target(target=IMAGE, image_id="a", annotations=(rois(), rois(objects=9)))
    one = Target(target=IMAGE, image_id="a", annotations=())
    with pytest.raises(ValidationError, match="stands there twice"):
        plan(one, one)
    column = Column(name="a", type="long", source="a")
    with pytest.raises(ValidationError, match="two columns have one name"):
        table(columns=(column, column), rois=None)


@pytest.mark.parametrize(
    "uri",
    [
        "omero://host/image/0",
        "omero://host/image/1/",
        "omero://me:secret@host/image/1",
        "https://host/image/1",
        "omero://host/roi/1",
    ],
)
def test_only_objects_of_servers_are_targets(uri: str) -> None:
    with pytest.raises(ValidationError):
        Target(target=uri, image_id="a", annotations=())


@pytest.mark.parametrize("path", ["/etc/passwd", "../a", "a/../../b", ""])
def test_files_lie_below_the_results_folder(path: str) -> None:
    with pytest.raises(ValidationError, match="below the results folder"):
        ResultFile(path=path, digest="sha256:00", size_bytes=1)


def test_what_omero_cannot_hold_is_refused() -> None:
    with pytest.raises(ValidationError, match="NUL"):
        KeyValues.planned(IMAGE, namespace=RUN_NAMESPACE, pairs=(("a", "x\0y"),))
    with pytest.raises(ValidationError, match="UTF-8"):
        KeyValues.planned(IMAGE, namespace=RUN_NAMESPACE, pairs=(("a", "\udc80"),))
    with pytest.raises(ValidationError, match="255"):
        LabelImage.planned(IMAGE, name="x" * 256, labels=FILE)
    with pytest.raises(ValidationError, match="less than or equal to 5"):
        Rating.planned(IMAGE, stars=6)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Polygon(tolerance_px=-1)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=9), st.text(max_size=9)), max_size=4))
def test_text_of_every_plane_of_unicode_is_kept(pairs: list[tuple[str, str]]) -> None:
    pairs = [(key.replace("\0", "0"), value.replace("\0", "0")) for key, value in pairs]
    _survives(pairs)


def test_values_of_64_kb_are_kept() -> None:
    _survives([("large", "\N{GRINNING FACE}\n\t" * 16384), ("large", "")])


def _survives(pairs: list[tuple[str, str]]) -> None:
    entry = KeyValues.planned(IMAGE, namespace=RUN_NAMESPACE, pairs=tuple(pairs))
    again = Target.model_validate_json(
        Target(target=IMAGE, image_id="a", annotations=(entry,)).model_dump_json()
    )
    assert again.annotations[0] == entry
    assert isinstance(again.annotations[0], KeyValues)
    assert list(again.annotations[0].pairs) == pairs


def test_what_is_made_after_the_plan_is_put_in(tmp_path: Path) -> None:
    (tmp_path / "run-crate").mkdir()
    (tmp_path / "run-crate/ro-crate-metadata.json").write_text("{}", encoding="utf-8")
    values = KeyValues.planned(
        IMAGE,
        namespace=RUN_NAMESPACE,
        pairs=(("Run", "r"),),
        digests=(("Run crate", "run-crate"),),
    )
    draft = plan(Target(target=IMAGE, image_id="a", annotations=(values, crate(), rois())))
    done = complete_plan(draft, tmp_path)
    first, second, third = done.targets[0].annotations
    assert isinstance(first, KeyValues)
    assert isinstance(second, FileAttachment)
    assert second.file.digest is not None
    assert second.file.digest.startswith("tree-sha256:")
    assert second.file.size_bytes == 2
    assert first.pairs == (("Run", "r"), ("Run crate", second.file.digest))
    assert third == rois()
    assert [entry.entry_id for entry in done.targets[0].annotations] == [
        entry.entry_id for entry in draft.targets[0].annotations
    ]
    assert first.content != values.content
    assert complete_plan(done, tmp_path) == done


def test_what_should_be_put_in_and_is_not_there_is_told(tmp_path: Path) -> None:
    draft = plan(Target(target=IMAGE, image_id="a", annotations=(crate(),)))
    with pytest.raises(InputError, match="run-crate"):
        complete_plan(draft, tmp_path)


def test_what_is_no_plan_is_told(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(InputError, match="cannot be read"):
        read_plan(path)
    path.write_text('{"format": "other"}', encoding="utf-8")
    with pytest.raises(InputError, match="is not valid"):
        read_plan(path)
