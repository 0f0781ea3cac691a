"""The how-tos' commands and examples work as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rocrate_cache import seed_cache
from rules.runs import ROOT, environment, program, write_blobs

OWN_DATA = (ROOT / "docs/howto/own-data.md").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docs/howto/compose-rules.md").read_text(encoding="utf-8")
CRATE = (ROOT / "docs/reference/run-crate.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA = "/data/"


def commands(text: str) -> list[str]:
    """Return the commands of a page."""
    return re.findall(r"^\$ (.+)$", text, re.MULTILINE)


def block(text: str, language: str) -> str:
    """Return the only block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


class Reader:
    """Somebody with a copy of this repository and two images, who types what the page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        for name in ("config", "envs", "rules", "workflows"):
            shutil.copytree(ROOT / name, self.folder / name)
        self.data = f"{folder}/"
        for seed, name in enumerate(("one", "two")):
            write_blobs(folder / f"my images/{name}.tif", seed)

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the images of this reader."""
        return subprocess.run(
            ["bash", "-c", command.replace(DATA, self.data)],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path_factory.mktemp("howto"))


def test_the_readme_says_the_same() -> None:
    section = README.split("## Your own images")[1].split("\n## ")[0]
    assert len(commands(section)) == 3
    assert set(commands(section)) <= set(commands(OWN_DATA))


def test_own_data_goes_through(reader: Reader) -> None:
    export, sheet, plan, run, run_own = commands(OWN_DATA)
    assert export == 'export PATH="$PWD/.venv/bin:$PATH"'
    for command in (sheet, plan):
        done = reader.type(command)
        assert done.returncode == 0, done.stderr
    assert not (reader.folder / "results").exists()
    own = block(OWN_DATA, "yaml").replace(DATA, reader.data)
    (reader.folder / "config/own.yaml").write_text(own, encoding="utf-8")
    for command in (run, run_own):
        done = reader.type(command)
        assert done.returncode == 0, done.stderr
    assert (reader.folder / "results/report.html").exists()
    made = OWN_DATA.split("below `results/images/IMAGE_ID/`")[1].split("\n## ")[0]
    for name in ("image.ome.zarr", "labels/nuclei.ome.zarr", "assembled.ome.zarr", "quality.json"):
        assert f"`{name}`" in made
        assert (reader.folder / "results/images/one" / name).exists()
    images = Path(reader.data) / "results/images"
    assert len(list(images.glob("*/filtered.ome.zarr"))) == 2
    assert len((images / "two/tables/cells.tsv").read_text(encoding="utf-8").splitlines()) == 4


def test_own_data_shows_the_message(reader: Reader) -> None:
    config = reader.folder / "config/analyse_images.yaml"
    whole = config.read_text(encoding="utf-8")
    config.write_text(f"{whole}\nsegment_objects: {{chanel: 1}}\n", encoding="utf-8")
    done = reader.type(commands(OWN_DATA)[2])
    config.write_text(whole, encoding="utf-8")
    assert done.returncode != 0
    assert " ".join(block(OWN_DATA, "text").split()) in " ".join(done.stdout.split())


def test_the_crate_is_read_and_checked_without_a_network(reader: Reader) -> None:
    report, _, _, offline = commands(CRATE)
    done = reader.type(report)
    assert done.returncode == 0, done.stderr
    seed_cache(reader.folder / "contexts")
    done = reader.type(offline.replace("rocrate-validator", "rocrate-validator --no-interactive"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_composed_rules_are_planned(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        COMPOSE.split("```python\n")[1].split("```")[0], encoding="utf-8"
    )
    (tmp_path / "config.yaml").write_text("segment_objects: {channel: 0}\n", encoding="utf-8")
    (tmp_path / "parfocal").symlink_to(ROOT)
    for name in "ab":
        write_blobs(tmp_path / f"resources/{name}.tif")
    done = subprocess.run(
        [program("snakemake"), "--cores", "1", "--dry-run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^parfocal_segment_objects +2$", done.stdout, re.MULTILINE)
