"""Sign a crate by SSH, and check who signed it.

Signed are the bytes of the metadata document, so a signature holds for the folder and for the zip
file of a crate alike. The document has the digest of all else: of the copies in the crate, and of
the data that it names. Source: OpenSSH, PROTOCOL.sshsig.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from parfocal.errors import ConfigurationError, InputError, OutputExistsError, StorageError
from parfocal.provenance.read_crate import Crate

__all__ = ["Signature", "check_signature", "sign_crate", "signature_path", "unlisted"]

_NAMESPACE = "parfocal"
_KEY = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/=]+")
_GOOD = re.compile(r'Good "parfocal" signature for (.+) with (\S+ key \S+)')
_LARGEST = 1 << 20
_TIMEOUT_S = 600


@dataclass(frozen=True)
class Signature:
    """Who signed a crate.

    Attributes
    ----------
    signer : str
        The name that the file of allowed signers has for the key, or the comment of the public key.
    key : str
        Kind and fingerprint of the key.
    """

    signer: str
    key: str


def signature_path(crate: Path) -> Path:
    """Return where the signature of a crate lies: beside it."""
    whole = crate.absolute()
    return whole.with_name(f"{whole.name}.sig")


def unlisted(crate: Crate) -> list[str]:
    """Return a line for each file in the crate that its metadata say nothing of."""
    known = {datum.name for datum in crate.data.values() if datum.in_crate}
    names = (name for name in crate.files.names() if name not in known)
    return [f"{name} is in the crate, and its metadata have no digest of it" for name in names]


def sign_crate(crate: Crate, key: Path) -> Path:
    """Sign a crate, and return the file of the signature.

    A passphrase is asked for by ssh-keygen itself, at the terminal or as ``SSH_ASKPASS`` says; with
    a public key, ssh-agent signs.

    Raises
    ------
    InputError
        If the crate is not what its metadata say, or the key does not sign.
    OutputExistsError
        If there is a signature already.
    ConfigurationError
        If there is no ssh-keygen.
    """
    target = signature_path(crate.path)
    if target.exists():
        what = "There is a signature of the crate already"
        raise OutputExistsError(what, where=target, remedy="Remove it, to sign the crate anew.")
    if faults := [*crate.findings, *unlisted(crate), *_changed(crate)]:
        what = "The crate is not signed, since it is not what its metadata say"
        raise InputError(what, where=crate.path, found="; ".join(map(ascii, faults[:10])))
    if not key.is_file():
        what = "There is no key"
        remedy = "'ssh-keygen -t ed25519 -f FILE' makes one."
        raise InputError(what, where=key, remedy=remedy)
    done = _ssh_keygen(crate, ["-Y", "sign", "-n", _NAMESPACE, "-f", str(key)])
    if done.returncode:
        what = "The key did not sign"
        remedy = "Its passphrase is asked for at the terminal; of one in ssh-agent name the .pub."
        raise InputError(what, where=key, found=_told(done), remedy=remedy)
    _write(target, done.stdout)
    return target


def check_signature(crate: Crate, signers: Path) -> Signature | str:
    """Check the signature beside a crate; return who signed it, or what is wrong.

    Parameters
    ----------
    signers : Path
        A public key, or a file of allowed signers as ``ssh-keygen`` has it.

    Raises
    ------
    InputError
        If `signers` cannot be read, or holds no public key.
    ConfigurationError
        If there is no ssh-keygen.
    """
    path = signature_path(crate.path)
    if not path.is_file():
        return f"There is no signature: {path.name} is missing"
    with tempfile.TemporaryDirectory() as folder:
        allowed, signature = Path(folder) / "allowed_signers", Path(folder) / "signature"
        allowed.write_text("\n".join(_allowed(signers)) + "\n", encoding="utf-8")
        # What was found is what is checked, and it is no pipe.
        with path.open("rb") as stream:
            signature.write_bytes(stream.read(_LARGEST))
        common = ["-n", _NAMESPACE, "-f", str(allowed), "-s", str(signature)]
        found = _ssh_keygen(crate, ["-Y", "find-principals", *common])
        names = found.stdout.decode("utf-8", "replace").splitlines()
        if found.returncode or not names:
            return f"The signature is by none of the signers in {signers.name}: {_told(found)}"
        done = _ssh_keygen(crate, ["-Y", "verify", "-I", names[0], *common])
    match = _GOOD.search(done.stdout.decode("utf-8", "replace"))
    if done.returncode or match is None:
        return f"The signature is not one of the metadata as they are now: {_told(done)}"
    return Signature(signer=match[1], key=match[2])


def _allowed(signers: Path) -> list[str]:
    """Return lines of allowed signers; of a public key, one for the namespace of crates."""
    try:
        lines = signers.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = "The signers cannot be read"
        remedy = "Name a public key (.pub), or a file of allowed signers."
        raise InputError(what, where=signers, found=error, remedy=remedy) from error
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not any(_KEY.search(line) for line in lines):
        what = "The file of signers holds no public key"
        remedy = "Name a public key (.pub), or a file of allowed signers."
        raise InputError(what, where=signers, expected="ssh-ed25519 AAAA...", remedy=remedy)
    return [_line(line, signers) if _KEY.match(line) else line for line in lines]


def _line(public_key: str, where: Path) -> str:
    words = public_key.split()
    name = re.sub(r"[^A-Za-z0-9@._+-]+", "-", "-".join(words[2:])) or where.stem
    return f'{name} namespaces="{_NAMESPACE}" {words[0]} {words[1]}'


def _ssh_keygen(crate: Crate, arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    """Run ssh-keygen with the metadata of a crate as its input."""
    program = shutil.which("ssh-keygen")
    if program is None:
        what = "There is no ssh-keygen, which makes and checks signatures"
        raise ConfigurationError(what, remedy="Install OpenSSH 8.2 or newer.")
    # A file and no pipe: ssh-keygen may end before it has read all.
    with tempfile.TemporaryFile() as copy, crate.files.metadata() as stream:
        shutil.copyfileobj(stream, copy, 1 << 20)
        copy.seek(0)
        try:
            return subprocess.run(
                [program, *arguments],
                stdin=copy,
                capture_output=True,
                check=False,
                timeout=_TIMEOUT_S,
                env=os.environ | {"LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            what = "ssh-keygen did not end"
            raise ConfigurationError(what, found=f"{_TIMEOUT_S} s") from error


def _told(done: subprocess.CompletedProcess[bytes]) -> str:
    text = " ".join((done.stderr + done.stdout).decode("utf-8", "replace").split())
    return ascii(text)[1:-1][:300] or f"exit code {done.returncode}"


def _changed(crate: Crate) -> Iterator[str]:
    for datum in crate.data.values():
        if datum.in_crate and (found := crate.files.digest(datum.name)) != datum.digest:
            yield f"{datum.name} is {'missing' if found is None else 'changed'}"


def _write(target: Path, content: bytes) -> None:
    try:
        with target.open("xb") as stream:
            stream.write(content)
    except OSError as error:
        what = "The signature cannot be written"
        raise StorageError(what, where=target, found=error) from error
