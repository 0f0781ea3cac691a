"""The command sign-run, and verify-run --signer: who signed a crate."""

import json
import shutil
import subprocess

import pytest

from crate_graphs import write_graph
from crate_records import example_run
from parfocal.cli.sign_run import sign_run
from parfocal.cli.verify_run import verify_run
from parfocal.errors import ConfigurationError, InputError, OutputExistsError, VerificationError
from verified_runs import METADATA, edit_graph, pack, pack_in_folder

PASSPHRASE = "correct horse battery"


def make_key(path, passphrase=""):
    """Make a key pair."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "jo@lab", "-f", path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return make_key(folder / "mine"), make_key(folder / "other")


@pytest.fixture
def crate(tmp_path):
    write_graph(tmp_path, example_run())
    return tmp_path / "run-crate"


def check(crate, signers):
    """Verify a crate; return findings, and the signature. Its data are made up, and missing."""
    report = crate.parent / "report.json"
    with pytest.raises(VerificationError):
        verify_run([str(crate), f"--signer={signers}", f"--json={report}"])
    content = json.loads(report.read_text())
    return content["findings"], content["signature"]


def public(key):
    return key.with_suffix(".pub")


def test_a_good_signature_is_told(crate, keys, capsys):
    assert sign_run([str(crate), f"--key={keys[0]}"]) == 0
    assert capsys.readouterr().out == f"{crate}.sig\n"
    findings, signature = check(crate, public(keys[0]))
    assert findings == []
    assert signature["signer"] == "jo@lab"
    assert signature["key"].startswith("ED25519 key SHA256:")
    assert "signed by jo@lab, ED25519 key SHA256:" in capsys.readouterr().out


def test_a_signature_is_not_told_for_what_failed(crate, keys, capsys):
    sign_run([str(crate), f"--key={keys[0]}"])
    (crate / "README.md").write_text("x")
    with pytest.raises(VerificationError, match="things are not what the crate says"):
        verify_run([str(crate), f"--signer={public(keys[0])}"])
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("signed by")]
    assert [line.endswith("not all is as it was signed: see above") for line in told] == [True]


@pytest.mark.parametrize("pack", [pack, pack_in_folder])
def test_the_signature_holds_for_the_zip_file_too(crate, keys, pack):
    sign_run([str(crate), f"--key={keys[0]}"])
    packed = pack(crate)
    shutil.copy(f"{crate}.sig", f"{packed}.sig")
    findings, signature = check(packed, public(keys[0]))
    assert (findings, signature["signer"]) == ([], "jo@lab")


@pytest.mark.parametrize("pack", [pack, pack_in_folder])
def test_a_zip_file_is_signed(crate, keys, pack):
    packed = pack(crate)
    sign_run([str(packed), f"--key={keys[0]}"])
    assert check(packed, public(keys[0]))[1]["signer"] == "jo@lab"


def test_allowed_signers_name_the_signer(crate, keys, tmp_path):
    sign_run([str(crate), f"--key={keys[0]}"])
    lines = [f"{name} {public(key).read_text()}" for name, key in zip("ba", keys, strict=True)]
    allowed = tmp_path / "allowed_signers"
    allowed.write_text("# of the lab\n" + "".join(lines))
    assert check(crate, allowed)[1]["signer"] == "b"


def test_changed_metadata_are_told(crate, keys):
    sign_run([str(crate), f"--key={keys[0]}"])
    edit_graph(crate, "./", name="Another run")
    (finding,), signature = check(crate, public(keys[0]))
    assert finding.startswith("The signature is not one of the metadata as they are now")
    assert signature is None


def test_a_changed_copy_and_a_new_file_are_told(crate, keys, capsys):
    sign_run([str(crate), f"--key={keys[0]}"])
    (crate / "README.md").write_text("changed")
    (crate / "new.txt").write_text("new")
    (finding,), signature = check(crate, public(keys[0]))
    assert "new.txt is in the crate" in finding
    assert signature["signer"] == "jo@lab"
    assert "changed    copy    README.md" in capsys.readouterr().out


def test_another_key_is_told(crate, keys):
    sign_run([str(crate), f"--key={keys[1]}"])
    (finding,), signature = check(crate, public(keys[0]))
    assert finding.startswith("The signature is by none of the signers in mine.pub")
    assert signature is None


def test_a_signature_for_another_purpose_is_none(crate, keys):
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", keys[0]]
    content = (crate / METADATA).read_bytes()
    done = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True, timeout=60)
    crate.with_name(f"{crate.name}.sig").write_bytes(done.stdout)
    findings, signature = check(crate, public(keys[0]))
    assert len(findings) == 1
    assert signature is None


@pytest.mark.parametrize("content", [None, b"", b"\x00\xff" * 3_000_000])
def test_a_missing_or_damaged_signature_is_told(crate, keys, content):
    if content is not None:
        crate.with_name(f"{crate.name}.sig").write_bytes(content)
    findings, signature = check(crate, public(keys[0]))
    assert len(findings) == 1
    assert len(findings[0]) < 500
    assert signature is None


def test_a_crate_is_signed_once(crate, keys):
    sign_run([str(crate), f"--key={keys[0]}"])
    with pytest.raises(OutputExistsError, match="already"):
        sign_run([str(crate), f"--key={keys[0]}"])


def test_a_crate_that_is_not_as_it_says_is_not_signed(crate, keys):
    (crate / "README.md").write_text("changed")
    (crate / "new.txt").write_text("new")
    with pytest.raises(InputError, match=r"new\.txt is in the crate.*README\.md is changed"):
        sign_run([str(crate), f"--key={keys[0]}"])
    assert not crate.with_name(f"{crate.name}.sig").exists()


def test_a_passphrase_is_asked_for_and_told_nowhere(crate, tmp_path, monkeypatch, capfd):
    key = make_key(tmp_path / "locked", PASSPHRASE)
    ask = tmp_path / "ask.sh"
    ask.write_text(f'#!/bin/sh\necho "{PASSPHRASE}"\n')
    ask.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(ask))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    assert sign_run([str(crate), f"--key={key}"]) == 0
    assert check(crate, public(key))[1]["signer"] == "jo@lab"
    told = capfd.readouterr()
    assert PASSPHRASE not in told.out + told.err
    crate.with_name(f"{crate.name}.sig").unlink()
    ask.write_text("#!/bin/sh\necho wrong\n")
    with pytest.raises(InputError, match="did not sign"):
        sign_run([str(crate), f"--key={key}"])
    assert not crate.with_name(f"{crate.name}.sig").exists()


@pytest.mark.parametrize("content", [None, b"hello", b"\xff\xfe"])
def test_what_is_no_key_is_refused(crate, tmp_path, keys, content):
    sign_run([str(crate), f"--key={keys[0]}"])
    bad = tmp_path / "bad"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(InputError, match="signers"):
        verify_run([str(crate), f"--signer={bad}"])
    crate.with_name(f"{crate.name}.sig").unlink()
    with pytest.raises(InputError, match="no key" if content is None else "did not sign"):
        sign_run([str(crate), f"--key={bad}"])


def test_a_missing_ssh_keygen_is_told(crate, keys, monkeypatch, tmp_path):
    sign_run([str(crate), f"--key={keys[0]}"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no ssh-keygen"):
        verify_run([str(crate), f"--signer={public(keys[0])}"])
    crate.with_name(f"{crate.name}.sig").unlink()
    with pytest.raises(ConfigurationError, match="no ssh-keygen"):
        sign_run([str(crate), f"--key={keys[0]}"])
