"""Tiny steps with which the tests of core, engine and command line run; also a program.

``python toy_steps.py make-image --source A --image B --notes C`` is the command line of
Parfocal with these steps in place of the real ones.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

import parfocal.steps
from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import InputError, RemoteError, VerificationError
from parfocal.models.base import Parameters

__all__ = ["MAKE", "MEASURE", "STEPS", "SUMMARIES", "SUMMARIZE", "MakeParams"]


class FixedThreshold(Parameters):
    """A threshold that is given."""

    method: Literal["fixed"] = "fixed"
    value: float = Field(default=0.5, ge=0, le=1, description="The threshold.")


class OtsuThreshold(Parameters):
    """A threshold that is found."""

    method: Literal["otsu"] = "otsu"
    offset: float = Field(default=0.0, description="What is added to it.")


class MakeParams(Parameters):
    """Parameters of make-image."""

    repeat: int = Field(default=1, ge=1, le=1000, description="How often the bytes are written.")
    action: str = Field(default="none", description="What happens in the middle; see ACTIONS.")
    label: str = Field(default="x", description="Any text.")
    threshold: Annotated[FixedThreshold | OtsuThreshold, Field(discriminator="method")] = Field(
        default=FixedThreshold(), description="A variant."
    )


class NoParams(Parameters):
    """No parameters."""


def _hang(flag: Path) -> None:
    flag.touch()
    time.sleep(60)


def _slow(flag: Path) -> None:
    flag.touch()
    time.sleep(0.7)


def _fill(flag: Path) -> None:
    with flag.with_name("filling").open("wb") as stream:
        while True:
            stream.write(bytes(1 << 16))


def _fail(error: Exception) -> Callable[[Path], None]:
    def act(_flag: Path) -> None:
        raise error

    return act


def _once(flag: Path) -> None:
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)


ACTIONS: dict[str, Callable[[Path], Any]] = {
    "none": lambda _flag: None,
    "input": _fail(
        InputError(
            "The toy is broken", where="toy", expected="a toy", found="pieces", remedy="Glue it."
        )
    ),
    "remote": _fail(RemoteError("The server is asleep", where="https://example.org")),
    "verify": _fail(VerificationError("Two toys differ", expected=1, found=2)),
    "memory": _fail(MemoryError()),
    "bug": _fail(KeyError("a slip")),
    "kill": lambda _flag: os.kill(os.getpid(), signal.SIGKILL),
    "segv": lambda _flag: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda _flag: os._exit(7),
    "once": _once,
    "hang": _hang,
    "slow": _slow,
    "warn": lambda _flag: None,
}


def _make(
    inputs: Mapping[str, Path], outputs: Mapping[str, Path], params: MakeParams, context: Context
) -> None:
    row = context.row
    action = (row.free.get("action") if row else None) or params.action
    data = inputs["source"].read_bytes() * params.repeat
    zarr = outputs["image"]
    (zarr / "c" / "0").mkdir(parents=True)
    (zarr / "c" / "0" / "0").write_bytes(data)
    (context.scratch / "draft").write_bytes(data)
    flag = Path(os.environ.get("TOY_FLAG", "flag"))
    if action == "fill":
        _fill(outputs["notes"])
    ACTIONS[action](flag)
    if action == "warn":
        context.warn("The toy squeaks")
    (zarr / "zarr.json").write_text(json.dumps({"size": len(data)}))
    outputs["notes"].write_text(json.dumps({"name": row.name if row else None}))
    context.details["bytes"] = len(data)
    context.progress(1, 1)


def _measure(
    inputs: Mapping[str, Path], outputs: Mapping[str, Path], params: NoParams, context: Context
) -> None:
    size = len((inputs["image"] / "c" / "0" / "0").read_bytes())
    extra = len(inputs["extra"].read_bytes()) if "extra" in inputs else None
    outputs["table"].write_text(json.dumps({"size": size, "extra": extra}))


def _summarize(
    inputs: Mapping[str, Path], outputs: Mapping[str, Path], params: NoParams, context: Context
) -> None:
    names = sorted(path.name for path in (inputs["results"] / "images").iterdir())
    outputs["summary"].write_text(json.dumps(names))


MAKE = Step(
    name="make-image",
    version="1",
    summary="Make a toy image",
    params=MakeParams,
    inputs=(Port("source", "file", "{source}", "a file"),),
    outputs=(
        Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "the image"),
        Port("notes", "json", "images/{image_id}/notes.json", "notes"),
    ),
    run=_make,
    exactness=exact(),
)
MEASURE = Step(
    name="measure-image",
    version="1",
    summary="Measure a toy image",
    params=NoParams,
    inputs=(
        Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "the image"),
        Port("extra", "file", "{extra}", "more", required=False),
    ),
    outputs=(Port("table", "json", "images/{image_id}/table.json", "the table"),),
    run=_measure,
    exactness=exact(),
)
SUMMARIZE = Step(
    name="summarize-run",
    version="1",
    summary="Summarize a run",
    params=NoParams,
    inputs=(Port("results", "folder", ".", "results folder"),),
    outputs=(Port("summary", "json", "summary.json", "the summary"),),
    run=_summarize,
    exactness=exact(),
    scope="run",
)
STEPS = {step.name: step for step in (MAKE, MEASURE, SUMMARIZE)}
SUMMARIES = {step.name: step.summary for step in STEPS.values()}

if __name__ == "__main__":
    from parfocal.cli.main import main

    parfocal.steps.SUMMARIES = SUMMARIES
    parfocal.steps.load_step = STEPS.__getitem__
    sys.exit(main())
