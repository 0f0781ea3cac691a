"""Bad input, by the command line: one line of what is wrong, an exit code, nothing half done."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotating import Desk, labels_3d
from omero_connections import forget_connections
from omero_objects import image, save, upload_image
from omero_state import held
from parfocal.cli.main import main
from parfocal.models.annotation_entries import RUN_NAMESPACE, Comment

WRONG = "hunter2-is-wrong"


@dataclass
class Case:
    """What is asked for, by whom, and what is to be told.

    Attributes
    ----------
    target : str
        The URI of an image.
    told : tuple of str
        What the message holds.
    code : int
        The exit code.
    login : dict
        Of the environment.
    """

    target: str
    told: tuple[str, ...]
    code: int = 2
    login: dict[str, str] = field(default_factory=dict)


Given = Callable[[str], Case]


@pytest.fixture
def given(logged_in: str, alice: Any, gateway: Callable[..., Any]) -> Given:
    """Prepare a case by its name."""

    def wrong_password() -> Case:
        target = f"{logged_in}/image/{upload_image(alice)}"
        told = ("does not take this user and password", "parfocal login")
        return Case(target, told, login={"OMERO_PASSWORD": WRONG})

    def expired_session() -> Case:
        target = f"{logged_in}/image/{upload_image(alice)}"
        told = ("session has expired", "parfocal login")
        return Case(target, told, login={"OMERO_SESSION": str(uuid.uuid4())})

    def unknown_host() -> Case:
        return Case("omero://no-such-host.invalid/image/1", ("no-such-host.invalid",), code=3)

    def missing_id() -> Case:
        return Case(f"{logged_in}/image/987654321", ("987654321", "on the OMERO server"))

    def no_permission_to_read() -> Case:
        bob = gateway("bob", group="private")
        made = bob.createImageFromNumpySeq(iter([np.zeros((4, 4), np.uint8)]), "hidden")
        return Case(f"{logged_in}/image/{made.getId()}", (f"{made.getId()}", "on the OMERO server"))

    def no_permission_to_annotate() -> Case:
        theirs = save(gateway("bob", "readonly"), image("of bob")).id.val
        told = ("readonly (rwr---)", "read-annotate or read-write")
        return Case(f"{logged_in}/image/{theirs}", told)

    def no_pixels() -> Case:
        made = save(alice, image("without pixels")).id.val
        return Case(f"{logged_in}/image/{made}", ("cannot be read", "it has no pixels"))

    cases = (wrong_password, expired_session, unknown_host, missing_id, no_permission_to_read)
    known = {each.__name__: each for each in (*cases, no_permission_to_annotate, no_pixels)}
    return lambda name: known[name]()


def one_message(text: str) -> str:
    """Return the one message that was told; warnings of what is still tried aside."""
    assert "Traceback" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("parfocal: ERROR: ")]
    return line


def check(case: Case, command: list[str], capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command that is to fail, and look at what it tells."""
    for name, value in case.login.items():
        monkeypatch.setenv(name, value)
    capfd.readouterr()
    assert main(command) == case.code
    text = one_message(capfd.readouterr().err)
    for part in (*case.told, case.target.partition("/image")[0]):
        assert part in text
    for secret in case.login.values():
        assert secret not in text


@pytest.mark.parametrize(
    "name",
    [
        "wrong_password",
        "expired_session",
        "unknown_host",
        "missing_id",
        "no_permission_to_read",
        "no_pixels",
    ],
)
def test_nothing_is_fetched(
    name: str,
    given: Given,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = given(name)
    folder = tmp_path / "work"
    command = ["fetch-image", "--set", f"source={case.target}", "--original", f"{folder}/original"]
    check(case, command, capfd, monkeypatch)
    assert not (folder / "original").exists()


@pytest.mark.parametrize(
    "name",
    [
        "wrong_password",
        "expired_session",
        "unknown_host",
        "missing_id",
        "no_permission_to_read",
        "no_permission_to_annotate",
    ],
)
def test_nothing_is_annotated(
    name: str,
    given: Given,
    root: Any,
    target: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = given(name)
    desk = Desk(tmp_path / "results")
    # On the same server another target comes first, to which nothing must go either.
    first = [target] if case.target.startswith(target.partition("/image")[0]) else []
    for uri in (*first, case.target):
        desk.targets[uri] = [Comment.planned(uri, namespace=RUN_NAMESPACE, text="hello")]
    desk.write_plan()
    before = held(root)
    receipt = tmp_path / "receipt.json"
    ports = ["--results", str(desk.folder), "--plan", str(desk.plan), "--receipt", str(receipt)]
    check(case, ["apply-annotations", *ports], capfd, monkeypatch)
    assert held(root) == before
    assert not receipt.exists()


@pytest.mark.parametrize("name", ["wrong_password", "expired_session"])
def test_nothing_is_listed(
    name: str,
    given: Given,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = given(name)
    sheet = tmp_path / "samples.tsv"
    command = ["list-images", "--set", f"source={case.target}", "--sheet", str(sheet)]
    check(case, command, capfd, monkeypatch)
    assert not sheet.exists()


@pytest.mark.parametrize("port", ["verification", "receipt"])
@pytest.mark.parametrize("name", ["wrong_password", "expired_session"])
def test_nothing_is_verified_or_reverted(
    name: str,
    port: str,
    given: Given,
    root: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = given(name)
    desk = Desk(tmp_path / "results")
    desk.targets[case.target] = [
        Comment.planned(case.target, namespace=RUN_NAMESPACE, text="hello")
    ]
    desk.folder.mkdir()
    desk.apply()
    forget_connections()
    before, journal = held(root), desk.journal().read_bytes()
    output = tmp_path / "output.json"
    step = {"verification": "verify-annotations", "receipt": "revert-annotations"}[port]
    ports = ["--results", str(desk.folder), "--plan", str(desk.plan), f"--{port}", str(output)]
    check(case, [step, *ports], capfd, monkeypatch)
    assert not output.exists()
    assert held(root) == before
    assert desk.journal().read_bytes() == journal


def test_an_image_without_pixels_is_annotated_but_for_what_needs_them(
    alice: Any, root: Any, logged_in: str, tmp_path: Path
) -> None:
    target = f"{logged_in}/image/{save(alice, image('without pixels')).id.val}"
    desk = Desk(tmp_path / "results")
    desk.labels(labels_3d() * 0)
    before = held(root)
    desk.targets[target] = [
        Comment.planned(target, namespace=RUN_NAMESPACE, text="nothing to see"),
        desk.rois(target, labels_3d() * 0),
    ]
    desk.apply()
    desk.verify()
    (comment,) = held(root)["Annotation"] - before["Annotation"]
    assert alice.getObject("Annotation", comment).getValue() == "nothing to see"
    assert held(root)["Shape"] == before["Shape"]
    desk.revert()
    assert held(root) == before
