"""Batches, as programs of their own: the supervisor forks, which a process of tests should not."""

import json
import shutil

import pytest

from unit.toy_runs import batch, records, run, sheet, start, wait_for


def outcome(folder, step="make_image"):
    content = json.loads((folder / "R" / "outcomes" / step / "0.json").read_text())
    return {image["image_id"]: image for image in content["images"]}


def statuses(folder, step="make_image"):
    return {name: image["status"] for name, image in outcome(folder, step).items()}


def hidden(folder):
    return sorted(path.name for path in (folder / "R" / "images").rglob(".*"))


STAMP = ".image.ome.zarr.stamp.json"


@pytest.mark.parametrize(
    ("action", "code", "told"),
    [("kill", 137, "killed (SIGKILL)"), ("segv", 139, "SIGSEGV"), ("exit", 7, "exit code 7")],
)
def test_a_dead_worker_costs_one_image_and_the_next_run_mends_it(
    tmp_path, action, code, told
) -> None:
    sheet(tmp_path, [("a", ""), ("b", action), ("c", "")])
    done = run(*batch(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path) == {"a": "done", "b": "failed", "c": "done"}
    assert outcome(tmp_path)["b"]["failed_step"] == "make-image"
    (record,) = records(tmp_path)["b"]
    assert record["status"] == "failed"
    assert record["ended"] >= record["started"]
    assert record["error"]["type"] == "WorkerDiedError"
    assert record["error"]["exit_code"] == code
    assert told in record["error"]["message"]
    assert told in outcome(tmp_path)["b"]["error"]
    assert hidden(tmp_path) == [STAMP, STAMP]

    sheet(tmp_path, [("a", ""), ("b", ""), ("c", "")])
    assert run(*batch(tmp_path), cwd=tmp_path).returncode == 0
    assert set(statuses(tmp_path).values()) == {"done"}
    assert {name: len(found) for name, found in records(tmp_path).items()} == {
        "a": 1,
        "b": 2,
        "c": 1,
    }


def test_a_worker_that_dies_on_every_image_still_ends(tmp_path) -> None:
    sheet(tmp_path, [(name, "kill") for name in "abc"])
    assert run(*batch(tmp_path), cwd=tmp_path).returncode == 0
    assert set(statuses(tmp_path).values()) == {"failed"}


def test_failures_are_told_and_counted_and_the_others_are_done(tmp_path) -> None:
    sheet(tmp_path, [("a", "input"), ("b", "bug"), ("c", "")])
    done = run(*batch(tmp_path), cwd=tmp_path)
    assert done.returncode == 0
    assert statuses(tmp_path) == {"a": "failed", "b": "failed", "c": "done"}
    message = "The toy is broken: toy; expected a toy; found pieces. Glue it."
    assert outcome(tmp_path)["a"]["error"] == message
    assert "Traceback" in done.stderr
    assert "KeyError: 'a slip'" in done.stderr
    counter = tmp_path / "R" / "outcomes" / "make_image" / ".0.attempts"
    assert json.loads(counter.read_text()) == 1
    run(*batch(tmp_path), cwd=tmp_path)
    assert json.loads(counter.read_text()) == 2
    assert [len(found) for found in records(tmp_path).values()] == [2, 2, 1]


def test_equal_work_gives_equal_bytes(tmp_path) -> None:
    outcomes = []
    for name in ("one", "two words"):
        folder = tmp_path / name
        folder.mkdir()
        sheet(folder, [("a", ""), ("b", "input"), ("c", "")])
        run(*batch(folder), cwd=folder)
        outcomes.append((folder / "R" / "outcomes" / "make_image" / "0.json").read_bytes())
    run(*batch(folder), cwd=folder)
    outcomes.append((folder / "R" / "outcomes" / "make_image" / "0.json").read_bytes())
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_other_rows_redo_nothing(tmp_path) -> None:
    sheet(tmp_path, [("a", ""), ("b", ""), ("c", "")])
    run(*batch(tmp_path), cwd=tmp_path)
    sheet(tmp_path, [("d", ""), ("c", ""), ("a", "")])
    run(*batch(tmp_path), cwd=tmp_path)
    assert list(outcome(tmp_path)) == ["d", "c", "a"]
    assert {name: len(found) for name, found in records(tmp_path).items()} == dict.fromkeys(
        "abcd", 1
    )


def test_changed_parameters_replace_the_outputs(tmp_path) -> None:
    sheet(tmp_path, [("a", "")])
    run(*batch(tmp_path), cwd=tmp_path)
    before = outcome(tmp_path)
    run(*batch(tmp_path, "--set", "repeat=2"), cwd=tmp_path)
    assert outcome(tmp_path) != before
    chunk = tmp_path / "R/images/a/image.ome.zarr/c/0/0"
    assert chunk.read_text() == "hellohello"
    run(*batch(tmp_path), cwd=tmp_path)
    assert outcome(tmp_path) == before


def test_later_steps_skip_what_is_not_done_and_say_which_step_failed(tmp_path) -> None:
    sheet(tmp_path, [("a", ""), ("b", "input"), ("c", "kill")])
    run(*batch(tmp_path), cwd=tmp_path)
    after = tmp_path / "R/outcomes/make_image/0.json"
    done = run(*batch(tmp_path, "--after", after, step="measure-image"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path, "measure_image") == {"a": "done", "b": "skipped", "c": "skipped"}
    assert outcome(tmp_path, "measure_image")["b"]["failed_step"] == "make-image"
    assert "Glue it." in outcome(tmp_path, "measure_image")["b"]["error"]
    assert list(records(tmp_path, "measure_image")) == ["a"]


def test_an_image_is_skipped_if_any_of_the_steps_before_failed(tmp_path) -> None:
    sheet(tmp_path, [("a", ""), ("b", "")])
    run(*batch(tmp_path), cwd=tmp_path)
    assert not (tmp_path / "R/outcomes/make_image/.0.attempts").exists()
    first = tmp_path / "R/outcomes/make_image/0.json"
    content = json.loads(first.read_text())
    content["images"][1] |= {"status": "failed", "failed_step": "other", "error": "lost"}
    second = tmp_path / "other.json"
    second.write_text(json.dumps(content))
    for after in ((first, second), (second, first)):
        options = [option for path in after for option in ("--after", path)]
        done = run(*batch(tmp_path, *options, step="measure-image"), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert statuses(tmp_path, "measure_image") == {"a": "done", "b": "skipped"}


def test_an_outcome_of_other_images_is_refused(tmp_path) -> None:
    sheet(tmp_path, [("a", "")])
    run(*batch(tmp_path), cwd=tmp_path)
    sheet(tmp_path, [("a", ""), ("b", "")])
    after = tmp_path / "R/outcomes/make_image/0.json"
    done = run(*batch(tmp_path, "--after", after, step="measure-image"), cwd=tmp_path)
    assert done.returncode == 2
    assert "expected images ['b']" in done.stderr
    assert "Traceback" not in done.stderr


def test_inputs_may_lie_elsewhere(tmp_path) -> None:
    sheet(tmp_path, [("a", "")])
    run(*batch(tmp_path), cwd=tmp_path)
    shutil.move(tmp_path / "R/images/a/image.ome.zarr", tmp_path / "R/images/a/other.ome.zarr")
    path = "image=images/{image_id}/other.ome.zarr"
    run(*batch(tmp_path, "--path", path, step="measure-image"), cwd=tmp_path)
    assert statuses(tmp_path, "measure_image") == {"a": "done"}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("imgae=x", "imgae; expected image, extra, table"),
        ("image=images/{imageid}/x", "unknown fields"),
        ("image={", "not well formed"),
        ("image={}", "unknown fields"),
        ("image", "PORT=PATH"),
    ],
)
def test_bad_paths_are_refused_before_anything_runs(tmp_path, path, told) -> None:
    sheet(tmp_path, [("a", "")])
    done = run(*batch(tmp_path, "--path", path, step="measure-image"), cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "R").exists()


def test_two_batches_at_once_do_each_image_once(tmp_path) -> None:
    sheet(tmp_path, [("a", "slow"), ("b", "")])
    both = [start(*batch(tmp_path), cwd=tmp_path, TOY_FLAG=str(tmp_path / "flag")) for _ in "12"]
    told = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [len(found) for found in records(tmp_path).values()] == [1, 1]
    assert any("Waiting for another writer" in text for text in told)
    assert any("Reused make-image of a" in text for text in told)


def test_an_orphaned_worker_ends_its_image_and_the_next_run_waits_for_it(tmp_path) -> None:
    sheet(tmp_path, [("a", "slow"), ("b", "")])
    flag = tmp_path / "flag"
    first = start(*batch(tmp_path), cwd=tmp_path, TOY_FLAG=str(flag))
    wait_for(flag.exists)
    first.kill()  # the supervisor alone
    second = run(*batch(tmp_path), cwd=tmp_path, TOY_FLAG=str(flag))
    first.communicate()
    assert second.returncode == 0
    assert set(statuses(tmp_path).values()) == {"done"}
    assert [len(found) for found in records(tmp_path).values()] == [1, 1]


def test_many_attempts_at_odd_names(tmp_path) -> None:
    folder = tmp_path / "a b [1] {x} $HOME 'q' \"ü\""
    folder.mkdir()
    sheet(folder, [("a", "")])
    name = "in put [2] {y} $PATH 'r' \"µ\".txt"
    (folder / "a.txt").rename(folder / name)
    text = (folder / "s.tsv").read_text()
    (folder / "s.tsv").write_text(text.replace("a.txt", name))
    done = run(*batch(folder), cwd=folder)
    assert statuses(folder) == {"a": "done"}, done.stderr


def job_attempt(folder):
    return json.loads((folder / "R/attempts/make_image/0.json").read_text())


def test_killed_images_are_left_for_the_next_attempt_and_the_others_done(tmp_path) -> None:
    sheet(tmp_path, [("a", ""), ("b", "once"), ("c", "")])
    first = run(*batch(tmp_path, "--attempt", 1, "--attempts", 2), cwd=tmp_path)
    assert first.returncode == 1
    assert "Images are left for the next attempt: b (1 of 3)" in first.stderr
    assert not (tmp_path / "R/outcomes").exists()
    assert job_attempt(tmp_path)["cause"] in ("memory", "killed")
    second = run(*batch(tmp_path, "--attempt", 2, "--attempts", 2), cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "Trying again" in second.stderr
    assert set(statuses(tmp_path).values()) == {"done"}
    assert [len(found) for found in records(tmp_path).values()] == [1, 2, 1]
    assert job_attempt(tmp_path)["exit_code"] == 0


def test_lack_of_memory_is_an_attempt_of_its_own_and_fails_the_image_at_the_last(tmp_path) -> None:
    sheet(tmp_path, [("a", "memory"), ("b", "")])
    first = run(*batch(tmp_path, "--attempts", 2, "--memory-mib", 500), cwd=tmp_path)
    assert first.returncode == 1
    told = job_attempt(tmp_path)
    assert (told["cause"], told["memory_mib"]) == ("memory", 500)
    last = run(*batch(tmp_path, "--attempt", 2, "--attempts", 2), cwd=tmp_path)
    assert last.returncode == 0
    assert statuses(tmp_path) == {"a": "failed", "b": "done"}
    assert "memory does not suffice" in outcome(tmp_path)["a"]["error"]
    assert records(tmp_path)["a"][0]["error"]["type"] == "OutOfMemoryError"
    told = job_attempt(tmp_path)
    assert (told["cause"], told["exit_code"]) == ("memory", 0)  # the next run begins with as much


def test_the_last_attempt_on_slurm_is_for_the_others(tmp_path) -> None:
    sheet(tmp_path, [("a", "memory"), ("b", ""), ("c", "once")])
    jobs = {"SLURM_JOB_ID": "7", "PARFOCAL_RUN": "one"}
    for attempt in (1, 2):
        done = run(*batch(tmp_path, "--attempt", attempt, "--attempts", 3), cwd=tmp_path, **jobs)
        assert done.returncode == 1
    assert list(job_attempt(tmp_path)["lacked_memory"]) == ["a"]
    last = run(*batch(tmp_path, "--attempt", 3, "--attempts", 3), cwd=tmp_path, **jobs)
    assert last.returncode == 0, last.stderr
    assert "leaves out a, for the others" in last.stderr
    assert statuses(tmp_path) == {"a": "failed", "b": "done", "c": "done"}
    assert "memory does not suffice" in outcome(tmp_path)["a"]["error"]
    assert len(records(tmp_path)["a"]) == 2
    again = run(*batch(tmp_path), cwd=tmp_path, **jobs | {"PARFOCAL_RUN": "two"})
    assert again.returncode == 0
    assert len(records(tmp_path)["a"]) == 3


def test_other_failures_are_not_tried_again(tmp_path) -> None:
    sheet(tmp_path, [("a", "input"), ("b", "segv"), ("c", "remote")])
    done = run(*batch(tmp_path, "--attempt", 1, "--attempts", 3), cwd=tmp_path)
    assert done.returncode == 0
    assert set(statuses(tmp_path).values()) == {"failed"}


def test_a_stopped_batch_leaves_the_cause_to_the_scheduler(tmp_path) -> None:
    sheet(tmp_path, [("a", "hang")])
    flag = tmp_path / "flag"
    process = start(*batch(tmp_path, "--attempts", 2), cwd=tmp_path, TOY_FLAG=str(flag))
    wait_for(flag.exists)
    process.terminate()
    process.communicate(timeout=60)
    told = job_attempt(tmp_path)
    assert (told["cause"], told["exit_code"], told["settled"]) == ("killed", 143, False)


def test_attempts_beyond_the_last_are_refused(tmp_path) -> None:
    sheet(tmp_path, [("a", "")])
    done = run(*batch(tmp_path, "--attempt", 3, "--attempts", 2), cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "R").exists()
