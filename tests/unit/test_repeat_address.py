"""Addresses of repositories with secrets in them: refused before anything is started."""

import subprocess

import pytest

from parfocal.cli.main import main
from parfocal.engine.repeat.address import refuse_secrets
from parfocal.errors import ConfigurationError
from verified_runs import make_run

SECRET = [
    "https://user:s3cret@host/x.git",
    "HTTP://s3cret@host/x.git",
    "https://user:s3/cret@host/x.git",
    "https::https://user:s3cret@host/x.git",
    "file://user:s3cret@host/x.git",
    "git://user:s3cret@host/x.git",
    "ssh://user:s3cret@host/x.git",
    "user:s3cret@host:x.git",
]
FINE = [
    "https://host:8443/x.git",
    "https://[::1]:80/x.git",
    "https://host/@user/x.git",
    "ssh://git@host:22/x.git",
    "git@host:path/x.git",
    "host:path/x.git",
    "file:///srv/x@y.git",
    "/srv/a:b@c",
    "--bare",
]


@pytest.mark.parametrize("address", SECRET)
def test_an_address_with_a_secret_is_refused_and_not_shown(address):
    with pytest.raises(ConfigurationError, match="credential helper") as raised:
        refuse_secrets(address)
    assert raised.value.exit_code == 2
    assert "s3" not in str(raised.value)


@pytest.mark.parametrize("address", FINE)
def test_others_are_taken(address):
    refuse_secrets(address)


def test_nothing_is_started_with_a_secret(tmp_path, monkeypatch, capfd):
    make_run(tmp_path)
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **_: started.append(a))
    crate, folder = tmp_path / "results/run-crate", tmp_path / "again"
    code = main(["repeat-run", str(crate), f"--folder={folder}", f"--repository={SECRET[0]}"])
    told = "".join(capfd.readouterr())
    assert (code, started, folder.exists()) == (2, [], False)
    assert "credential helper" in told
    assert "s3cret" not in told
