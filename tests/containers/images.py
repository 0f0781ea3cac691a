"""The image that these tests build, and what runs in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from parfocal.models.sheet import Row
from rules.runs import ROOT, Run, write_labels

HERE = Path(__file__).parent
PROJECT = "/opt/parfocal/project"
MORE_STEPS = (
    "correct_illumination={illumination: {method: estimate, sigma_px: 20}}",
    "project_image={}",
    "filter_image={}",
)
"""What is done besides what always is."""
STRANGER = "4711:4711"
"""A user that is neither root nor known in the image."""


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which nothing tells of the tests but podman's store."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PARFOCAL_"))}
    return kept | more


@dataclass(frozen=True)
class Image:
    """An image that was built.

    Attributes
    ----------
    folder : Path
        Where the archive, the digests and the SBOM lie.
    commit : str
        What it was built of.
    told : str
        What the build printed.
    """

    folder: Path
    commit: str
    told: str

    @property
    def names(self) -> dict[str, str]:
        """Its digests, by the variables that tell them to records."""
        lines = (self.folder / "image.env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def id(self) -> str:
        """The digest of its configuration."""
        return self.names["PARFOCAL_IMAGE_ID"]

    @property
    def sbom(self) -> dict:
        """The list of what is in it."""
        return json.loads((self.folder / "sbom.cdx.json").read_text(encoding="utf-8"))

    def run(
        self, *command: str, options: tuple[str, ...] = (), check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it: no network, a root that cannot be written, an unknown user."""
        podman = ["podman", "run", "--rm", "--read-only", "--network=none", "--user", STRANGER]
        podman += ["--env-file", str(self.folder / "image.env"), *options, self.id, *command]
        done = subprocess.run(
            podman, env=environment(), capture_output=True, text=True, timeout=540, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done


def build(commit: str, folder: Path) -> Image:
    """Build the image of a commit."""
    command = ["nice", str(ROOT / "envs/container.sh"), commit, str(folder)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Image(folder, commit, done.stdout)


def tiny_run(folder: Path, like: Run | None = None) -> Run:
    """Return a run of small images in a folder that any user can write.

    Parameters
    ----------
    like : Run, optional
        One whose images to take, with their times: fetching goes by these.
    """
    data, images = ROOT / "workflows/analyse_images/test-data", folder / "in"
    run = Run(folder, config=list(MORE_STEPS))
    write_labels(images / "truth.tif")
    run.add_image("blobs", ground_truth="in/truth.tif")
    for name in ("cells.tif", "cells.ome.zarr.zip"):
        shutil.copy(data / name, images)
        image_id = name.partition(".")[0] + ("-zarr" if "zarr" in name else "")
        run.rows.append(Row(image_id=image_id, name=image_id, source=f"in/{name}"))
    if like is not None:
        shutil.copytree(like.folder / "in", images, dirs_exist_ok=True)
    run.write_sheet()
    for path in (folder, images):
        path.chmod(0o777)
    return run
