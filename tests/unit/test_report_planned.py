"""The annotation plan in the report."""

from __future__ import annotations

import pytest

from parfocal.core.annotation_plan import write_plan
from parfocal.core.step import Context
from parfocal.models.annotation_entries import (
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
from parfocal.report.planned import summarise_plan
from parfocal.steps.render_report import STEP
from report_results import STEPS, build_results

FILE = ResultFile(path="a", digest="sha256:00", size_bytes=1)


def target(number: int, shape=None) -> Target:
    uri = f"omero://host/image/{number}"
    rois = {"labels": FILE, "label_name": "nuclei", "objects": 1500, "all_planes": False}
    entries = (
        KeyValues.planned(
            uri, namespace=RUN_NAMESPACE, pairs=(("<b>", "1"), ("b", "2")), digests=(("c", "d"),)
        ),
        Tag.planned(uri, name="a tag"),
        Rating.planned(uri, stars=4),
        Comment.planned(uri, namespace=RUN_NAMESPACE, text="hello"),
        Rois.planned(uri, name="nuclei", shape=shape or Mask(), all_times=False, **rois),
        Table.planned(
            uri,
            namespace=RUN_NAMESPACE,
            name="nuclei",
            file=FILE,
            rows=1500,
            columns=(Column(name="Image", type="Image", source=None),),
        ),
        LabelImage.planned(uri, name="a [nuclei]", labels=FILE),
        FileAttachment.planned(
            uri, namespace=FILE_NAMESPACE, name="x.zip", file=FILE, mimetype="a/b", packed=True
        ),
    )
    return Target(target=uri, image_id=f"i{number}", annotations=entries)


def plan(*targets: Target, left_out: int = 0) -> AnnotationPlan:
    left = tuple(LeftOut(image_id=str(n), reason="failed") for n in range(left_out))
    notes = ("a < b",)
    return AnnotationPlan(
        run_id="the-run", made_by="p", targets=targets, left_out=left, notes=notes
    )


def test_each_kind_is_counted_with_what_is_in_it() -> None:
    summary = summarise_plan(plan(target(1), target(2), left_out=3))
    assert (summary.targets, summary.left_out) == (2, 3)
    assert [(kind.name, kind.annotations, kind.what) for kind in summary.kinds] == [
        ("Key-value pairs", 2, "6 pairs"),
        ("Tags", 2, ""),
        ("Ratings", 2, ""),
        ("Comments", 2, ""),
        ("Regions of interest", 2, "3000 objects"),
        ("Tables", 2, "3000 rows"),
        ("Label images", 2, ""),
        ("File attachments", 2, ""),
    ]


def test_the_first_targets_are_told_line_by_line() -> None:
    summary = summarise_plan(plan(*(target(n) for n in range(1, 14))))
    assert len(summary.first) == 10
    assert summary.first[0].lines == (
        "Key-value pairs: <b>, b, c",
        "Tag: a tag",
        "Rating: 4 of 5",
        "Comment: hello",
        "Regions of interest: 1500 nuclei, masks",
        "Table: nuclei, 1500 rows of 1 columns",
        "Label image: a [nuclei]",
        "File attachment: x.zip",
    )
    drawn = summarise_plan(plan(target(1, Polygon(tolerance_px=1.5)))).first[0]
    assert "Regions of interest: 1500 nuclei, polygons within 1.5 px" in drawn.lines


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return folder, build_results(folder)


@pytest.fixture
def page(built, tmp_path, monkeypatch):
    """Return a function that renders the report with a plan."""
    monkeypatch.setattr("parfocal.steps.STEPS", STEPS)

    def render(given: AnnotationPlan | None) -> str:
        results, sheet = built
        inputs = {"results": results, "sheet": sheet}
        if given:
            write_plan(tmp_path / "plan.json", given)
            inputs["plan"] = tmp_path / "plan.json"
        context = Context(scratch=tmp_path)
        params = STEP.params(max_pictures=0)
        STEP.run(inputs, {"report": tmp_path / "report.html"}, params, context)
        return " ".join((tmp_path / "report.html").read_text(encoding="utf-8").split())

    return render


def test_the_page_shows_the_plan(page) -> None:
    text = page(plan(*(target(n) for n in range(1, 14)), left_out=1))
    assert '<a href="#plan">' in text
    assert "13 targets of the run <code>the-run</code>; 1 image gets nothing." in text
    assert "Key-value pairs: &lt;b&gt;, b, c" in text
    assert "3 more targets are in the plan." in text
    assert "<li><bdi>a &lt; b</bdi></li>" in text


def test_an_empty_plan_and_no_plan_are_told_apart(page) -> None:
    assert "no image that is done is on an OMERO server" in page(plan())
    assert 'id="plan"' not in page(None)
    assert "#plan" not in page(None)
