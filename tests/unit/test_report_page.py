"""The page: escaping, numbers, what is shown and what is said to be left out."""

from __future__ import annotations

import dataclasses
import html.parser
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.report import page
from parfocal.report.content import (
    Box,
    Boxes,
    Card,
    Comparison,
    Distribution,
    Findings,
    ImageLine,
    Picture,
    Report,
    Seams,
    State,
    StepLine,
    Usage,
)
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
        "comparisons": (),
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


def pooled(*args, **fields):
    one = distribution(*args, **fields)
    return Comparison(one.column, "uint8 images", 20, pooled=one)


def boxes(*rows, ticks=(0.0, 50.0, 100.0), logarithmic=False):
    return Comparison("area_um2", "images", len(rows), boxes=Boxes(rows, ticks, logarithmic))


BOX = Box("a", 30, low=10, first_quartile=20, median=25, third_quartile=30, high=80)


def test_text_from_outside_never_becomes_markup():
    findings = Findings(quality=({"channel": NASTY},), verdict=NASTY, warnings=((NASTY, NASTY),))
    content = report(
        image(name=NASTY, status="failed", step=NASTY, error=NASTY, findings=findings),
        title=NASTY,
        label_name=NASTY,
        software=(NASTY,),
        steps=(StepLine(NASTY, (NASTY,), {}, ()),),
        comparisons=(
            pooled(f"intensity_mean_{NASTY}"),
            boxes(dataclasses.replace(BOX, image_id=NASTY)),
        ),
    )
    read = Reader(render_page(content))
    assert read.tags.count("script") == 1
    assert read.tags.count("title") == 1
    assert read.text.count("alert(1)") >= 10
    assert "{{ 7 * 7 }}" in read.text
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]


def test_the_page_refers_to_nothing_outside():
    read = Reader(render_page(report(image(), comparisons=(pooled(),))))
    links = [value for _, name, value in read.attributes if name in ("href", "src")]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    anchors = {value for _, name, value in read.attributes if name == "id"}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors


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
                comparisons=(pooled(),),
            )
        )
    )
    assert "bad in step convert-image It is cut. Copy it again." in read.text
    assert read.text.index("What did not finish") < read.text.index("Measurements, images compared")
    assert "2 images: 1 done, 1 failed." in read.text


def test_a_run_without_failures_has_no_section_of_failures():
    assert "What did not finish" not in Reader(render_page(report(image()))).text


def test_a_failure_without_a_reason_says_so():
    content = report(image(status="failed", step="convert-image"))
    assert "No reason was recorded." in Reader(render_page(content)).text


@pytest.mark.parametrize("extra", [0, 3])
def test_what_is_left_out_is_counted(extra):
    failed = [image(f"i{n}", "failed", "s", "e") for n in range(page.MOST_FAILURES + extra)]
    columns = [f"intensity_mean_{n}" for n in range(page.MOST_COMPARISONS + extra)]
    warned = Findings(warnings=tuple(("s", f"w{n}") for n in range(page.MOST_WARNINGS + extra)))
    text = Reader(
        render_page(
            report(
                *failed,
                image("w", findings=warned),
                comparisons=tuple(map(pooled, columns)),
            )
        )
    ).text
    for sentence in ("3 more are in the table", "3 further comparisons", "3 further warnings"):
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
    read = Reader(render_page(report(image(), comparisons=(pooled(),))))
    bars = [value for tag, name, value in read.attributes if (tag, name) == ("rect", "height")]
    assert bars == ["16", "64"]
    (label,) = [v for tag, name, v in read.attributes if (tag, name) == ("svg", "aria-label")]
    assert label == "Histogram of Area (µm²) in 20 uint8 images: 5 objects from 1 to 29, mean 9"


def paths_of(comparison):
    read = Reader(render_page(report(image(), comparisons=(comparison,))))
    return [value for tag, name, value in read.attributes if (tag, name) == ("path", "d")], read


def test_a_box_lies_where_its_numbers_say():
    (grid, reach, box, middle), read = paths_of(boxes(BOX))
    assert grid == "M0 0v24M120 0v24M240 0v24"
    assert reach == "M24 12H192"
    assert box == "M48 5H72V19H48z"
    assert middle == "M60 3v18"
    assert "1 images Area (µm²) in 1 images Image Median n a 25 30 0 100" in read.text


def test_on_a_logarithmic_axis_equal_ratios_are_equal_distances():
    row = dataclasses.replace(BOX, points=(1.0, 10.0, 100.0))
    (grid, points), read = paths_of(boxes(row, ticks=(1.0, 10.0, 100.0), logarithmic=True))
    assert grid == "M0 0v24M120 0v24M240 0v24"
    assert points == "M0 5v14M120 5v14M240 5v14"
    assert "logarithmic axis" in read.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"outside": 3, "maximum": 9791.0},
            "3 of 8 objects lie outside the drawn range (largest 9791)",
        ),
        (
            {"outside": 1, "minimum": -2},
            "1 of 6 objects lies outside the drawn range (smallest -2)",
        ),
        ({"outside": 2, "minimum": -2, "maximum": 30}, "(smallest -2, largest 30)"),
    ],
)
def test_what_is_not_drawn_is_told_in_a_sentence(fields, says):
    assert says in Reader(render_page(report(image(), comparisons=(pooled(**fields),)))).text


def test_what_is_drawn_whole_has_no_such_sentence():
    content = report(image(), comparisons=(pooled(),))
    assert "drawn range" not in Reader(render_page(content)).text


def judged(**counts):
    verdicts = [verdict.replace("_", "-") for verdict, n in counts.items() for _ in range(n)]
    return report(*(image(f"i{n}", findings=Findings(verdict=v)) for n, v in enumerate(verdicts)))


def test_proven_and_self_consistent_conversions_are_counted_and_marked_apart():
    read = Reader(render_page(judged(verified=29, self_consistent=14)))
    assert "Conversions 29 proven 14 self-consistent ✓ proven Every pixel" in read.text
    assert "◐ self-consistent Every pixel is equal, but one side was read by" in read.text
    badges = [value for _, name, value in read.attributes if name == "class"]
    assert badges.count("badge half") == 14 + 1


def test_only_verdicts_that_were_given_are_explained():
    read = Reader(render_page(judged(self_consistent=2)))
    assert "Conversions 2 self-consistent ◐ self-consistent Every" in read.text
    assert "✓ proven" not in read.text
    assert (
        "Conversions 1 proven 3 different"
        in Reader(render_page(judged(verified=1, different=3))).text
    )


def test_warnings_that_differ_by_a_file_share_a_line():
    warned = [
        image(f"i{n}", findings=Findings(warnings=(("fetch-image", f"a{n}.tif is odd"),)))
        for n in range(3)
    ]
    text = Reader(render_page(report(*warned))).text
    assert "fetch-image a0.tif is odd … and 2 more that differ in the file only 3" in text


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


def test_what_was_used_is_told_in_parts_of_what_was_predicted():
    line = Usage("filter-image", 2, 512.4, 0.5, 1.25, 12.0, None, None)
    shown = Reader(render_page(report(usage=(line,)))).text
    assert "filter-image 2 512 MB 50 % 125 % 12 s" in shown.replace(page.THIN_SPACE, " ")
    assert "predicted and used" not in Reader(render_page(report())).text


def seams(p, near=9):
    return Findings(seams=Seams("blocks", p, p < 0.001, 40, 4.5, near))


def test_seams_are_told_for_the_run_where_there_are_borders():
    def tiled(image_id, p, near=9):
        return image(image_id, findings=seams(p, near))

    assert "Seams:" not in Reader(render_page(report(image()))).text
    text = Reader(render_page(report(image(), tiled("b", 0.2)))).text
    told = "1 image was segmented in several blocks, tiles or windows; objects at the borders of"
    assert f"{told} these do not differ" in text
    text = Reader(render_page(report(tiled("a", 1e-9), tiled("b", 0.2)))).text
    assert "2 images were segmented in several blocks, tiles or windows; in 1 of them obj" in text
    assert "in so many" not in text
    assert "nothing is known" not in text
    text = Reader(render_page(report(tiled("a", 0.8, near=0), tiled("b", 0.2)))).text
    assert "In 1 no objects lie near borders, so that nothing is known." in text


def test_few_seams_in_very_many_images_may_be_by_chance():
    def page_of(seen):
        values = [1e-5] * seen + [0.4] * (2000 - seen)
        images = (image(f"i{n}", findings=seams(p)) for n, p in enumerate(values))
        return render_page(report(*images))

    assert "differ from the others, which may be by chance in so many." in Reader(page_of(4)).text
    assert "in so many" not in Reader(page_of(9)).text
    assert b'class="note bad">Seams' in page_of(9)
    assert b'class="note bad">Seams' not in page_of(4)


@pytest.mark.parametrize(
    ("p", "near", "word"),
    [(1e-9, 9, "found"), (0.2, 9, "none found"), (0.8, 0, "not tested, no objects near borders")],
)
def test_a_card_tells_the_seam_score(p, near, word):
    picture = Picture(b"", None, 4, 4, (), "", "4 x 4")
    shown = image(findings=seams(p, near), card=Card(picture, ()))
    assert f"Seams {word} blocks, p = " in Reader(render_page(report(shown))).text
