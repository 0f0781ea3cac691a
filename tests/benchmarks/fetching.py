"""How fast the chunks of an OME-Zarr come over a network with latency."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.fetch_contenders import CONTENDERS, IN_FLIGHT
from tests.benchmarks.race import Entrant, race

CHUNKS = 4000
FEW_CHUNKS = 100
CHUNK_BYTES = 230_000
LATENCY_S = 0.04


def measure_fetch(folder: Path) -> None:
    """Fetch 230 kB chunks, each 40 ms away, and print the rows of the table."""
    os.environ["PARFOCAL_REMOTE_IN_FLIGHT"] = str(IN_FLIGHT)
    (folder / "chunk").write_bytes(os.urandom(CHUNK_BYTES))
    _write_image(folder / "many.zarr", CHUNKS)
    with _served(folder) as url:
        counts = dict.fromkeys(CONTENDERS, CHUNKS) | {"sequential": FEW_CHUNKS}
        entrants = {
            name: _entrant(name, f"{url}/many.zarr", count, folder / name)
            for name, count in counts.items()
        }
        race(list(entrants.values()), int(os.environ.get("PARFOCAL_BENCH_ROUNDS", "5")))
    rates = {name: counts[name] / entrant.median_s for name, entrant in entrants.items()}
    what = f"Fetch chunks of 230 kB, each 40 ms away, {IN_FLIGHT} in flight"
    text = f"{rates['ours']:.0f} a second, {rates['ours'] / rates['sequential']:.0f} x sequential"
    print(f"| {what} | {text} | >= 25 x |", flush=True)
    for other, does in {"obstore to files": "writes files too", "obstore": "keeps nothing"}.items():
        text = f"{rates['ours'] / rates[other]:.0%} of its {rates[other]:.0f} a second"
        print(f"| The same beside obstore alone, which {does} | {text} | >= 90 % |", flush=True)


def _entrant(name: str, url: str, count: int, target: Path) -> Entrant:
    command = [sys.executable, "-m", "tests.benchmarks.fetch_contenders"]
    return Entrant(name, [*command, name, url, str(count), str(target)], (target,))


def _write_image(path: Path, chunks: int) -> None:
    """Write the metadata of an image of `chunks` planes, each a chunk."""
    (path / "0").mkdir(parents=True)
    multiscale = {"datasets": [{"path": "0"}]}
    group = {"attributes": {"ome": {"version": "0.5", "multiscales": [multiscale]}}}
    array = {
        "node_type": "array",
        "shape": [chunks // 16, 2048, 2048],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 512, 512]}},
        "chunk_key_encoding": {"name": "default"},
    }
    (path / "zarr.json").write_text(json.dumps(group), encoding="utf-8")
    (path / "0/zarr.json").write_text(json.dumps(array), encoding="utf-8")


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.benchmarks.slow_web", str(folder), str(LATENCY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()
