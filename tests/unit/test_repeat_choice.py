"""Which environment a run is repeated in, and what is told where that cannot be had."""

import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from crate_graphs import write_graph
from crate_records import chain
from parfocal.engine.job import Job
from parfocal.engine.repeat import choice as repeat_choice
from parfocal.engine.repeat import facts as repeat_facts
from parfocal.engine.repeat.choice import Choice, Wanted
from parfocal.engine.repeat.container import Image
from parfocal.engine.repeat.environment import Recorded
from parfocal.engine.repeat.facts import Facts, own_workflow
from parfocal.engine.repeat.jobs import Task
from parfocal.engine.repeat.place import Place
from parfocal.engine.repeat.run import Repetition, repeat_run
from parfocal.errors import ConfigurationError, InputError
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.read_crate_newest import newest_attempts
from parfocal.provenance.verify_places import Places
from parfocal.steps import STEPS
from verified_runs import make_run

COMMIT, LOCK = "1" * 40, f"sha256:{'2' * 64}"
MANIFEST, ANOTHER = f"sha256:{'3' * 64}", f"sha256:{'4' * 64}"
VERSIONS = {step.name: step.version for step in STEPS}


def crate_of(folder, *changes, **all_changes):
    """Return a crate of single steps with facts in their records, and its attempts."""
    records = [
        one.model_copy(update={"step_version": VERSIONS[one.step]} | all_changes)
        for one in chain("a", "/data/a.tif")
    ]
    records = [
        one.model_copy(update=changes[n] if n < len(changes) else {})
        for n, one in enumerate(records)
    ]
    write_graph(folder, records, "sheet")
    crate = read_crate(folder / "run-crate")
    return crate, [action for action, _ in newest_attempts(crate)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Let the environment here be that of a crate; return its facts, and the crate."""
    told = {"commit": COMMIT, "lock_digest": LOCK, "python_version": "3.11.7"}
    crate, actions = crate_of(tmp_path, **told)
    versions = set(crate.tools.values())
    (version,) = versions
    facts = Facts("3.11.7", {"parfocal": version}, VERSIONS, COMMIT, lock_digest=LOCK)
    now = {"facts": facts}
    monkeypatch.setattr(repeat_choice, "facts_here", lambda *_: now["facts"])
    return now, crate, actions


class Made:
    """What was asked to be made, and what it is."""

    def __init__(self, monkeypatch):
        self.asked, self.facts, self.image = [], None, None
        monkeypatch.setattr(repeat_choice, "Checkout", lambda *given: given)
        monkeypatch.setattr(repeat_choice, "place_at", self._at)
        monkeypatch.setattr(repeat_choice, "image_here", lambda digest: self.image)
        monkeypatch.setattr(repeat_choice, "built_image", self._built)
        monkeypatch.setattr(repeat_choice, "place_in", self._in)
        monkeypatch.setattr(repeat_choice, "_own_clone", lambda: "/clone")

    def _at(self, checkout, stack, python):
        self.asked.append(checkout)
        return Place("made", self.facts, sys.executable, own_workflow())

    def _built(self, checkout, stack, python, builds):
        self.asked.append(("built", *checkout))
        return Image(f"localhost/parfocal@{MANIFEST}", MANIFEST, COMMIT)

    def _in(self, image):
        facts = replace(self.facts, container=image.name)
        return Place("container", facts, "python", own_workflow())


@pytest.fixture
def made(monkeypatch):
    return Made(monkeypatch)


def opened(crate, actions, **wanted):
    with ExitStack() as stack:
        return Choice(crate, actions, Wanted(**wanted)).open(stack)


def test_where_nothing_differs_the_work_is_done_here(here, made, caplog):
    _, crate, actions = here
    with caplog.at_level(logging.INFO):
        assert opened(crate, actions, strict=True).here
    assert "The environment is the recorded one" in caplog.text
    assert made.asked == []


def test_another_python_alone_is_told_and_the_work_is_done_here(here, made, caplog):
    now, crate, actions = here
    now["facts"] = replace(now["facts"], python="3.12.1")
    assert opened(crate, actions).here
    assert "python was 3.11.7, and is 3.12.1" in caplog.text
    with pytest.raises(ConfigurationError, match="python was"):
        opened(crate, actions, strict=True)


@pytest.mark.parametrize(
    "other",
    [
        {"commit": "9" * 40},
        {"commit": f"{COMMIT}-dirty"},
        {"lock_digest": f"sha256:{'8' * 64}"},
        {"lock": "numpy==0.1\n"},
    ],
)
def test_the_recorded_environment_is_made(here, made, caplog, other):
    now, crate, actions = here
    made.facts = now["facts"]
    now["facts"] = replace(now["facts"], **other)
    with caplog.at_level(logging.INFO):
        assert opened(crate, actions, strict=True).name == "made"
    assert made.asked == [(COMMIT, LOCK, "/clone")]
    assert "The recorded environment is at hand: made" in caplog.text
    assert opened(crate, actions, repository="/other").name == "made"
    assert made.asked[-1] == (COMMIT, LOCK, "/other")


@pytest.mark.parametrize("how", [{"environment": "here"}, {"workflow": own_workflow()}])
def test_none_is_made_where_the_user_wants_this_one(here, made, caplog, how):
    now, crate, actions = here
    now["facts"] = replace(now["facts"], commit="9" * 40)
    assert opened(crate, actions, **how).here
    assert made.asked == []
    assert f"commit was {COMMIT}, and is {'9' * 40}" in caplog.text
    with pytest.raises(ConfigurationError, match="commit was"):
        opened(crate, actions, strict=True, **how)


def test_what_still_differs_in_what_was_made_is_told(here, made, caplog):
    now, crate, actions = here
    made.facts = replace(now["facts"], python="3.11.2")
    now["facts"] = replace(now["facts"], commit="9" * 40)
    assert opened(crate, actions).name == "made"
    warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert any("made is not the recorded one: python was 3.11.7" in one for one in warnings)
    assert not any("commit was" in one for one in warnings)
    with pytest.raises(ConfigurationError, match=r"python was 3\.11\.7, and is 3\.11\.2"):
        opened(crate, actions, strict=True)


@pytest.mark.parametrize(
    ("commits", "told"),
    [
        ([None, None], "does not tell of which commit"),
        ([f"{COMMIT}-dirty"] * 2, "in no commit: it was changed"),
        ([COMMIT, "5" * 40], "are of several commits"),
        (["--upload-pack=touch x"] * 2, "as its commit is none"),
        (["c0ffee"] * 2, "as its commit is none"),
        (["A" * 40] * 2, "as its commit is none"),
        ([f"{COMMIT}\n"] * 2, "as its commit is none"),
        (["HEAD"] * 2, "as its commit is none"),
    ],
)
def test_what_cannot_be_made_is_told_and_the_work_done_here(tmp_path, made, caplog, commits, told):
    changes = [{"commit": commits[n % 2]} for n in range(9)]
    crate, actions = crate_of(tmp_path, *changes)
    assert opened(crate, actions).here
    assert "It cannot be made here: " in caplog.text
    assert told in caplog.text
    assert made.asked == []
    with pytest.raises(ConfigurationError, match="It cannot be made here"):
        opened(crate, actions, strict=True)


def test_where_making_fails_the_work_is_done_here(here, made, monkeypatch, caplog):
    now, crate, actions = here
    now["facts"] = replace(now["facts"], commit="9" * 40)

    def fail(*_):
        what = "There is no git"
        raise ConfigurationError(what)

    monkeypatch.setattr(repeat_choice, "place_at", fail)
    assert opened(crate, actions).here
    assert "It cannot be made here: There is no git. To have it: 'git clone'" in caplog.text
    with pytest.raises(ConfigurationError, match="There is no git"):
        opened(crate, actions, strict=True)


@pytest.fixture
def contained(here, tmp_path):
    """Return a crate whose attempts were made in an image; here is none."""
    now, _, _ = here
    image = f"localhost/parfocal@{MANIFEST}"
    told = {"commit": COMMIT, "lock_digest": LOCK, "python_version": "3.11.7"}
    (tmp_path / "contained").mkdir()
    return now, *crate_of(tmp_path / "contained", image_digest=image, **told)


def test_the_recorded_image_is_taken_wherever_podman_has_it_from(contained, made):
    now, crate, actions = contained
    made.facts, made.image = now["facts"], Image(f"quay.io/x/y@{MANIFEST}", MANIFEST, COMMIT)
    place = opened(crate, actions, strict=True)
    assert (place.name, made.asked) == ("container", [])


def test_an_image_that_podman_lacks_is_built(contained, made):
    now, crate, actions = contained
    made.facts = now["facts"]
    assert opened(crate, actions, strict=True).name == "container"
    assert made.asked == [("built", COMMIT, LOCK, "/clone")]


def test_an_image_that_came_out_otherwise_is_refused(contained, made, monkeypatch, caplog):
    now, crate, actions = contained
    made.facts = now["facts"]
    other = Image(f"localhost/parfocal@{ANOTHER}", ANOTHER, COMMIT)
    monkeypatch.setattr(repeat_choice, "built_image", lambda *_: other)
    with pytest.raises(InputError, match=r"not the recorded one.*--environment container"):
        opened(crate, actions)
    assert opened(crate, actions, environment="container").name == "container"
    assert f"container was localhost/parfocal@{MANIFEST}, and is" in caplog.text


@pytest.mark.parametrize("name", ["docker://parfocal:1", "--privileged", f"x@{MANIFEST}0"])
def test_an_image_that_is_not_told_by_its_digest_is_not_looked_for(here, tmp_path, made, name):
    (tmp_path / "odd").mkdir()
    crate, actions = crate_of(tmp_path / "odd", commit=COMMIT, lock_digest=LOCK, image_digest=name)
    with pytest.raises(ConfigurationError, match="one container image by the digest"):
        Recorded(crate, actions).image_digest()
    assert opened(crate, actions).here
    assert made.asked == []


def test_the_image_of_a_commit_is_taken_where_the_user_wants_it(here, made, caplog):
    now, crate, actions = here
    made.facts = now["facts"]
    assert opened(crate, actions, environment="container").name == "container"
    assert f"container was none, and is localhost/parfocal@{MANIFEST}" in caplog.text


def test_no_container_that_the_user_wants_is_an_error(here, tmp_path, made):
    (tmp_path / "odd").mkdir()
    crate, actions = crate_of(tmp_path / "odd", commit=None)
    with pytest.raises(ConfigurationError, match="of which commit"):
        opened(crate, actions, environment="container")


def test_in_an_image_the_workflow_is_found_by_a_variable(tmp_path, monkeypatch):
    monkeypatch.setattr(repeat_facts.parfocal, "__file__", str(tmp_path / "a/b/c/__init__.py"))
    monkeypatch.setenv("PARFOCAL_PROJECT", "/opt/parfocal/project")
    found = own_workflow()
    assert str(found) == "/opt/parfocal/project/workflows/analyse_images/Snakefile"
    with pytest.raises(ConfigurationError, match="not run from a clone"):
        repeat_choice._own_clone()


def test_steps_run_by_the_command_of_what_was_made(tmp_path, monkeypatch):
    crate = read_crate(make_run(tmp_path / "{first}"))
    told = {"PARFOCAL_COMMIT": COMMIT, "PARFOCAL_LOCK_DIGEST": LOCK}
    facts = repeat_facts.facts_here(STEPS)
    place = Place("made", facts, sys.executable, own_workflow(), os.environ | told)
    monkeypatch.setattr(Choice, "open", lambda *_: place)
    places = Places(tmp_path / "{first}/results", {})
    made = repeat_run(Repetition(crate, tmp_path / "{again}", places, threads=2))
    again = read_crate(made)
    first, second = (
        {d.name: d.digest for d in one.data.values() if d.name.startswith("images/")}
        for one in (crate, again)
    )
    assert first == second
    assert len(first) == 5
    recorded = Recorded(again, [one for one in again.actions if one.image_id == "a"])
    assert (recorded.commit(), recorded.lock_digest) == (COMMIT, LOCK)
    names = sorted(path.name for path in (tmp_path / "{again}").iterdir())
    assert names == ["results", "samples.tsv"]


def test_a_step_gets_the_parameters_that_it_had_then(tmp_path):
    """It may have more here, of which it knew nothing."""
    step = next(step for step in STEPS if step.name == "segment-objects")
    model = {"method": "onnx", "path": "/models/m.onnx"}
    params = step.params.model_validate({"channel": 3, "model": model})
    inputs = {"image": tmp_path / "out.zarr", "labels": tmp_path / "results/in.zarr"}
    job = Job(step, params, inputs, {}, "a", results=tmp_path / "results")
    task = Task(job, frozenset({"channel", "model.method", "model.path"}))
    assert task.parameters() == {"channel": 3, "model": model}
    assert task.reads() == {tmp_path / "out.zarr", Path("/models/m.onnx")}


def test_a_step_that_fails_where_it_was_made_is_told(tmp_path, monkeypatch, caplog):
    crate = read_crate(make_run(tmp_path / "first"))
    facts = repeat_facts.facts_here(STEPS)
    place = Place("made", facts, "/bin/false", own_workflow(), os.environ)
    monkeypatch.setattr(Choice, "open", lambda *_: place)
    with pytest.raises(InputError, match="no records of the images"):
        repeat_run(Repetition(crate, tmp_path / "again", Places(tmp_path / "first/results", {})))
    assert "segment-objects of a failed: exit code 1" in caplog.text
