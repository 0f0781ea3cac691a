"""Records that should be there: what outcomes and other records tell of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crate_records import artifact, chain, failed, killed, labels, record, segment, write_results
from parfocal.core.publish import Stamp, write_json
from parfocal.errors import ConfigurationError
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Artifact, Record
from parfocal.provenance.lost_records import (
    Loss,
    find_losses,
    maker_of,
    makers_of,
    superseded_empties,
)
from parfocal.provenance.records import iter_records
from parfocal.steps import STEPS

MAKERS = {
    "fetch-image": "originals/{source_key}",
    "convert-image": "images/{image_id}/image.{format}",
    "segment-objects": "images/{image_id}/labels/{label_name}.ome.zarr",
}


def tell(results: Path, step: str, *images: ImageOutcome, batch: int = 0) -> None:
    """Write the outcome of a batch."""
    path = results / "outcomes" / step.replace("-", "_") / f"{batch}.json"
    write_json(path, Outcome(step=step, images=images).model_dump(mode="json"))


def done(image_id: str, *outputs: Artifact) -> ImageOutcome:
    """Return the outcome of an image that was done."""
    digests = {one.role: one.digest for one in outputs}
    return ImageOutcome(image_id=image_id, status="done", digests=digests)


def gone_wrong(image_id: str, step: str, error: str | None = None) -> ImageOutcome:
    """Return the outcome of an image that failed."""
    return ImageOutcome(image_id=image_id, status="failed", failed_step=step, error=error)


def tell_all(results: Path, records: list[Record]) -> None:
    """Write the outcomes of done records, a batch for each."""
    for batch, one in enumerate(records):
        tell(results, one.step, done(one.image_id, *one.outputs), batch=batch)


def remove(results: Path, place: str) -> None:
    """Remove the record of a first attempt."""
    (results / "records" / place / "0001.json").unlink()


def losses(results: Path, image_ids: str = "ab", **changes: object) -> list[Loss]:
    """Return the losses of a results folder."""
    records = list(iter_records(results))
    behind = [one for one in records if one.status == "done"]
    given = {"makers": MAKERS, "run_steps": ()} | changes
    return list(find_losses(results, records, behind, image_ids, **given))


def places(results: Path, **changes: object) -> list[tuple[str, str]]:
    """Return where lost records should lie, and how their attempts ended."""
    return [(loss.place, loss.kind) for loss in losses(results, **changes)]


def run_of_two(results: Path) -> list[Record]:
    """Write a run of two images with its outcomes."""
    records = [*chain("a", "/data/a.tif"), *chain("b", "/data/b.tif", 10)]
    write_results(results, records)
    tell_all(results, records)
    return records


def test_a_run_with_all_its_records_has_lost_none(tmp_path):
    run_of_two(tmp_path)
    assert losses(tmp_path) == []


@pytest.mark.parametrize(
    "place", ["fetch_image/a", "convert_image/a", "segment_objects/b", "measure_objects/b"]
)
@pytest.mark.parametrize("by", ["removed", "emptied"])
def test_each_record_that_an_outcome_tells_of_is_missed(tmp_path, place, by):
    run_of_two(tmp_path)
    path = tmp_path / "records" / place / "0001.json"
    path.unlink() if by == "removed" else path.write_bytes(b"")
    (loss,) = losses(tmp_path)
    assert (loss.place, loss.kind) == (f"records/{place}/0001.json", "done")
    step, image_id = place.split("/")
    how = "is empty" if by == "emptied" else "is not there"
    assert loss.text == (
        f"No record tells how {step.replace('_', '-')} of {image_id} was done: its outcome says "
        f"that it was, and records/{place}/0001.json {how}"
    )


def test_the_record_of_an_older_attempt_does_not_stand_for_the_newest(tmp_path):
    write_results(tmp_path, [segment("a", 0)])
    tell(tmp_path, "segment-objects", done("a", labels("a", "2")))
    assert places(tmp_path) == [
        ("records/convert_image/a/0001.json", "done"),
        ("records/segment_objects/a/0002.json", "done"),
    ]


def test_a_gap_among_attempts_is_where_the_record_was(tmp_path):
    write_results(tmp_path, [failed("convert-image", "a"), failed("convert-image", "a", attempt=3)])
    tell(tmp_path, "convert-image", done("a"))
    assert places(tmp_path) == [("records/convert_image/a/0002.json", "done")]


def test_a_file_of_several_images_has_the_record_of_one(tmp_path):
    first = chain("a", "/data/plate.lif")[0]
    write_results(tmp_path, [first])
    tell(tmp_path, "fetch-image", done("a", *first.outputs), done("b", *first.outputs))
    assert losses(tmp_path) == []
    remove(tmp_path, "fetch_image/a")
    assert [loss.image_id for loss in losses(tmp_path)] == ["a", "b"]


def test_equal_images_do_not_stand_for_each_other(tmp_path):
    one, other = (
        artifact("image", "ome-zarr", f"images/{name}/image.ome.zarr").model_copy(
            update={"digest": "zarr-merkle-sha256:" + "1" * 64}
        )
        for name in "ab"
    )
    write_results(tmp_path, [record("convert-image", "a", outputs=(one,))])
    tell(tmp_path, "convert-image", done("a", one), done("b", other))
    assert places(tmp_path) == [("records/convert_image/b/0001.json", "done")]


def test_failures_need_a_failed_attempt_and_what_was_skipped_needs_none(tmp_path):
    write_results(tmp_path, [failed("convert-image", "a"), killed("convert-image", "b")])
    skipped = [
        ImageOutcome(image_id=name, status="skipped", failed_step="convert-image") for name in "ab"
    ]
    tell(tmp_path, "convert-image", *(gone_wrong(name, "convert-image") for name in "ab"))
    tell(tmp_path, "segment-objects", *skipped)
    assert losses(tmp_path) == []
    remove(tmp_path, "convert_image/a")
    tell(tmp_path, "convert-image", gone_wrong("a", "convert-image", "No pixels"))
    (loss,) = losses(tmp_path)
    assert (loss.kind, loss.image_id) == ("failed", "a")
    assert loss.text == (
        "No record tells how convert-image of a failed: records/convert_image/a/0001.json is not "
        "there, and its outcome says only: No pixels"
    )


def test_images_that_left_the_sheet_are_not_missed(tmp_path):
    run_of_two(tmp_path)
    remove(tmp_path, "measure_objects/b")
    assert losses(tmp_path, image_ids="a") == []
    assert len(losses(tmp_path)) == 1


def test_without_outcomes_what_attempts_used_tells_of_lost_records(tmp_path):
    write_results(tmp_path, chain("a", "/data/a.tif"))
    assert losses(tmp_path) == []
    remove(tmp_path, "convert_image/a")
    (loss,) = losses(tmp_path)
    assert loss.place == "records/convert_image/a/0001.json"
    assert "segment-objects of a used images/a/image.ome.zarr, and records/" in loss.text
    remove(tmp_path, "segment_objects/a")
    assert [one.step for one in losses(tmp_path)] == ["convert-image", "segment-objects"]


def test_a_shared_source_is_missed_for_the_image_that_used_it(tmp_path):
    write_results(tmp_path, chain("a", "/data/a.tif"))
    shutil.rmtree(tmp_path / "originals")
    remove(tmp_path, "fetch_image/a")
    assert places(tmp_path) == [("records/fetch_image/a/0001.json", "done")]


def test_the_places_are_those_of_steps_on_images():
    makers = makers_of(STEPS)
    assert makers | MAKERS == makers
    assert makers.keys() == {step.name for step in STEPS if step.scope == "image"}
    assert maker_of("plates/p.ome.zarr", makers) is None


def test_what_lies_there_without_our_note_came_from_elsewhere(tmp_path):
    write_results(tmp_path, [segment("a", 0)])
    image = tmp_path / "images/a/image.ome.zarr"
    image.mkdir(parents=True)
    assert losses(tmp_path) == []
    Stamp(image).write("key", {"image": "zarr-merkle-sha256:0"}, {"image": image})
    assert places(tmp_path) == [("records/convert_image/a/0001.json", "done")]


def test_what_was_changed_since_is_no_loss_unless_our_note_has_its_digest(tmp_path):
    image = artifact("image", "ome-zarr", "images/a/image.ome.zarr", "2")
    records = [*chain("a", "/data/a.tif"), segment("a", 5, attempt=2, inputs=(image,))]
    write_results(tmp_path, records)
    assert losses(tmp_path) == []
    path = tmp_path / image.uri
    path.mkdir(parents=True)
    Stamp(path).write("key", {"image": image.digest}, {"image": path})
    assert places(tmp_path) == [("records/convert_image/a/0002.json", "done")]


def test_what_galaxy_handed_on_may_come_from_outside(tmp_path):
    written = artifact("record", "json", "/galaxy/dataset_1.dat")
    write_results(tmp_path, [segment("a", 0, written_as=written)])
    assert losses(tmp_path) == []


def test_an_empty_record_counts_unless_a_later_attempt_has_one(tmp_path):
    write_results(tmp_path, [record("measure-objects", "a", attempt=2)])
    empty = tmp_path / "records/measure_objects/a/0001.json"
    empty.touch()
    assert losses(tmp_path) == []
    records = list(iter_records(tmp_path))
    assert superseded_empties(tmp_path, records) == ["records/measure_objects/a/0001.json"]
    empty.rename(empty.with_name("0003.json"))
    assert places(tmp_path) == [("records/measure_objects/a/0003.json", "unknown")]
    assert superseded_empties(tmp_path, records) == []


def test_empty_records_of_other_images_and_later_steps_do_not_count(tmp_path):
    write_results(tmp_path, chain("a", "/data/a.tif"))
    for place in ("measure_objects/z", "apply_annotations/_run", "render_report/_run"):
        folder = tmp_path / "records" / place
        folder.mkdir(parents=True)
        (folder / "0001.json").touch()
    assert losses(tmp_path) == []
    assert places(tmp_path, run_steps=("render-report",)) == [
        ("records/render_report/_run/0001.json", "unknown")
    ]


@pytest.mark.parametrize(
    ("uri", "maker"),
    [
        ("images/a/image.ome.zarr", ("convert-image", "a")),
        ("images/a.b/labels/my cells.ome.zarr", ("segment-objects", "a.b")),
        ("originals/x.tif-12", ("fetch-image", "")),
        ("originals/x/y", None),
        ("images/../image.ome.zarr", None),
        ("/data/images/a/image.ome.zarr", None),
        ("flat.ome.zarr", None),
    ],
)
def test_a_place_tells_which_step_makes_what_lies_there(uri, maker):
    assert maker_of(uri, MAKERS) == maker


def test_a_damaged_outcome_is_named(tmp_path):
    run_of_two(tmp_path)
    (tmp_path / "outcomes/convert_image/1.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="convert_image/1"):
        losses(tmp_path)
