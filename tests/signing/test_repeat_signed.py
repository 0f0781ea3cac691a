"""The option --signer of repeat-run: what no one that is trusted signed is not run."""

import shutil
import subprocess

import pytest

from parfocal.cli.repeat_run import repeat_run
from parfocal.cli.sign_run import sign_run
from parfocal.engine.repeat import run as repeated_run
from parfocal.errors import VerificationError
from verified_runs import edit_graph, make_run


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """Return a signed crate, and two public keys, of which the first is the signer's."""
    folder = tmp_path_factory.mktemp("run")
    crate, keys = make_run(folder), [folder / "mine", folder / "other"]
    for key in keys:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "jo@lab", "-f", key]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    sign_run([str(crate), f"--key={keys[0]}"])
    return crate, *(key.with_suffix(".pub") for key in keys)


def again(crate, folder, signer):
    return repeat_run(
        [str(crate), f"--folder={folder}", "--environment=here", f"--signer={signer}"]
    )


def refused(crate, tmp_path, monkeypatch, signer):
    monkeypatch.setattr(repeated_run, "last_attempts", lambda _: pytest.fail("It was run"))
    with pytest.raises(VerificationError, match="not as one of the signers signed it") as caught:
        again(crate, tmp_path / "again", signer)
    assert not (tmp_path / "again").exists()
    return str(caught.value)


def test_a_signed_crate_is_repeated_and_told(signed, tmp_path, capsys):
    crate, mine, _ = signed
    assert again(crate, tmp_path / "again", mine) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("signed by jo@lab, ED25519 key SHA256:")
    assert lines[-1] == "identical"


def test_a_crate_by_another_is_not_run(signed, tmp_path, monkeypatch):
    crate, _, other = signed
    assert "by none of the signers" in refused(crate, tmp_path, monkeypatch, other)


def test_a_crate_that_was_changed_or_lacks_its_signature_is_not_run(signed, tmp_path, monkeypatch):
    crate, mine, _ = signed
    copy = shutil.copytree(crate, tmp_path / "run-crate")
    assert "run-crate.sig is missing" in refused(copy, tmp_path, monkeypatch, mine)
    shutil.copy(f"{crate}.sig", f"{copy}.sig")
    (copy / "more.txt").write_text("x")
    assert "more.txt is in the crate" in refused(copy, tmp_path, monkeypatch, mine)
    (copy / "more.txt").unlink()
    edit_graph(copy, "./", name="Another run")
    assert "not one of the metadata" in refused(copy, tmp_path, monkeypatch, mine)
