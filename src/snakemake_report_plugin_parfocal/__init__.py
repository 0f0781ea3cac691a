"""The run crate as a report of Snakemake's: ``snakemake --reporter parfocal``.

It does what the rule ``record_run`` does, when the user wants it: after a run that failed or was
broken off, too, and to any place.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_report_plugins.reporter import ReporterBase
from snakemake_interface_report_plugins.settings import ReportSettingsBase

__all__ = ["ReportSettings", "Reporter"]

logger = logging.getLogger(__name__)

_RULE = "record_run"
_SURE = ("--results", "--sheet")


@dataclass
class ReportSettings(ReportSettingsBase):
    """Where the crate goes, and what no rule says."""

    path: Path | None = field(
        default=None,
        metadata={
            "help": "Folder of the crate, or a zip file (.zip); a crate there is replaced.",
            "required": True,
            "type": Path,
        },
    )
    results: Path | None = field(
        default=None,
        metadata={
            "help": "Results folder with the records; by default that of the rule record_run.",
            "type": Path,
        },
    )
    sheet: Path | None = field(
        default=None,
        metadata={
            "help": "Sample sheet of the images; by default that of the rule record_run.",
            "type": Path,
        },
    )


class Reporter(ReporterBase):
    """Writes the run crate of a workflow."""

    def render(self) -> None:
        """Write the crate.

        Raises
        ------
        WorkflowError
            If the workflow has no rule ``record_run`` and the settings do not say where its records
            and its sample sheet are, or the crate cannot be made.
        """
        settings: ReportSettings = self.settings
        options = self._of_rule()
        given = {"--results": settings.results, "--sheet": settings.sheet}
        options |= {name: str(value) for name, value in given.items() if value is not None}
        missing = [name for name in _SURE if name not in options]
        if missing:
            told = ", ".join(f"--report-parfocal-{name[2:]}" for name in missing)
            msg = f"No rule {_RULE} says where the records are. Name them: {told}"
            raise WorkflowError(msg)
        words = [word for option in options.items() for word in option]
        command = [sys.executable, "-m", "parfocal", "record-run", *words]
        done = subprocess.run([*command, "--crate", str(settings.path), "--replace"], check=False)
        if done.returncode:
            msg = f"The run crate {settings.path} was not made: see above"
            raise WorkflowError(msg)

    def _of_rule(self) -> dict[str, str]:
        """Return the options that the rule gives to ``parfocal record-run``; none without it."""
        jobs = [job for level in self.dag.toposorted() for job in level if job.rule.name == _RULE]
        if not jobs:
            return {}
        job: Any = jobs[0]
        options = {
            "--results": str(job.params.folder),
            "--sheet": str(job.input.sheet),
            "--workflow": str(job.params.workflow),
            "--params": str(job.params.json),
        }
        config = Path(job.input.config)
        if config.exists():
            return options | {"--config": str(config)}
        logger.warning("The run was broken off before it wrote %s: the crate has no copy", config)
        return options
