"""Ways to fetch the chunks of an OME-Zarr from a web server, each a program of its own.

``python -m tests.benchmarks.fetch_contenders NAME URL CHUNKS FOLDER`` fetches and prints how many
seconds that took, without the time for starting Python and for importing libraries.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

IN_FLIGHT = 64


def ours(url: str, count: int, folder: Path) -> None:
    """Fetch with Parfocal: metadata first, files in place, sizes checked, faults mended."""
    from parfocal.models.source import HttpSource
    from parfocal.remote.fetch import fetch

    fetched = fetch(HttpSource(url), folder, lambda _done, _total: None)
    assert fetched.keys == count


def _keys(count: int) -> list[str]:
    """Return the keys of chunks, 4 x 4 a plane."""
    return [f"0/c/{number // 16}/{number // 4 % 4}/{number % 4}" for number in range(count)]


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def sequential(url: str, count: int, folder: Path) -> None:
    """Fetch one chunk after the other on one connection."""
    import requests

    with requests.Session() as session:
        for key in _keys(count):
            answer = session.get(f"{url}/{key}", timeout=60)
            answer.raise_for_status()
            _write(folder / key, answer.content)


def _obstore(url: str, count: int, take: Callable[[str, bytes], None]) -> None:
    import obstore
    from obstore.store import HTTPStore

    store = HTTPStore.from_url(url, client_options={"allow_http": True})

    async def work() -> None:
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def get(key: str) -> None:
            async with slots:
                answer = await obstore.get_async(store, key)
                take(key, await answer.bytes_async())

        await asyncio.gather(*(get(key) for key in _keys(count)))

    asyncio.run(work())


def obstore_alone(url: str, count: int, folder: Path) -> None:
    """Let obstore get all chunks into memory, and do nothing with them."""
    _obstore(url, count, lambda _key, _data: None)


def obstore_to_files(url: str, count: int, folder: Path) -> None:
    """Let obstore get all chunks, and write them to files."""
    _obstore(url, count, lambda key, data: _write(folder / key, data))


CONTENDERS: dict[str, Callable[[str, int, Path], None]] = {
    "ours": ours,
    "sequential": sequential,
    "obstore": obstore_alone,
    "obstore to files": obstore_to_files,
}


LIBRARIES = {
    "ours": ("parfocal.models.source", "parfocal.remote.fetch"),
    "sequential": ("requests",),
}
"""What each imports; those not named here: obstore."""


def main() -> None:
    """Run the contender that the command line names."""
    name, url, count, folder = sys.argv[1:]
    target = Path(folder)
    target.mkdir(parents=True)
    for library in LIBRARIES.get(name, ("obstore.store",)):
        importlib.import_module(library)
    start = time.perf_counter()
    CONTENDERS[name](url, int(count), target)
    print(f"seconds {time.perf_counter() - start:.3f}", flush=True)
    os._exit(0)  # obstore's own threads now and then crash a Python that ends


if __name__ == "__main__":
    main()
