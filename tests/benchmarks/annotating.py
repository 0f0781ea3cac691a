"""How long annotations take on a server of the tests, and how much memory."""

from __future__ import annotations

import itertools
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from tests.omero.server.control import Control

from annotating import Desk, objects_of
from omero_process import OwnServer
from parfocal.models.annotation_entries import RUN_NAMESPACE, Comment, KeyValues, Tag

ROIS, ROIS_ONE_BY_ONE = 100_000, 500
ROWS, COLUMNS = 1_000_000, 20
IMAGES = 1_000
GRID_PX, OBJECT_PX = 10, 6
LATENCIES_S = (0.0, 0.001, 0.02)


def measure_annotations(folder: Path) -> None:
    """Write 100,000 ROIs, a table of a million rows, and 1,000 images; print the rows."""
    with _served(folder) as (uri, server):
        _measure_rois(folder / "rois", uri, server)
        _measure_table(folder / "table", uri, server)
        _measure_images(folder / "images", uri, server)


@contextmanager
def _served(folder: Path) -> Iterator[tuple[str, OwnServer]]:
    """Start a server that Parfocal trusts and where it is alice; yield its URI."""
    server = OwnServer(folder / "server")
    os.environ |= {"OMERO_USER": "alice", "OMERO_PASSWORD": server.password("alice")}
    os.environ |= {
        "XDG_CONFIG_HOME": str(folder / "config"),
        "OMERO_USERDIR": str(folder / "omero"),
    }
    server.start()
    try:
        from parfocal.models.omero_server import OmeroServer
        from parfocal.omero.pins import pin

        pem = ssl.get_server_certificate((server.host, server.ssl))
        pin(OmeroServer(server.host, server.ssl), pem)
        yield server.uri, server
    finally:
        server.stop()


def _measure_rois(folder: Path, uri: str, server: OwnServer) -> None:
    """Race the outlines of 100,000 objects with some of them saved by one call each."""
    side = int(np.ceil(ROIS**0.5))
    labels = np.zeros((1, 1, side * GRID_PX, side * GRID_PX), "uint32")
    for label, (row, column) in enumerate(itertools.product(range(side), repeat=2), 1):
        if label <= ROIS:
            y, x = row * GRID_PX, column * GRID_PX
            labels[0, 0, y : y + OBJECT_PX, x : x + OBJECT_PX] = label
    desk = Desk(folder)
    desk.labels(labels)
    target = f"{uri}/image/{_upload(folder, server, 1)[0]}"
    desk.targets[target] = [desk.rois(target, labels)]
    assert len(objects_of(labels)) == ROIS
    image = int(target.rpartition("/")[2])
    control = Control(server.faults)
    for latency_s in LATENCIES_S:
        away = f", each call {latency_s * 1000:.0f} ms away"
        control.delay("IUpdate", "*", latency_s, times=2 * ROIS)
        busy_s = _processor_s(server)
        seconds, peak_mb = _run(desk, "apply")
        busy_s = _processor_s(server) - busy_s
        own_s = _newest_record(desk, "apply")["cpu_s"]
        busy_one_s = _processor_s(server)
        one_s = _save_one_by_one(server, image) / ROIS_ONE_BY_ONE
        busy_one_s = (_processor_s(server) - busy_one_s) / ROIS_ONE_BY_ONE
        control.reset()
        times = one_s * ROIS / seconds
        told = f"{seconds:.0f} s, {peak_mb:.0f} MB; processor {own_s:.0f} s, server {busy_s:.0f} s"
        _show(f"{ROIS:,} ROIs{away}", told, "")
        what = f"One call a ROI ({ROIS_ONE_BY_ONE} of them){away}"
        told = f"{one_s * 1000:.1f} ms each, server {busy_one_s * 1000:.1f} ms of processor"
        _show(what, f"{told}: {times:.0f} x as long", ">= 20 x")
        _run(desk, "revert")


def _processor_s(server: OwnServer) -> float:
    """Return how long processors have worked for the server so far."""
    values = Path(f"/proc/{server.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def _save_one_by_one(server: OwnServer, image: int) -> float:
    """Return how long some ROIs take by plain omero-py, a call each."""
    import omero
    from omero.rtypes import rdouble, rint

    gateway = _gateway(server)
    update = gateway.getUpdateService()
    started = time.perf_counter()
    for number in range(ROIS_ONE_BY_ONE):
        mask = omero.model.MaskI()
        mask.x = mask.y = rdouble(number)
        mask.width = mask.height = rdouble(OBJECT_PX)
        mask.theZ = mask.theT = rint(0)
        mask.bytes = b"\xff" * 5
        roi = omero.model.RoiI()
        roi.image = omero.model.ImageI(image, False)
        roi.addShape(mask)
        update.saveAndReturnObject(roi)
    seconds = time.perf_counter() - started
    gateway.close()
    return seconds


def _measure_table(folder: Path, uri: str, server: OwnServer) -> None:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"label": np.arange(1, ROWS + 1)}
    columns |= {f"value_{number}": rng.random(ROWS) for number in range(COLUMNS - 1)}
    desk = Desk(folder)
    target = f"{uri}/image/{_upload(folder, server, 1)[0]}"
    desk.targets[target] = [desk.table(target, columns)]
    seconds, peak_mb = _run(desk, "apply")
    told = f"{seconds:.0f} s, {peak_mb:.0f} MB"
    _show(f"A table of {ROWS:,} rows and {COLUMNS + 1} columns", told, "bounded memory")
    seconds, peak_mb = _run(desk, "verify")
    _show("The same read back and compared", f"{seconds:.0f} s, {peak_mb:.0f} MB", "")


def _measure_images(folder: Path, uri: str, server: OwnServer) -> None:
    desk = Desk(folder)
    for number in _upload(folder, server, IMAGES):
        target = f"{uri}/image/{number}"
        desk.targets[target] = [
            KeyValues.planned(target, namespace=RUN_NAMESPACE, pairs=(("Image", str(number)),)),
            Tag.planned(target, name="segmented"),
            Comment.planned(target, namespace=RUN_NAMESPACE, text="hello"),
            desk.table(target, {"label": [1, 2, 3]}),
            desk.attachment(target, "crate.txt", b"the crate"),
        ]
    for what, done in (("apply", "applied"), ("apply", "applied again"), ("verify", "verified")):
        _show_images(desk, what, done)
    _show_images(desk, "revert", "reverted")


def _show_images(desk: Desk, what: str, done: str) -> None:
    seconds, peak_mb = _run(desk, what)
    told = f"{seconds:.0f} s, {peak_mb:.0f} MB"
    _show(f"{IMAGES:,} images with 5 annotations each, {done}", told, "")


def _upload(folder: Path, server: OwnServer, count: int) -> list[int]:
    """Make images; return their ids."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "plane.npy", np.zeros((1, 1, 1, 8, 8), "u2"))
    series = [{"npy": str(folder / "plane.npy")} for _ in range(count)]
    file = folder / "plane.npy"
    made = Control(server.faults).seed("import", files=[str(file)], series=series)
    return list(made["images"])


def _gateway(server: OwnServer) -> Any:
    from omero.gateway import BlitzGateway

    gateway = BlitzGateway(
        "alice", server.password("alice"), host=server.host, port=server.ssl, secure=True
    )
    assert gateway.connect()
    return gateway


def _run(desk: Desk, what: str) -> tuple[float, float]:
    """Return seconds and MB of a step in a process of its own, as its record has them."""
    desk.write_plan()
    outputs = {"apply": "receipt", "verify": "verification", "revert": "receipt"}
    step = f"{what}-annotations"
    output = desk.folder / f"{step}.json"
    command = [sys.executable, "-m", "parfocal", step, "--results", str(desk.folder)]
    command += ["--plan", str(desk.plan), f"--{outputs[what]}", str(output), "--replace"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    record = _newest_record(desk, what)
    started, ended = (datetime.fromisoformat(record[key]) for key in ("started", "ended"))
    return (ended - started).total_seconds(), record["peak_memory_bytes"] / 1e6


def _newest_record(desk: Desk, what: str) -> dict[str, Any]:
    """Return what the last process left of its step."""
    newest = max((desk.folder / "records" / f"{what}_annotations").glob("*/*.json"))
    record: dict[str, Any] = json.loads(newest.read_text("utf-8"))
    return record


def _show(what: str, value: str, aim: str) -> None:
    print(f"| {what} | {value} | {aim} |", flush=True)
