"""The report in a real browser: figures, themes, a phone's width, no network, no errors."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from chromium import open_chromium
from report_results import STEPS, build_results, render

DESKTOP, PHONE = (1280, 900), (375, 800)
LOCAL = ("file://", "data:", "chrome://", "about:")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four images, one of which failed, in a folder with an odd name."""
    folder = tmp_path_factory.mktemp("results")
    page = folder / "a report [1] $x é.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parfocal.steps.STEPS", STEPS)
        render(folder, build_results(folder), page, title="Nuclei <of> friends")
    return page


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory):
    """A Chromium that logs its console and all requests."""
    driver = open_chromium(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium, report: Path):
    """The report, freshly opened at a desktop's size in the light theme."""
    show(chromium, DESKTOP, "light")
    for kind in ("browser", "performance"):
        chromium.get_log(kind)
    chromium.get(report.as_uri())
    return chromium


def show(driver, size: tuple[int, int], theme: str, media: str = "") -> None:
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def luminance(driver, selector: str, part: str) -> float:
    """Return the relative luminance of a computed colour, as WCAG 2 defines it."""
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    text = driver.execute_script(script, selector, part)
    channels = [int(value) / 255 for value in text[text.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_all_pictures_are_decoded_and_shown(page):
    script = """return Array.from(document.images, i =>
        [i.complete, i.naturalWidth, i.naturalHeight, i.clientWidth, i.clientHeight])"""
    pictures = page.execute_script(script)
    assert len(pictures) == 5
    assert all(complete and min(sizes) > 50 for complete, *sizes in pictures)


def test_outlines_lie_on_their_picture_and_can_be_hidden(page):
    script = """return Array.from(document.querySelectorAll('.outline'), o => {
        const [a, b] = [o, o.previousElementSibling].map(e => e.getBoundingClientRect());
        return [a.x - b.x, a.y - b.y, a.width - b.width, a.height - b.height];})"""
    assert page.execute_script(script) == [[0, 0, 0, 0]] * 2
    outlines = page.find_elements(By.CSS_SELECTOR, ".outline")
    assert all(outline.is_displayed() for outline in outlines)
    page.find_element(By.ID, "outlines").click()
    assert not any(outline.is_displayed() for outline in outlines)


def test_all_histograms_have_bars_of_a_size(page):
    script = """return Array.from(document.querySelectorAll('figure.plot > svg'), s =>
        Array.from(s.querySelectorAll('rect'), r => {
            const box = r.getBoundingClientRect();
            return Math.min(box.width, box.height);}))"""
    plots = page.execute_script(script)
    assert len(plots) == 4 + 3
    assert all(bars and min(bars) > 0 for bars in plots)


def test_images_compared_have_a_box_each_inside_their_row(page):
    for size in (DESKTOP, PHONE):
        show(page, size, "light")
        script = """return Array.from(document.querySelectorAll('.rows tbody svg'), s => {
            const row = s.getBoundingClientRect();
            return ['.reach', '.box', '.middle'].map(name => {
                const part = s.querySelector(name).getBoundingClientRect();
                return [part.left - row.left, row.right - part.right, row.width];});})"""
        rows = page.execute_script(script)
        assert len(rows) == 2
        for reach, box, middle in rows:
            assert min(reach[0], reach[1]) > -1
            assert reach[2] > 80
            assert reach[0] - 1 <= box[0] <= middle[0] + 1
            assert reach[1] - 1 <= box[1] <= middle[1] + 1


def test_proven_and_self_consistent_differ_in_word_mark_and_shape(page):
    script = """return ['.meanings .done', '.meanings .half'].map(name => {
        const badge = document.querySelector(name), style = getComputedStyle(badge);
        return [badge.innerText, style.borderStyle, style.borderRadius];})"""
    proven, consistent = page.execute_script(script)
    assert all(one != other for one, other in zip(proven, consistent, strict=True))


def test_the_console_is_free_of_messages(page):
    for theme in ("light", "dark"):
        show(page, PHONE, theme)
    page.find_element(By.CSS_SELECTOR, "table.sortable button").click()
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert page.get_log("browser") == []


def test_nothing_is_fetched_from_a_network(page, report):
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    requests = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert report.as_uri() in requests
    assert [url for url in requests if not url.startswith(LOCAL)] == []
    entries = page.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert [url for url in entries if not url.startswith(LOCAL)] == []


TEXTS = (
    "h1",
    ".lead",
    ".note",
    ".meanings li",
    ".badge.half",
    ".ticks",
    ".numbers",
    "td",
    ".badge.done",
    ".badge.failed",
    "nav a",
    ".why",
)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_apply_and_text_stands_out(page, theme):
    show(page, DESKTOP, theme)
    ground = luminance(page, "body", "backgroundColor")
    assert (ground > 0.8) if theme == "light" else (ground < 0.05)
    surface = luminance(page, ".card", "backgroundColor")
    grounds = {
        selector: luminance(page, selector, "backgroundColor")
        for selector in (".badge.done", ".badge.failed", ".why")
    }
    for selector in TEXTS:
        ink = luminance(page, selector, "color")
        for behind in [grounds[selector]] if selector in grounds else [ground, surface]:
            light, dark = max(ink, behind), min(ink, behind)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, selector


@pytest.mark.parametrize("size", [PHONE, (320, 700), DESKTOP])
def test_the_page_does_not_scroll_sideways(page, size):
    show(page, size, "light")
    assert page.execute_script("return innerWidth") == size[0]
    assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]
    script = """return Array.from(document.querySelectorAll('body *'))
        .filter(e => !e.closest('.scroll, .skip'))
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.outerHTML.slice(0, 80))"""
    assert page.execute_script(script) == []


def test_wide_tables_scroll_in_their_own_box(page):
    show(page, PHONE, "light")
    script = """const box = document.querySelector('#table .scroll');
        return [box.scrollWidth > box.clientWidth, getComputedStyle(box).overflowX, box.tabIndex]"""
    assert page.execute_script(script) == [True, "auto", 0]


def test_a_heading_sorts_the_table_and_back(page):
    def first_column() -> list[str]:
        cells = page.find_elements(By.CSS_SELECTOR, "table.sortable tbody th > bdi")
        return [cell.text for cell in cells]

    button = page.find_element(By.CSS_SELECTOR, "table.sortable th:nth-child(3) button")
    assert first_column() == ["cells", "stack", "slide", "broken"]
    button.click()
    assert first_column() == ["slide", "cells", "stack", "broken"]
    head = button.find_element(By.XPATH, "..")
    assert head.get_attribute("aria-sort") == "ascending"
    button.click()
    assert first_column() == ["cells", "stack", "slide", "broken"]
    assert head.get_attribute("aria-sort") == "descending"


def test_names_are_shown_as_they_are(page):
    assert page.title == "Nuclei <of> friends"
    assert page.find_element(By.CSS_SELECTOR, ".card h3").text.startswith('<b>odd</b> "name"')
    assert page.find_elements(By.CSS_SELECTOR, "h1 of, h3 b") == []


def test_headings_and_names_serve_screen_readers(page):
    levels = page.execute_script(
        "return Array.from(document.querySelectorAll('h1,h2,h3,h4'), h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    unnamed = """return Array.from(document.querySelectorAll('img,svg,table,.scroll'))
        .filter(e => !(e.alt || e.ariaLabel || e.caption?.textContent.trim()))
        .map(e => e.outerHTML.slice(0, 80))"""
    assert page.execute_script(unnamed) == []


def test_printing_opens_what_is_folded_and_cuts_nothing(page):
    show(page, DESKTOP, "light", media="print")
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    script = """return [document.querySelectorAll('details:not([open])').length,
        getComputedStyle(document.querySelector('nav')).display,
        getComputedStyle(document.querySelector('.scroll.tall')).maxHeight]"""
    assert page.execute_script(script) == [0, "none", "none"]
