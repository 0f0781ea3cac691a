"""``parfocal login`` as far as it needs neither omero-py nor OMERO."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from certificates import make_certificate, tls_server
from parfocal.cli.login import _groups
from parfocal.cli.main import main
from parfocal.errors import InputError
from parfocal.models.omero_server import OmeroServer
from parfocal.omero.loading import load_omero
from parfocal.omero.tls import check_server


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT", "USER", "PASSWORD", "SESSION"):
        monkeypatch.delenv(f"OMERO_{name}", raising=False)
    monkeypatch.setenv("OMERO_SESSIONDIR", str(tmp_path / "sessions"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setitem(sys.modules, "omero", None)


def test_without_omero_py_it_is_told_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"parfocal\[omero\]"):
        load_omero()
    monkeypatch.setenv("OMERO_SESSION", "key")
    assert main(["login", "localhost"]) == 2
    assert "parfocal[omero]" in capfd.readouterr().err


def test_a_pin_is_made_without_logging_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_certificate("x")
    with tls_server(made, tmp_path) as running:
        server = OmeroServer("localhost", running.port)
        assert main(["login", server.uri, "--trust", made.fingerprint]) == 0
        assert f"trusted      {server.address}" in capsys.readouterr().out
        assert check_server(server).how == "pin"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "no server"),
        (["omero://a.org/image/1"], 2, "has a path"),
        (["omero://alice:hunter2@a.org"], 2, "a user or password"),
        (["a.org", "--user", "alice"], 2, "on a terminal only"),
        (["localhost:1", "--trust", "SHA256:" + "0" * 64], 3, "does not answer"),
        (["localhost:1", "--trust", "yes"], 2, "not the fingerprint"),
        (["localhost:1"], 3, "does not answer"),
        (["nowhere.invalid"], 3, "name of the OMERO server is not known"),
    ],
)
def test_mistakes_are_told(
    arguments: list[str], code: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["login", *arguments]) == code
    told = capfd.readouterr().err
    assert says in told
    assert "hunter2" not in told


def test_each_group_is_listed_once() -> None:
    names = ("imaging", "annotate", "imaging")
    groups = [SimpleNamespace(getName=lambda name=name: name) for name in names]
    gateway = SimpleNamespace(getGroupsMemberOf=lambda: iter(groups))
    assert _groups(SimpleNamespace(gateway=gateway)) == "member of annotate, imaging"
