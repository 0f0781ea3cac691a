"""record-run: the records behind the results of a sheet become one run crate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator, model_validator

from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters
from parfocal.models.sheet import read_sheet
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.provenance.crate import CrateRequest, CrateSummary

__all__ = ["STEP", "RecordRunParams"]

_FILES = ("sheet", "config", "workflow")
_AFTER = ("record-run", "apply-annotations", "verify-annotations", "revert-annotations")
"""Steps of a whole run that come after the crate: with them, it would change by being attached."""
_URL = r"^https?://\S+$"


class RecordRunParams(Parameters):
    """What the crate says of itself that no record tells."""

    name: str = Field(
        default="Parfocal run", min_length=1, max_length=200, description="Name of the run."
    )
    description: str = Field(
        default="Images processed by Parfocal, with the record of every attempt.",
        min_length=1,
        description="What was run, and what for.",
    )
    licence: str = Field(
        default="https://spdx.org/licenses/CC-BY-4.0",
        pattern=_URL,
        description="Address of the licence of the crate, best at spdx.org; not of the images.",
    )
    person_name: str | None = Field(
        default=None, min_length=1, description="Name of the person who ran the steps."
    )
    person_orcid: str | None = Field(
        default=None,
        pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$",
        description="ORCID of that person, such as 0000-0002-1825-0097.",
    )
    organization_name: str | None = Field(
        default=None,
        min_length=1,
        description="Organization that ran the steps, or that the person belongs to.",
    )
    organization_url: str | None = Field(
        default=None, pattern=_URL, description="Address of that organization, best its ROR."
    )
    workflow_url: str | None = Field(
        default=None, pattern=_URL, description="Page or repository of the workflow."
    )
    funder_name: str | None = Field(
        default=None, min_length=1, description="Organization that paid for the run."
    )
    funder_url: str | None = Field(
        default=None, pattern=_URL, description="Address of the funder, best its ROR."
    )
    grant: str | None = Field(
        default=None,
        pattern=r"^\S(.*\S)?$",
        description="Grant that paid for the run: its number, its DOI, or an address.",
    )
    grant_name: str | None = Field(default=None, min_length=1, description="Name of the grant.")
    include_inputs: bool = Field(
        default=False,
        description="Whether to copy what the run took from this machine into the crate, so that "
        "it can be repeated where there is nothing else.",
    )
    include_digest_lists: bool = Field(
        default=False,
        description="Whether to copy the lists of the files of OME-Zarrs into the crate, by which "
        "verify-run names a file that was changed.",
    )

    @field_validator("person_orcid")
    @classmethod
    def _checks_out(cls, orcid: str | None) -> str | None:
        # ISO 7064, mod 11-2: the last digit tells a mistyped one.
        total = 0
        for digit in (orcid or "").replace("-", "")[:-1]:
            total = (total + int(digit)) * 2
        if orcid is not None and orcid[-1] != "0123456789X"[(12 - total % 11) % 11]:
            msg = f"{orcid} is no ORCID: its last digit does not fit the others"
            raise ValueError(msg)
        return orcid

    @model_validator(mode="after")
    def _belongs_to_someone(self) -> Self:
        for field, owner in (
            ("person_orcid", "person_name"),
            ("organization_url", "organization_name"),
            ("funder_url", "funder_name"),
            ("grant", "funder_name"),
            ("grant_name", "grant"),
        ):
            if getattr(self, field) is not None and getattr(self, owner) is None:
                msg = f"{field} needs {owner}: say whose it is"
                raise ValueError(msg)
        return self


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: RecordRunParams,
    context: Context,
) -> None:
    """Write the crate of the images of the sheet, as a folder or as a zip file by its name.

    Raises
    ------
    InputError
        If there is no record of these images, or an input cannot be read.
    ConfigurationError
        If the sheet is not valid, or the language of the workflow is unknown; in Galaxy also if
        inputs are to be copied.
    """
    from parfocal.provenance.crate import CrateRequest
    from parfocal.provenance.crate_people import Agent, Funding
    from parfocal.provenance.lost_records import makers_of
    from parfocal.steps import STEPS

    _refuse_strangers(params)
    request = CrateRequest(
        results=inputs["results"],
        image_ids=[row.image_id for row in read_sheet(inputs["sheet"])],
        name=params.name,
        description=params.description,
        licence=params.licence,
        files={role: inputs[role] for role in _FILES if role in inputs},
        rules=_rules(inputs.get("workflow"), context),
        locks=_locks(inputs.get("workflow")),
        makers=makers_of(STEPS),
        run_steps=[s.name for s in STEPS if s.scope == "run" and s.name not in _AFTER],
        agent=Agent(
            person_name=params.person_name,
            orcid=params.person_orcid,
            organization_name=params.organization_name,
            organization_url=params.organization_url,
        ),
        workflow_url=params.workflow_url,
        funding=Funding(
            funder_name=params.funder_name,
            funder_url=params.funder_url,
            grant=params.grant,
            grant_name=params.grant_name,
        ),
        include_inputs=params.include_inputs,
        include_lists=params.include_digest_lists,
    )
    summary = _write(outputs["crate"], request)
    for warning in summary.warnings:
        context.warn(warning)
    idle = summary.images_without_records
    if idle:
        listed = ", ".join(idle[:10]) + (", ..." if len(idle) > 10 else "")
        total = len(request.image_ids)
        context.warn(f"There is no record of {len(idle)} of {total} images of the sheet: {listed}")
    context.details |= {
        "attempts_done": summary.done,
        "attempts_failed": summary.failed,
        "open_failures": summary.open_failures,
    }
    if summary.lost:
        context.details["attempts_without_record"] = summary.lost
    if params.include_inputs:
        context.details["inputs_copied"] = summary.inputs


def _refuse_strangers(params: RecordRunParams) -> None:
    """Copy nothing by its path where strangers hand in the records that name it."""
    from parfocal.models.strangers import from_strangers

    if params.include_inputs and from_strangers():
        what = "Inputs are not copied into the crate in Galaxy, which alone knows its datasets"
        raise ConfigurationError(what, remedy="Leave out include_inputs.")


def _rules(workflow: Path | None, context: Context) -> dict[str, Path]:
    """Return the files of rules of a Snakefile; none where strangers hand it in."""
    from parfocal.models.strangers import from_strangers
    from parfocal.provenance.crate_package import workflow_language
    from parfocal.provenance.crate_rules import find_rules

    if workflow is None or from_strangers() or workflow_language(workflow.name) != "snakemake":
        return {}
    return find_rules(workflow, context.warn)


def _locks(workflow: Path | None) -> tuple[Path, ...]:
    """Return the lock files beside a workflow; none where strangers hand it in."""
    from parfocal.models.strangers import from_strangers
    from parfocal.provenance.crate_lock import locks_beside

    return () if workflow is None or from_strangers() else locks_beside(workflow)


def _write(path: Path, request: CrateRequest) -> CrateSummary:
    from parfocal.provenance.crate import write_crate
    from parfocal.provenance.crate_zip import pack_crate

    if path.suffix != ".zip":
        return write_crate(path, request)
    with TemporaryDirectory(dir=path.parent) as folder:
        crate = Path(folder) / "crate"
        summary = write_crate(crate, request)
        pack_crate(crate, path)
    return summary


STEP = Step(
    name="record-run",
    version="1",
    summary=SUMMARIES["record-run"],
    params=RecordRunParams,
    inputs=(
        Port("results", "folder", ".", "Results folder with the records of all attempts."),
        Port("sheet", "sheet", "samples.tsv", "Sample sheet of the images."),
        Port("workflow", "file", "Snakefile", "Workflow that was run.", required=False),
        Port("config", "file", "config.yaml", "Configuration of the workflow.", required=False),
    ),
    outputs=(Port("crate", "crate", "run-crate", "Folder of the crate, or a zip file (.zip)."),),
    run=run,
    exactness=exact(),
    scope="run",
)
