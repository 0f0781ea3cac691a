"""A folder from which one image is worked on by several nodes, and what is seen of its jobs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from parfocal.core.digest import digest_path
from rules.runs import program
from slurm.cluster import Cluster, processes
from slurm.runs import write_discs

STEP_TIMEOUT_S = 240
QUEUED = "PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING"
IN_SHARDS = ("--set", "chunk_px=256", "--set", "shard_mib=1")


@dataclass
class Image:
    """An image, and the digest of its labels as one process finds them."""

    source: Path
    path: Path
    labels: str


@dataclass
class Place:
    """A folder to work in, from which jobs are submitted."""

    folder: Path
    cluster: Cluster

    @property
    def shared(self) -> Path:
        """The shared folder of worker jobs."""
        return self.folder / "shared"

    def compute(self, engine: str, **values: object) -> str:
        """Return a configuration of compute."""
        known: dict[str, object] = {"shared_folder": str(self.shared), "interface": "lo"}
        if engine == "slurm":
            known |= {"cores": 1, "memory_mib": 1024, "maximum_jobs": 2}
        return json.dumps({"engine": engine} | known | values)

    @property
    def labels(self) -> Path:
        """Where the labels go."""
        return self.folder / "labels.ome.zarr"

    @property
    def image(self) -> Path:
        """Where the image goes that is converted here."""
        return self.folder / "image.ome.zarr"

    def segment(self, image: Image, compute: str) -> list[str]:
        """Return the command line that segments the image."""
        return self._command("segment-objects", compute, image=image.path, labels=self.labels)

    def convert(self, image: Image, compute: str) -> list[str]:
        """Return the command line that converts the image."""
        paths = {"source": image.source, "image": self.image}
        made = self._command("convert-image", compute, certificate=self.folder / "c.json", **paths)
        return [*made, *IN_SHARDS]

    def _command(self, step: str, compute: str, **paths: Path) -> list[str]:
        named = [f"--{name}={path}" for name, path in paths.items()]
        more = ["--record", str(self.folder / "record.json"), "--compute", compute]
        return [program("parfocal"), step, *named, *more]

    def begin(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command."""
        return self.cluster.begin(*command, cwd=self.folder, log=self.folder / "out")

    @property
    def told(self) -> str:
        """What the command told."""
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def digest(self) -> str:
        """The digest of the labels."""
        return digest_path(self.labels)

    @property
    def record(self) -> dict[str, Any]:
        """The record."""
        return dict(json.loads((self.folder / "record.json").read_text(encoding="utf-8")))

    @property
    def details(self) -> dict[str, object]:
        """What the record tells of the engine."""
        return dict(self.record["details"]["compute"])

    def jobs(self, states: str = QUEUED) -> list[str]:
        """Return the worker jobs of this folder that are in one of these states."""
        lines = self.cluster.output("squeue", "-h", "-t", states, "-o", "%i %Z").splitlines()
        return [line.split()[0] for line in lines if line.split()[1] == str(self.folder)]

    def workers(self) -> list[int]:
        """Return the worker processes of this folder."""
        return processes("distributed.cli.dask_worker", cwd=self.folder)

    def registered(self) -> int:
        """Return how many workers have come, as far as the logs of their jobs tell."""
        logs = (log.read_text(encoding="utf-8") for log in self.shared.rglob("*.log"))
        return sum("Registered to" in text for text in logs)

    def task(self, number: int) -> int | None:
        """Return the process of one task of an allocation, None while there is none."""
        name = f"SLURM_PROCID={number}".encode()
        for pid in processes("segment-objects", cwd=self.folder):
            with suppress(OSError):  # it has ended
                if name in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    return pid
        return None

    def is_clean(self) -> bool:
        """Return whether neither jobs nor files are left."""
        return not self.jobs() and not list(self.shared.iterdir())


def make_image(folder: Path) -> Image:
    """Make a stack of discs, convert it and segment it in one process."""
    write_discs(folder / "plane.tif", 3, 1000)
    plane = tifffile.imread(folder / "plane.tif")
    source, path, labels = (folder / name for name in ("in.tif", "image.ome.zarr", "labels.zarr"))
    tifffile.imwrite(source, np.stack([plane] * 6), metadata={"axes": "ZYX"}, ome=True)
    run = [program("parfocal"), "convert-image", *IN_SHARDS, f"--source={source}"]
    run += [f"--image={path}", f"--certificate={folder / 'c.json'}"]
    subprocess.run(run, check=True, timeout=120)
    run = [program("parfocal"), "segment-objects", f"--image={path}", f"--labels={labels}"]
    subprocess.run(run, check=True, timeout=120)
    return Image(source, path, digest_path(labels))
