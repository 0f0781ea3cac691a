"""Runs with a learned model, repeated: by the same model, wherever it lies now."""

import json
import os
from types import SimpleNamespace

import pytest

from onnx_networks import blur
from parfocal.cli.repeat_run import repeat_run
from parfocal.core.digest import digest_path
from parfocal.engine.repeat.models import check_models
from parfocal.errors import InputError
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.read_crate_newest import model_of
from verified_runs import make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "models").mkdir()
    model = blur(folder / "models" / "blur.onnx")
    make_run(folder, model={"method": "onnx", "path": str(model), "halo_px": 4})
    return folder


def again(made, folder, *options):
    crate = made / "results" / "run-crate"
    return repeat_run([str(crate), f"--folder={folder}", "--environment=here", *options])


def test_the_crate_tells_the_model_of_each_attempt(made):
    crate = read_crate(made / "results" / "run-crate")
    told = {one.step: model_of(crate, one) for one in crate.actions}
    assert told.pop("segment-objects") == digest_path(made / "models" / "blur.onnx")
    assert set(told.values()) == {None}


def test_the_same_model_gives_the_same_wherever_it_lies(made, tmp_path, capsys):
    report = tmp_path / "report.json"
    moved = made / "moved"
    (made / "models").rename(moved)
    try:
        with pytest.raises(InputError, match=r"model of the run is not there.*--map"):
            again(made, tmp_path / "again")
        assert not (tmp_path / "again").exists()
        mapped = f"--map={made / 'models'}={moved}"
        assert again(made, tmp_path / "again", mapped, f"--json={report}") == 0
    finally:
        moved.rename(made / "models")
    assert capsys.readouterr().out.splitlines()[-1] == "identical"
    assert json.loads(report.read_text())["differing_results"] == 0


def test_another_model_is_refused(made, tmp_path):
    model = made / "models" / "blur.onnx"
    before = model.read_bytes()
    blur(model, weights=(0.9,))
    try:
        with pytest.raises(InputError, match="model is another one"):
            again(made, tmp_path / "again")
    finally:
        model.write_bytes(before)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("told", [True, False], ids=["recorded", "not recorded"])
@pytest.mark.parametrize("kind", ["pipe", "device", "/proc", "/sys", "link"])
def test_a_model_that_is_none_to_read_is_refused_unread(tmp_path, kind, told):
    path = tmp_path / "model.onnx"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to({"/proc": "/proc/self", "/sys": "/sys"}.get(kind, "/proc/version"))
    fact = "#value/fact/model_digest/1"
    crate = SimpleNamespace(values={fact: ("model_digest", "sha256:0")})
    action = SimpleNamespace(facts=(fact,), used=())
    with pytest.raises(InputError, match="learned model of the run cannot be read") as raised:
        check_models(crate, [action] if told else [], [path])
    assert raised.value.exit_code == 2
