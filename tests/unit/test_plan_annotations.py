"""The step plan-annotations on a results folder as the steps leave it."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pytest
from pyarrow import parquet
from pydantic import ValidationError

from parfocal.core.annotation_plan import read_plan
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.annotation_entries import (
    BULK_NAMESPACE,
    CLIENT_NAMESPACE,
    RUN_NAMESPACE,
    Polygon,
)
from parfocal.models.sheet import read_sheet, write_sheet
from parfocal.steps.plan_annotations import STEP, PlanAnnotationsParams
from report_results import REASON, STEPS, build_results

HOST = "omero://omero.example.org"
TARGETS = {name: f"{HOST}/image/{n}" for n, name in enumerate(("cells", "stack", "slide"), 101)}
TARGETS |= {"broken": f"{HOST}/image/104"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    build_results(folder)
    return folder


@pytest.fixture(autouse=True)
def known_steps(monkeypatch):
    monkeypatch.setattr("parfocal.steps.STEPS", STEPS)


def plan_of(results, tmp_path, columns=None, *, workflow=False, **params):
    """Run the step on a sheet with more columns; return context, plan, and targets by image."""
    columns = {"omero": TARGETS} if columns is None else columns
    rows = read_sheet(results / "samples.tsv")
    more = [{name: cells.get(row.image_id, "") for name, cells in columns.items()} for row in rows]
    sheet = tmp_path / "samples.tsv"
    write_sheet(sheet, [row.model_copy(update=new) for row, new in zip(rows, more, strict=True)])
    inputs = {"results": results, "sheet": sheet}
    if workflow:
        inputs["workflow"] = tmp_path / "analyse_images" / "Snakefile"
    context = Context(scratch=tmp_path)
    STEP.run(inputs, {"plan": tmp_path / "plan.json"}, PlanAnnotationsParams(**params), context)
    plan = read_plan(tmp_path / "plan.json")
    return context, plan, {target.image_id: target for target in plan.targets}


def kinds(target):
    return [entry.kind for entry in target.annotations]


def entry(target, kind):
    (found,) = [entry for entry in target.annotations if entry.kind == kind]
    return found


def test_each_image_on_a_server_gets_pairs_rois_a_table_and_the_crate(built, tmp_path):
    context, plan, targets = plan_of(built, tmp_path, workflow=True)
    assert list(targets) == ["cells", "stack", "slide"]
    assert kinds(targets["cells"]) == ["key-values", "rois", "table", "file"]
    assert kinds(targets["slide"]) == ["key-values", "table", "file"]  # it has no label image
    pairs = entry(targets["cells"], "key-values")
    assert pairs.namespace == RUN_NAMESPACE
    assert dict(pairs.pairs)["Run"] == plan.run_id
    assert [key for key, _ in pairs.pairs] == ["Run", "Workflow", "Made by", "Image"]
    assert dict(pairs.pairs)["Workflow"] == plan.workflow == "analyse_images"
    assert pairs.digests == (("Run crate", "run-crate"),)
    crate = entry(targets["cells"], "file")
    assert (crate.name, crate.file.path, crate.file.digest) == ("run-crate.zip", "run-crate", None)
    assert context.details == {"targets": 3, "annotations": 11}
    assert [(one.image_id, one.reason) for one in plan.left_out] == [
        ("broken", f"failed in convert-image: {REASON}")
    ]
    assert list(plan.notes) == context.warnings
    assert context.warnings == [
        "segment-objects is done for slide, but its result is not there: labels/nuclei.ome.zarr",
        "1 image(s) on an OMERO server are not done and left out: broken",
        "1 image(s) have no objects: their tables are empty: slide",
        "1 image(s) get no ROIs, see max_objects: slide (no label image)",
    ]


def test_tables_are_named_with_types_units_digest_and_what_they_refer_to(built, tmp_path):
    _, _, targets = plan_of(built, tmp_path)
    table = entry(targets["cells"], "table")
    path = built / "images/cells/tables/nuclei.parquet"
    assert table.namespace == BULK_NAMESPACE
    assert table.file.path == "images/cells/tables/nuclei.parquet"
    assert table.file.digest == digest_path(path)
    assert table.file.size_bytes == path.stat().st_size
    assert table.rows == 40
    assert table.rois == entry(targets["cells"], "rois").name == "nuclei"
    assert [(c.name, c.type, c.source, c.size_bytes) for c in table.columns][:7] == [
        ("Image", "Image", None, None),
        ("Roi", "Roi", None, None),
        ("image_id", "string", "image_id", 5),
        ("label_name", "string", "label_name", 6),
        ("label", "long", "label", None),
        ("t", "long", "t", None),
        ("area_um2", "double", "area_um2", None),
    ]


def test_rois_are_named_by_the_label_image_and_lie_on_its_planes(built, tmp_path):
    _, _, targets = plan_of(
        built, tmp_path, rois={"shape": {"method": "polygon", "tolerance_px": 2}}
    )
    rois = entry(targets["stack"], "rois")
    assert rois.labels.path == "images/stack/labels/nuclei.ome.zarr"
    assert rois.labels.digest == digest_path(built / rois.labels.path)
    assert rois.shape == Polygon(tolerance_px=2)
    assert rois.objects == entry(targets["stack"], "table").rows
    assert (rois.all_planes, rois.all_times) == (False, False)


def test_labels_of_a_projection_lie_on_all_planes(built, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(built, results)
    flat = results / "images/stack/labels/nuclei.ome.zarr"
    shutil.rmtree(flat)
    shutil.copytree(results / "images/cells/labels/nuclei.ome.zarr", flat)
    _, _, targets = plan_of(results, tmp_path)
    assert entry(targets["stack"], "rois").all_planes
    assert not entry(targets["cells"], "rois").all_planes


def test_images_with_too_many_objects_get_no_rois_and_no_column_for_them(built, tmp_path):
    context, _, targets = plan_of(built, tmp_path, rois={"max_objects": 39})
    assert kinds(targets["cells"]) == ["key-values", "table", "file"]
    assert [c.name for c in entry(targets["cells"], "table").columns][:2] == ["Image", "image_id"]
    assert "3 image(s) get no ROIs, see max_objects: cells (40 objects)" in context.warnings[-1]
    context, _, targets = plan_of(built, tmp_path, rois=None)
    assert kinds(targets["cells"]) == ["key-values", "table", "file"]
    assert not [text for text in context.warnings if "ROIs" in text]


def test_without_a_table_the_record_tells_how_many_objects_there_are(built, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(built, results)
    for folder in ("records", "outcomes"):
        shutil.rmtree(results / folder / "measure_objects")
    shutil.rmtree(results / "images/cells/tables")
    context, _, targets = plan_of(results, tmp_path)
    assert "1 image(s) have no table of objects to write: cells" in context.warnings
    assert kinds(targets["cells"]) == ["key-values", "file"]
    record = results / "records/segment_objects/cells/0001.json"
    record.write_text(record.read_text().replace('"details": {}', '"details": {"objects": 7}'))
    _, _, targets = plan_of(results, tmp_path)
    assert entry(targets["cells"], "rois").objects == 7


def test_columns_of_the_sheet_become_pairs_tags_and_ratings(built, tmp_path):
    columns = {
        "omero": TARGETS,
        "drug": {"cells": "\N{GREEK SMALL LETTER ALPHA}-\N{DNA DOUBLE HELIX}", "stack": ""},
        "state": {"cells": "treated", "stack": "new"},
        "stars": {"cells": "4"},
    }
    _, _, targets = plan_of(
        built,
        tmp_path,
        columns,
        key_values={"columns": ["drug", "name"], "pairs": [["a", 1], ["a", "2"]], "run": False},
        tags=[{"name": "new", "tag_set": "states"}, {"name": "mine"}],
        tag_columns=["state"],
        rating_column="stars",
        comment="Looked at.",
    )
    pairs = entry(targets["cells"], "key-values")
    assert pairs.namespace == CLIENT_NAMESPACE
    assert pairs.pairs[0] == ("drug", "\N{GREEK SMALL LETTER ALPHA}-\N{DNA DOUBLE HELIX}")
    assert pairs.pairs[1][0] == "name"
    assert pairs.pairs[2:] == (("a", "1"), ("a", "2"))
    tags = [e.name for e in targets["cells"].annotations if e.kind == "tag"]
    assert tags == ["new", "mine", "treated"]
    tags = [e.name for e in targets["stack"].annotations if e.kind == "tag"]
    assert tags == ["new", "mine"]
    assert entry(targets["cells"], "rating").stars == 4
    assert "rating" not in kinds(targets["stack"])
    assert entry(targets["stack"], "comment").text == "Looked at."


def test_the_files_of_the_run_go_to_the_container_that_the_sheet_names(built, tmp_path):
    columns = {
        "omero": TARGETS,
        "omero_container": dict.fromkeys(("cells", "stack"), f"{HOST}/dataset/7/"),
    }
    _, plan, targets = plan_of(
        built, tmp_path, columns, attach=["report", "crate", "certificate"], rois=None
    )
    assert kinds(targets["cells"]) == ["key-values", "table", "file"]
    assert entry(targets["cells"], "file").name == "cells.certificate.json"
    assert entry(targets["cells"], "file").file.digest is not None
    assert kinds(targets["slide"]) == ["key-values", "table", "file", "file", "file"]
    assert plan.targets[-1].target == f"{HOST}/dataset/7"
    assert targets[None] == plan.targets[-1]
    assert [e.name for e in targets[None].annotations] == ["run-crate.zip", "report.html"]


def test_without_the_crate_nothing_tells_of_it(built, tmp_path):
    columns = {"omero": TARGETS, "omero_container": {"cells": f"{HOST}/plate/7"}}
    _, _, targets = plan_of(built, tmp_path, columns, attach=[])
    assert entry(targets["cells"], "key-values").digests == ()
    assert "file" not in kinds(targets["cells"])
    assert None not in targets


def test_label_images_and_wells(built, tmp_path):
    columns = {"omero": TARGETS, "plate": {"cells": "p"}, "well": {"cells": "B02"}}
    context, _, targets = plan_of(built, tmp_path, columns, label_images=True, rois=None)
    image = entry(targets["stack"], "label-image")
    assert (image.name, image.dataset) == ("stack of nuclei [nuclei]", None)
    assert "Well" in [c.type for c in entry(targets["cells"], "table").columns]
    assert "Well" not in [c.type for c in entry(targets["stack"], "table").columns]
    assert "1 image(s) of wells" in context.warnings[-1]
    assert context.warnings[-1].endswith(": cells")
    long = {"omero": TARGETS, "name": {"stack": "\N{GRINNING FACE}" * 250}}
    context, _, targets = plan_of(built, tmp_path, long, label_images=True)
    assert "wells" not in str(context.warnings)
    assert entry(targets["stack"], "label-image").name == "stack [nuclei]"


def test_images_that_failed_get_a_note_where_that_is_asked_for(built, tmp_path):
    _, _, targets = plan_of(built, tmp_path, note_failures=True)
    assert kinds(targets["broken"]) == ["comment"]
    assert entry(targets["broken"], "comment").text.startswith(
        "Parfocal: failed in convert-image: The file ends before"
    )


def test_a_source_on_a_server_is_the_target(built, tmp_path):
    spelt = {"cells": "omero://OMERO.example.org:4064/image/5", "stack": f"{HOST}/dataset/5"}
    sources = {"stack": "s.tif", "slide": "s.tif", "broken": "s.tif"} | spelt
    _, plan, targets = plan_of(built, tmp_path, {"source": sources})
    assert list(targets) == ["cells"]
    assert targets["cells"].target == f"{HOST}/image/5"
    assert ("stack", "not on an OMERO server") in [
        (one.image_id, one.reason) for one in plan.left_out
    ]


def test_without_any_target_the_plan_is_empty_and_that_is_told(built, tmp_path):
    context, plan, _ = plan_of(built, tmp_path, {})
    assert plan.targets == ()
    assert len(plan.left_out) == 4
    assert "The annotation plan is empty" in context.warnings[-1]


def test_the_same_results_give_the_same_bytes_and_others_another_run(built, tmp_path):
    _, first, _ = plan_of(built, tmp_path)
    text = (tmp_path / "plan.json").read_bytes()
    moved = tmp_path / "moved"
    shutil.copytree(built, moved)
    _, _, _ = plan_of(moved, tmp_path)
    assert (tmp_path / "plan.json").read_bytes() == text
    record = moved / "records/segment_objects/cells/0001.json"
    record.write_text(record.read_text().replace('"key": null', '"key": "00"'))
    _, other, _ = plan_of(moved, tmp_path)
    assert other.run_id != first.run_id
    assert [t.target for t in other.targets] == [t.target for t in first.targets]


@pytest.mark.parametrize(
    ("columns", "params", "text"),
    [
        ({"omero": TARGETS | {"stack": TARGETS["cells"]}}, {}, "Two images .* are one image"),
        ({"omero": {"cells": f"{HOST}/plate/1"}}, {}, "image cells, column omero"),
        ({"omero": {"cells": "a.tif"}}, {}, "image cells, column omero"),
        ({"omero": TARGETS, "omero_container": {"cells": f"{HOST}/image/1"}}, {}, "one of dataset"),
        ({"omero": TARGETS}, {"tag_columns": ["nix"]}, "found nix"),
        (
            {"omero": TARGETS, "s": {"cells": "4.5"}},
            {"rating_column": "s"},
            "image cells.*stars",
        ),
        ({"omero": TARGETS, "s": {"cells": "0"}}, {"rating_column": "s"}, "greater than or equal"),
        ({"omero": TARGETS, "s": {"cells": "a\0b"}}, {"key_values": {"columns": ["s"]}}, "NUL"),
    ],
)
def test_bad_sheets_are_refused(built, tmp_path, columns, params, text):
    with pytest.raises(ConfigurationError, match=text):
        plan_of(built, tmp_path, columns, **params)


@pytest.mark.parametrize(
    "params",
    [
        {"rois": {"shape": {"method": "polygon", "tolerance_px": -1}}},
        {"tags": [{"name": "a"}, {"name": "a"}]},
        {"attach": ["crate", "crate"]},
        {"tags": [{"name": ""}]},
    ],
)
def test_bad_parameters_are_refused(params):
    with pytest.raises(ValidationError):
        PlanAnnotationsParams(**params)


def with_table(built, tmp_path, image_id="cells", **columns):
    results = tmp_path / "results"
    shutil.copytree(built, results)
    path = results / f"images/{image_id}/tables/nuclei.parquet"
    parquet.write_table(pa.table(columns), path)
    return results


def test_a_column_that_changes_its_type_between_images_is_told(built, tmp_path):
    results = with_table(built, tmp_path, label=["a", "bc"])
    context, _, targets = plan_of(results, tmp_path)
    assert [c.size_bytes for c in entry(targets["cells"], "table").columns if c.source] == [2]
    assert context.warnings[-1] == (
        "1 column(s) differ in type between the tables of images: "
        "label (string in cells, long in stack)"
    )


def test_integers_beyond_63_bits_become_reals_which_is_told(built, tmp_path):
    wide = pa.array([0, 2**64 - 1], pa.uint64())
    narrow = pa.array([0, 2**63 - 1], pa.uint64())
    results = with_table(built, tmp_path, wide=wide, narrow=narrow)
    context, _, targets = plan_of(results, tmp_path)
    types = {c.name: c.type for c in entry(targets["cells"], "table").columns}
    assert (types["wide"], types["narrow"]) == ("double", "long")
    assert context.warnings[0] == (
        "cells: the column wide has integers beyond 63 bits, which become reals"
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([1, None]), "missing values"),
        (pa.array([True, None]), "missing values"),
        (pa.array([[1], [2]]), "values of the type list"),
    ],
)
def test_what_an_omero_table_has_no_place_for_is_refused(built, tmp_path, values, text):
    with pytest.raises(InputError, match=text):
        plan_of(with_table(built, tmp_path, odd=values), tmp_path)


def test_a_table_that_cannot_be_read_is_told(built, tmp_path):
    results = with_table(built, tmp_path, a=[1])
    (results / "images/cells/tables/nuclei.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="A table cannot be read"):
        plan_of(results, tmp_path)
