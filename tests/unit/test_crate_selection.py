"""Which records belong to a run crate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crate_records import artifact, chain, example_run, failed, killed, labels, record, segment
from parfocal.provenance.crate_selection import select_records


def places(records):
    """Return step, image and attempt of records."""
    return [(item.step, item.image_id, item.attempt) for item in records]


def test_newest_done_attempt_at_an_output_is_current():
    old, new = segment("a", 1), segment("a", 5, attempt=2, outputs=(labels("a", "2"),))
    assert select_records([new, old], {"a"}).done == (new,)


def test_outputs_of_other_parameters_are_current_too():
    cells = artifact("labels", "ome-zarr", "images/a/labels/cells.ome.zarr")
    nuclei = segment("a", 1)
    other = segment("a", 2, attempt=2, outputs=(cells,), parameters={"label_name": "cells"})
    assert select_records([nuclei, other], {"a"}).done == (nuclei, other)


def test_attempt_that_is_current_for_one_of_its_outputs_stays():
    both = (artifact("x", "file", "x"), artifact("y", "file", "y"))
    first = record("convert-image", "a", 1, outputs=both)
    second = record("convert-image", "a", 2, attempt=2, outputs=both[:1])
    assert select_records([first, second], {"a"}).done == (first, second)


def test_images_that_left_the_sheet_are_left_out():
    assert not select_records(example_run(), {"zzz"}).all


def test_makers_of_inputs_come_from_other_images_too():
    """Two images of one file share what was fetched; its record is that of the first."""
    fetch, convert, *_ = chain("a", "/data/plate.tif")
    shared = convert.model_copy(update={"image_id": "b"})
    assert places(select_records([fetch, convert, shared], {"b"}).done) == [
        ("convert-image", "b", 1),
        ("fetch-image", "a", 1),
    ]


def test_maker_of_an_older_state_of_an_input_is_found_by_digest():
    older = record("convert-image", "a", 1, outputs=(artifact("image", "ome-zarr", "i", "1"),))
    newer = record(
        "convert-image", "a", 2, attempt=2, outputs=(artifact("i", "ome-zarr", "i", "2"),)
    )
    user = segment("a", 3, inputs=(artifact("image", "ome-zarr", "i", "1"),))
    assert select_records([older, newer, user], {"a"}).done == (older, newer, user)


def test_step_that_makes_what_it_was_given_does_not_go_round_in_circles():
    same = artifact("image", "ome-zarr", "i")
    one = record("filter-image", "a", 1, inputs=(same,), outputs=(same,))
    assert select_records([one], {"a"}).done == (one,)


def test_failed_and_killed_attempts_all_belong():
    attempts = [
        failed("segment-objects", "a", 1),
        killed("segment-objects", "a", 2, attempt=2),
        segment("a", 3, attempt=3, parameters={}),
    ]
    selection = select_records(attempts, {"a"})
    assert places(selection.failed) == [("segment-objects", "a", 1), ("segment-objects", "a", 2)]
    assert selection.open == ()


def test_failure_is_open_until_the_same_label_image_is_done():
    nuclei = failed("segment-objects", "a", 1, parameters={"label_name": "nuclei"})
    cells = segment("a", 2, attempt=2, parameters={"label_name": "cells"})
    later = segment("a", 3, attempt=3)
    assert select_records([nuclei, cells], {"a"}).open == (nuclei,)
    assert select_records([nuclei, cells, later], {"a"}).open == ()


def test_failure_after_success_is_open_and_the_result_stays_current():
    done, again = segment("a", 1), failed("segment-objects", "a", 2, attempt=2)
    again = again.model_copy(update={"parameters": done.parameters})
    selection = select_records([done, again], {"a"})
    assert (selection.done, selection.open) == ((done,), (again,))


def test_steps_of_the_whole_run_belong_whatever_their_name():
    report = record("render-report", "report", outputs=(artifact("r", "html", "report.html"),))
    assert select_records([report], {"a"}, ["render-report"]).done == (report,)
    assert not select_records([report], {"a"}).all


@given(st.permutations(example_run()))
def test_order_of_records_does_not_matter(records):
    wanted = select_records(example_run(), set("abcd"), ["render-report"])
    assert select_records(records, set("abcd"), ["render-report"]) == wanted
