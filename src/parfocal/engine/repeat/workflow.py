"""Run the workflow of a crate again: its configuration and its sheet, in a folder of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from parfocal.core.publish import write_json
from parfocal.engine.repeat.place import Place, Work, work_in
from parfocal.engine.repeat.sheet import PlacedSheet
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.sheet import write_sheet
from parfocal.models.source import is_uri
from parfocal.provenance.verify_places import Places

__all__ = ["find_workflow", "model_of", "placed_config", "run_workflow"]

logger = logging.getLogger(__name__)

CRATE = "results/run-crate"
_HERE: Mapping[str, Any] = {
    "sheet": "samples.tsv",
    "results": "results",
    "compute": {"engine": "threads"},
    "resource_model": None,
}
"""Keys that tell where a run lies and works, and change no result."""


def find_workflow(path: Path) -> Path:
    """Return a Snakefile to run in this environment.

    Raises
    ------
    ConfigurationError
        If there is none, or no Snakemake.
    """
    if find_spec("snakemake") is None:
        what = "The run was one of Snakemake, which is not installed here"
        raise ConfigurationError(what, remedy="pip install 'parfocal[workflow]'")
    if not path.is_file():
        what = "There is no workflow to run again"
        remedy = "Clone the repository, and name its Snakefile with --workflow."
        raise ConfigurationError(what, where=path, expected="a Snakefile", remedy=remedy)
    return path.absolute()


def placed_config(given: Mapping[str, Any], base: Path, places: Places) -> dict[str, Any]:
    """Return the configuration of a run, changed to run here, and to write nothing elsewhere.

    Nothing goes to an OMERO server: annotations are planned at most. Work is done by threads, and
    a learned model is taken from where it lies now.

    Parameters
    ----------
    given : mapping
        The copy of the configuration.
    base : Path
        What its relative paths are relative to.
    """
    config: dict[str, Any] = deepcopy(dict(given))
    annotate = config.get("annotate")
    if isinstance(annotate, dict):
        if annotate.get("enabled") and annotate.get("apply", True):
            logger.warning("Annotations are planned again, and not written to the server")
        config["annotate"] = annotate | {"apply": False}
    record = config.get("record_run")
    if isinstance(record, dict):
        record.pop("include_inputs", None)
    segment = config.get("segment_objects")
    model = segment.get("model") if isinstance(segment, dict) else None
    if isinstance(model, dict) and isinstance(model.get("path"), str):
        path = model["path"]
        found = places.of(path if is_uri(path) else str(base / path))
        model["path"] = str(found or path)
    return config | dict(_HERE)


def model_of(config: Mapping[str, Any]) -> set[Path]:
    """Return where the learned model of a configuration lies, if it has one that does."""
    segment = config.get("segment_objects")
    model = segment.get("model") if isinstance(segment, dict) else None
    path = model.get("path") if isinstance(model, dict) else None
    return {Path(path)} if isinstance(path, str) and Path(path).is_absolute() else set()


def run_workflow(
    place: Place, work: Work, config: Mapping[str, Any], sheet: PlacedSheet, threads: int
) -> Path:
    """Run Snakemake in an environment, and return the crate of the run.

    What it tells goes to stderr. Images that fail are in the crate; where there is none, the run
    broke off.

    Raises
    ------
    InputError
        If the run ended without a crate.
    """
    folder = work.folder
    write_sheet(folder / "samples.tsv", sheet.rows)
    write_json(folder / "config.yaml", config)
    command = [
        *("-m", "snakemake", "--snakefile", str(place.workflow)),
        *("--directory", str(folder), "--configfile", str(folder / "config.yaml")),
        *("--cores", str(threads), "--retries", "2", "--keep-going", "--show-failed-logs"),
        *("--benchmark-extended", "--quiet", "host", "reason", "rules"),
    ]
    code = work_in(place, work, command)
    crate = folder / CRATE
    if not (crate / "ro-crate-metadata.json").exists():
        what = "The workflow ended without a run crate"
        remedy = "What Snakemake told stands above; its logs are in the folder."
        found = f"exit code {code}"
        raise InputError(what, where=folder, found=found, remedy=remedy)
    if code:
        logger.warning("Snakemake ended with exit code %d: not all jobs were done", code)
    return crate
