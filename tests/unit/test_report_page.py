"""The page: escaping, numbers, what is shown and what is said to be left out."""

from __future__ import annotations

import html.parser
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.report import page
from parfocal.report.content import Distribution, Findings, ImageLine, Report, State, StepLine
from parfocal.report.page import as_number, measurement_name, render_page

NASTY = "<script>alert(1)</script> \"q\" 'a' $HOME {{ 7 * 7 }} {% x %} & 細胞"


class Reader(html.parser.HTMLParser):
    """Collect tags, attributes and text."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(source.decode())
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.words.append(data)


def image(image_id="a", status="done", step=None, error=None, **fields):
    fields = {"name": "", "findings": Findings()} | fields
    return ImageLine(image_id=image_id, state=State(status, step, error), **fields)


def report(*images, **fields):
    fields = {
        "title": "T",
        "label_name": "nuclei",
        "steps": (),
        "distributions": (),
        "software": (),
    } | fields
    return Report(images=images, **fields)


def distribution(column="area_um2", counts=(1, 0, 4), **fields):
    fields = {
        "low": 0.0,
        "step": 10.0,
        "outside": 0,
        "minimum": 1.0,
        "mean": 9.0,
        "maximum": 29.0,
    } | fields
    return Distribution(column=column, counts=counts, **fields)


def test_text_from_outside_never_becomes_markup():
    findings = Findings(quality=({"channel": NASTY},), verdict=NASTY, warnings=((NASTY, NASTY),))
    content = report(
        image(name=NASTY, status="failed", step=NASTY, error=NASTY, findings=findings),
        title=NASTY,
        label_name=NASTY,
        software=(NASTY,),
        steps=(StepLine(NASTY, (NASTY,), {}, ()),),
        distributions=(distribution(f"intensity_mean_{NASTY}"),),
    )
    read = Reader(render_page(content))
    assert read.tags.count("script") == 1
    assert read.tags.count("title") == 1
    assert read.text.count("alert(1)") >= 10
    assert "{{ 7 * 7 }}" in read.text
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]


def test_the_page_refers_to_nothing_outside():
    read = Reader(render_page(report(image(), distributions=(distribution(),))))
    links = [value for _, name, value in read.attributes if name in ("href", "src")]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    anchors = {value for _, name, value in read.attributes if name == "id"}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors


@settings(deadline=None)
@given(st.text(st.characters(codec=None, categories=["Cc", "Cs", "Cf", "Lu", "Sm"])))
def test_any_text_gives_a_page_of_valid_utf_8_without_control_characters(text):
    shown = render_page(report(image(name=text, status="failed", step="s", error=text))).decode()
    assert not [c for c in shown if ord(c) < 32 and c not in "\n\t"]


def test_failures_come_first_with_step_and_reason():
    read = Reader(
        render_page(
            report(
                image("good"),
                image("bad", "failed", "convert-image", "It is cut. Copy it again."),
                distributions=(distribution(),),
            )
        )
    )
    assert "bad in step convert-image It is cut. Copy it again." in read.text
    assert read.text.index("What did not finish") < read.text.index("Measurements of all images")
    assert "2 images: 1 done, 1 failed." in read.text


def test_a_run_without_failures_has_no_section_of_failures():
    assert "What did not finish" not in Reader(render_page(report(image()))).text


def test_a_failure_without_a_reason_says_so():
    content = report(image(status="failed", step="convert-image"))
    assert "No reason was recorded." in Reader(render_page(content)).text


@pytest.mark.parametrize("extra", [0, 3])
def test_what_is_left_out_is_counted(extra):
    failed = [image(f"i{n}", "failed", "s", "e") for n in range(page.MOST_FAILURES + extra)]
    columns = [f"intensity_mean_{n}" for n in range(page.MOST_DISTRIBUTIONS + extra)]
    warned = Findings(warnings=tuple(("s", f"w{n}") for n in range(page.MOST_WARNINGS + extra)))
    text = Reader(
        render_page(
            report(
                *failed,
                image("w", findings=warned),
                distributions=tuple(map(distribution, columns)),
            )
        )
    ).text
    for sentence in ("3 more are in the table", "3 further measurements", "3 further warnings"):
        assert (sentence in text) == bool(extra)


def test_equal_warnings_are_counted_together():
    warned = Findings(warnings=(("convert-image", "odd axes"),))
    text = Reader(render_page(report(*(image(f"i{n}", findings=warned) for n in range(3))))).text
    assert "convert-image odd axes 3" in text


def test_the_header_sums_up_objects_and_scores():
    images = [
        image(f"i{n}", objects=20_000, findings=Findings(f1={0.5: f1, 0.75: None}))
        for n, f1 in enumerate((0.5, 0.9, 1.0))
    ]
    text = Reader(render_page(report(*images))).text
    assert "Objects ( nuclei ) 60 000" in text
    assert "F1 at IoU 0.5 0.900 median of 3 images" in text
    assert "F1 at IoU 0.75" not in text


def test_a_bar_is_as_high_as_its_bin_is_full():
    read = Reader(render_page(report(image(), distributions=(distribution(),))))
    bars = [value for tag, name, value in read.attributes if (tag, name) == ("rect", "height")]
    assert bars == ["16", "64"]
    (label,) = [v for tag, name, v in read.attributes if (tag, name) == ("svg", "aria-label")]
    assert label == "Histogram of Area (µm²) in all images: 5 objects from 1 to 29, mean 9"


def test_an_empty_sheet_gives_a_page():
    assert "none in the sample sheet" in Reader(render_page(report())).text


def test_equal_reports_give_equal_bytes():
    assert render_page(report(image())) == render_page(report(image()))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "\u2013"),
        (math.nan, "\u2013"),
        (math.inf, "\u2013"),
        (0, "0"),
        (0.0, "0"),
        (3, "3"),
        (1234567, "1\u202f234\u202f567"),
        (0.123456, "0.1235"),
        (1234.56, "1235"),
        (12345.6, "12\u202f346"),
        (9999.9, "10\u202f000"),
        (-2.5, "-2.5"),
        (1.5e-7, "1.5\u202f\u00d7\u202f10⁻⁷"),
        (2e9, "2\u202f\u00d7\u202f10⁹"),
    ],
)
def test_numbers_are_written_for_people(value, shown):
    assert as_number(value) == shown


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("volume_um3", "Volume (µm³)"),
        ("area_px", "Area (px)"),
        ("elongation", "Elongation"),
        ("intensity_mean_GFP_um", "Mean intensity, GFP_um"),
    ],
)
def test_measurements_are_named_with_their_units(column, name):
    assert measurement_name(column) == name
