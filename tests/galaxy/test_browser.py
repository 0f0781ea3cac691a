"""Galaxy as its users see it, in a real browser: forms, a job, a result, and the report.

With ``PARFOCAL_TEST_PICTURES=docs/images`` the pictures of the documentation are made anew.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from tests.galaxy.components import make_ready
from tests.galaxy.configuration import ROOT
from tests.galaxy.history import History
from tests.galaxy.server import Galaxy
from tests.galaxy.visitor import Visitor

from chromium import open_chromium
from galaxy_forms import expanded
from galaxy_samples import ODD_NAME

TOOLS = ROOT / "galaxy_tools"
ROWS = 7


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the screen are kept."""
    given = os.environ.get("PARFOCAL_TEST_PICTURES")
    return Path(given).resolve() if given else tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def visitor(
    galaxy: Galaxy, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visitor]:
    """The user of the tests, who has logged in."""
    make_ready("browser")
    driver = open_chromium(tmp_path_factory.mktemp("profile"))
    try:
        visitor = Visitor(galaxy.url, driver, pictures)
        visitor.log_in()
        yield visitor
    finally:
        driver.quit()


@pytest.fixture
def history(galaxy: Galaxy) -> History:
    """A new history with a name for the pictures."""
    return History(galaxy, "Nuclei")


def headings(tool: str) -> list[str]:
    """Return what stands over the inputs of a tool, in their order."""
    inputs = expanded(TOOLS / tool / f"{tool}.xml").find("inputs")
    assert inputs is not None
    found = [one.find("param") if one.tag == "conditional" else one for one in inputs]
    return [each.get("label") or each.get("title") or "" for each in found if each is not None]


def open_form(visitor: Visitor, tool: str) -> None:
    """Open the form of a tool, and see that it asks for all inputs."""
    said = visitor.open_form(f"parfocal_{tool}")
    at = 0
    assert len(headings(tool)) > 2
    for heading in headings(tool):
        at = said.index(heading, at) + len(heading)
    assert "What it does" in said


def offers_a_login(visitor: Visitor) -> bool:
    """Return whether the form lets users give credentials, or choose among those they have."""
    said = " ".join(visitor.find("#center").text.split())
    return "Provide credentials" in said or "Manage credentials" in said


@pytest.mark.parametrize("tool", ["convert_image", "list_images"])
def test_a_form_asks_for_all_inputs(visitor: Visitor, history: History, tool: str) -> None:
    visitor.choose(history.id)
    open_form(visitor, tool)
    if tool == "list_images":  # which offers it as soon as Galaxy has looked for what there is
        visitor.until(lambda: offers_a_login(visitor), "the offer of a login")
    else:
        assert not offers_a_login(visitor)
    visitor.take_picture(f"form-{tool}")


def test_what_is_typed_reaches_the_step_as_it_was_typed(visitor: Visitor, history: History) -> None:
    cells = TOOLS / "segment_objects/test-data/cells.ome.zarr.zip"
    history.upload(cells, "ome_zarr.zip")
    visitor.choose(history.id)
    open_form(visitor, "segment_objects")
    assert cells.name in visitor.field("image").text
    visitor.fill("channel", ODD_NAME)
    visitor.fill("label_name", "cells")
    visitor.take_picture("form-segment_objects")
    visitor.run()
    labels = visitor.item(f"{cells.name}: cells")
    labels.find_element("css selector", ".content-title").click()
    visitor.see("ome_zarr", "#current-history-panel .datatype")
    visitor.take_picture("result")
    record = json.loads(history.text(history.named(f"{cells.name}: record of Segment objects")))
    assert record["parameters"]["channel"] == ODD_NAME
    assert record["parameters"]["label_name"] == "cells"
    assert record["details"]["objects"] == 6


def test_the_report_is_shown_with_its_styles_and_scripts(
    tmp_path: Path, visitor: Visitor, history: History
) -> None:
    report_of_one_image(tmp_path, history)
    visitor.choose(history.id)
    visitor.driver.get(visitor.url)
    with visitor.looking_at("Report"):
        assert visitor.ask("return document.contentType") == "text/html"
        assert visitor.ask("return document.querySelector('h1').innerText") == "Nuclei"
        style = "return getComputedStyle(document.querySelector('.card')).borderTopStyle"
        assert visitor.ask(style) == "solid"
        widths = visitor.ask("return Array.from(document.images, i => i.naturalWidth)")
        assert widths
        assert min(widths) > 50
        visitor.see(str(ROWS**2), ".tiles")
        visitor.take_picture("report")
        outlines = "return getComputedStyle(document.querySelector('.outline')).visibility"
        assert visitor.ask(outlines) == "visible"
        visitor.find("#outlines").click()
        assert visitor.ask(outlines) == "hidden"
        visitor.find("table.sortable th button").click()
        assert visitor.find("table.sortable th").get_attribute("aria-sort") == "ascending"


def nuclei() -> NDArray[np.uint16]:
    """Return blobs (Y, X) of several sizes that do not touch, `ROWS` in each row."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: ROWS * 64, : ROWS * 64]
    image = 100 + 0.2 * x
    for row, column in itertools.product(range(ROWS), repeat=2):
        middle_y, middle_x = 32 + 64 * np.array([row, column]) + rng.uniform(-12, 12, 2)
        size = rng.uniform(4, 7)
        distance = ((y - middle_y) ** 2 + (x - middle_x) ** 2) / (2 * size**2)
        image += 1500 * np.exp(-(distance**2))
    return np.asarray(rng.poisson(image), np.uint16)


def report_of_one_image(folder: Path, history: History) -> None:
    """Convert an image, find and measure its objects, and render the report."""
    tifffile.imwrite(folder / "nuclei.tif", nuclei(), imagej=True)

    def run(tool: str, **inputs: Any) -> dict[str, str]:
        job = history.run(f"parfocal_{tool}", inputs)
        assert job.state == "ok", job.stderr
        return job.outputs

    def one(dataset: str) -> dict[str, str]:
        return {"src": "hda", "id": dataset}

    def several(*datasets: str) -> dict[str, Any]:
        return {"batch": False, "values": [one(dataset) for dataset in datasets]}

    source = history.upload(folder / "nuclei.tif", "tiff")
    converted = run("convert_image", source=one(source))
    image = one(converted["image"])
    segmented = run("segment_objects", image=image)
    measured = run("measure_objects", image=image, labels=one(segmented["labels"]))
    run(
        "render_report",
        title="Nuclei",
        records=several(*(made["record"] for made in (converted, segmented, measured))),
        data=several(converted["image"], segmented["labels"], measured["table"]),
    )
