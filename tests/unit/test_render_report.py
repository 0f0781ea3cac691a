"""The step render-report on a results folder as the steps leave it."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from parfocal.core.step import Step, exact
from parfocal.errors import ConfigurationError, InputError
from parfocal.images import write_ome_zarr
from parfocal.models.base import Parameters
from parfocal.models.image import ImageMetadata
from parfocal.models.record import Artifact, Failure
from report_results import ODD_NAME, STEPS, Pixels, build_results, record, render


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return folder, build_results(folder)


@pytest.fixture(autouse=True)
def known_steps(monkeypatch):
    monkeypatch.setattr("parfocal.steps.STEPS", STEPS)


def page_of(built, output, **params):
    context = render(*built, output, **params)
    return output.read_text(encoding="utf-8"), context


def test_the_report_shows_each_image_with_its_findings(built, tmp_path):
    text, context = page_of(built, tmp_path / "r.html")
    assert text.count('<article class="card">') == 3
    assert text.count("data:image/png;base64,") == 5
    assert "4 images:" in text
    assert "3 done, 1 failed" in " ".join(text.split())
    assert ODD_NAME not in text
    assert "&lt;b&gt;odd&lt;/b&gt;" in text
    assert "0.912" in text
    assert "The file ends before its pixels do: /data/plate 1/&lt;cut&gt;.tif" in text
    assert context.details == {"images": 4}


def test_a_missing_result_of_a_done_step_is_warned_of(built, tmp_path):
    _, context = page_of(built, tmp_path / "r.html")
    assert context.warnings == [
        "segment-objects is done for slide, but its result is not there: labels/nuclei.ome.zarr"
    ]


def test_the_same_results_give_the_same_bytes(built, tmp_path):
    first, _ = page_of(built, tmp_path / "1.html")
    moved = tmp_path / "moved"
    shutil.copytree(built[0], moved)
    second, _ = page_of((moved, moved / "samples.tsv"), tmp_path / "2.html")
    assert first == second


def test_pictures_are_limited_and_the_rest_is_in_the_table(built, tmp_path):
    text, _ = page_of(built, tmp_path / "r.html", max_pictures=1)
    assert text.count('<article class="card">') == 1
    assert "Pictures of 1 of 4 images" in text
    table = text[text.index('<section id="table">') :]
    assert len(re.findall(r'<th scope="row"><bdi>(cells|stack|slide|broken)</bdi>', table)) == 4


def test_only_what_can_be_compared_is_drawn_together(built, tmp_path):
    text, _ = page_of(built, tmp_path / "r.html")
    start = text.index('<section id="measurements">')
    section = text[start : text.index("</section>", start)]
    assert re.findall(r"<h3><bdi>(.*?)</bdi></h3>", section) == ["Mean intensity, DAPI"]
    assert "2 uint16 images" in section
    assert re.findall(r'<th scope="row"><bdi>(.*?)</bdi>', section) == ["cells", "stack"]


def test_the_plane_that_is_drawn_of_a_stack_is_told(built, tmp_path):
    text, _ = page_of(built, tmp_path / "r.html")
    assert "shown: plane 3 of 5, where objects cover most" in text


def test_no_pictures_can_be_asked_for(built, tmp_path):
    text, _ = page_of(built, tmp_path / "r.html", max_pictures=0)
    assert "data:image" not in text


def test_title_and_label_name_are_used(built, tmp_path):
    text, context = page_of(built, tmp_path / "r.html", title="<Mine>", label_name="cells")
    assert "<title>&lt;Mine&gt;</title>" in text
    assert any("tables/cells.parquet" in warning for warning in context.warnings)


def test_a_missing_sheet_is_a_configuration_error(built, tmp_path):
    with pytest.raises(ConfigurationError, match="sample sheet cannot be read"):
        render(built[0], tmp_path / "none.tsv", tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_an_empty_results_folder_gives_a_report_of_images_not_run(built, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    text, context = page_of((empty, built[1]), tmp_path / "r.html")
    assert "4 not run" in text
    assert context.warnings == []


def test_a_damaged_table_is_named(built, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(built[0], results)
    path = results / "images/cells/tables/nuclei.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="A table cannot be read") as caught:
        render(results, built[1], tmp_path / "r.html")
    assert caught.value.where == path


def test_outlines_are_drawn_where_pyramids_differ(built, tmp_path):
    from parfocal.images import open_image
    from parfocal.report.levels import level_of_size, pick_level

    folder = built[0] / "images/cells"
    with (
        open_image(folder / "image.ome.zarr") as image,
        open_image(folder / "labels/nuclei.ome.zarr") as labels,
    ):
        level = image.level(pick_level(image.pyramid, 384))
        assert level.shape5[3:] == level_of_size(labels.pyramid, level, 384).shape5[3:]


def test_the_image_that_was_measured_is_shown(built, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(built[0], results)
    folder = results / "images/stack"
    shutil.rmtree(folder / "labels/nuclei.ome.zarr")
    pixels = np.full((1, 1, 1, 256, 256), 7, np.uint8)
    metadata = ImageMetadata(name="flat", axes="CYX", shape=(1, 256, 256), dtype="uint8")
    write_ome_zarr(folder / "projected.ome.zarr", metadata, Pixels(pixels))
    before, _ = page_of((results, built[1]), tmp_path / "before.html")
    uri = "images/stack/projected.ome.zarr"
    taken = Artifact(role="image", kind="ome-zarr", uri=uri, digest="zarr-merkle-sha256:00")
    record(results, "measure-objects", "stack", attempt=2, inputs=(taken,))
    after, _ = page_of((results, built[1]), tmp_path / "after.html")
    told = "maximum over 5 planes"
    assert told in before
    assert told not in after
    # A result of a step that has failed since is not current.
    failure = Failure(type="InputError", message="no", exit_code=2)
    monkey = (*STEPS, Step("project-image", "1", "a", Parameters, (), (), STEPS[0].run, exact()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parfocal.steps.STEPS", monkey)
        record(results, "project-image", "stack", status="failed", error=failure)
        failed, _ = page_of((results, built[1]), tmp_path / "failed.html")
    assert told in failed
