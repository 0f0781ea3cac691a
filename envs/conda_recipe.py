"""Write the recipe of a conda package: envs/conda_recipe.py SDIST > recipe.yaml.

Its source is the sdist beside it, with its hash; who publishes it puts the address in its place.
What extras name is not asked for, and must fit where it is there.
"""

import hashlib
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

CONDA_NAMES = {"opencv-python-headless": "py-opencv", "openslide-bin": "openslide"}
"""Packages that conda-forge has under other names."""

sdist = Path(sys.argv[1])
content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
project, backend = content["project"], content["build-system"]["requires"]
extras = [line for lines in project["optional-dependencies"].values() for line in lines]


def conda(lines: list[str]) -> list[str]:
    """Return requirements of PyPI as those of conda."""
    wanted = [Requirement(line) for line in lines]
    return sorted(
        f"{CONDA_NAMES.get(one.name, one.name).lower()} {one.specifier}".strip()
        for one in wanted
        if one.name != project["name"]
    )


python = f"python {project['requires-python'].replace('>3.11', '>=3.11.1')}"
entry_points = [f"{name} = {target}" for name, target in project["scripts"].items()]
recipe = {
    "schema_version": 1,
    "context": {"version": project["version"]},
    "package": {"name": project["name"], "version": "${{ version }}"},
    "source": {
        "path": sdist.name,
        "sha256": hashlib.sha256(sdist.read_bytes()).hexdigest(),
    },
    "build": {
        "number": 0,
        "noarch": "python",
        "script": "${{ PYTHON }} -m pip install . -vv --no-deps --no-build-isolation",
        "python": {"entry_points": entry_points},
    },
    "requirements": {
        "host": [python, "pip", *conda(backend)],
        "run": [python, *conda(project["dependencies"])],
        "run_constraints": conda(extras),
    },
    "tests": [
        {"python": {"imports": ["parfocal", "parfocal.cli.main"], "pip_check": False}},
        {"script": ["parfocal --version", "parfocal --help"]},
    ],
    "about": {
        "homepage": project["urls"]["Documentation"],
        "license": project["license"],
        "license_file": project["license-files"],
        "summary": project["description"],
    },
}
yaml.safe_dump(recipe, sys.stdout, sort_keys=False, width=100_000)
