"""One run crate from the records behind the current results of a run."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parfocal.errors import InputError
from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_actions import Actions, record_path
from parfocal.provenance.crate_data import DataCatalog
from parfocal.provenance.crate_graph import Graph, Reference, unique
from parfocal.provenance.crate_inputs import copy_inputs, copy_lists
from parfocal.provenance.crate_lock import recorded_locks
from parfocal.provenance.crate_losses import describe_losses, run_note, warn_of_losses
from parfocal.provenance.crate_package import Package, workflow_language
from parfocal.provenance.crate_people import (
    Agent,
    Funding,
    add_agent,
    add_funding,
    add_licence,
    add_organization,
)
from parfocal.provenance.crate_plan import FORMAL_PARAMETER_PROFILE, Plan, Port
from parfocal.provenance.crate_readme import readme_text
from parfocal.provenance.crate_records import read_records
from parfocal.provenance.crate_selection import Selection, select_records
from parfocal.provenance.crate_sources import with_sources
from parfocal.provenance.crate_terms import COMPLETED, FAILED, compact, fragment, redact, time_text
from parfocal.provenance.crate_workflow import (
    add_orchestration,
    period,
    plan_workflow,
)
from parfocal.provenance.lost_records import Loss, find_losses, superseded_empties
from parfocal.provenance.verify_lists import LISTS

__all__ = ["CrateRequest", "CrateSummary", "write_crate"]

_WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_PROCESS = ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5")
_WORKFLOW_RUN = (
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
_BIOSCHEMAS = (
    (_WORKFLOW_PROFILE, "Bioschemas ComputationalWorkflow", "1.0-RELEASE"),
    (FORMAL_PARAMETER_PROFILE, "Bioschemas FormalParameter", "1.0-RELEASE"),
)


@dataclass(frozen=True)
class CrateRequest:
    """What a crate is to be made of.

    Parameters
    ----------
    results : Path
        The results folder with its records.
    image_ids : sequence of str
        The images of the sample sheet.
    name, description, licence : str
        Of the crate; the licence is an address.
    files : mapping of str to Path
        Files to copy into the crate by their roles: ``sheet``, ``config``, ``workflow``.
        With a workflow it is a Provenance Run Crate, without a Process Run Crate.
    run_steps : collection of str
        Names of steps that work on the whole run.
    agent : Agent
        Who ran the steps.
    workflow_url : str, optional
        Page or repository of the workflow.
    funding : Funding
        Who paid for the run.
    include_inputs : bool
        Whether to copy what the run took from this machine into the crate.
    rules : mapping of str to Path
        Files of rules that the workflow takes in, by their places in the crate.
    include_lists : bool
        Whether to copy the lists of digests of the files of OME-Zarrs into it.
    locks : sequence of Path
        Lock files, of which a crate with a workflow has those that its records name.
    makers : mapping of str to str
        Where steps on images put their first outputs in a results folder, by their names.
    """

    results: Path
    image_ids: Sequence[str]
    name: str
    description: str
    licence: str
    files: Mapping[str, Path]
    rules: Mapping[str, Path] = field(default_factory=dict)
    run_steps: Collection[str] = ()
    agent: Agent = field(default_factory=Agent)
    workflow_url: str | None = None
    funding: Funding = field(default_factory=Funding)
    include_inputs: bool = False
    include_lists: bool = False
    locks: Sequence[Path] = ()
    makers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CrateSummary:
    """What went into a crate: how many attempts and inputs, and what the user should be told.

    Attributes
    ----------
    lost : int
        How many attempts have no record.
    """

    done: int
    failed: int
    open_failures: int
    images_without_records: tuple[str, ...]
    warnings: tuple[str, ...]
    inputs: int = 0
    lost: int = 0


def write_crate(folder: Path, request: CrateRequest) -> CrateSummary:
    """Write the run crate of the current results of the images of a sheet.

    The same records and files give the same bytes: identifiers are made from paths and
    digests, and the date of publication is when the last record ended.

    Parameters
    ----------
    folder : Path
        Where to write; it does not exist yet.

    Returns
    -------
    CrateSummary
        Counts and warnings.

    Raises
    ------
    InputError
        If there is no record of these images, or a file cannot be read.
    ConfigurationError
        If the language of the workflow cannot be told from its name.
    """
    records, files = read_records(request.results)
    selection = select_records(records, frozenset(request.image_ids), request.run_steps)
    if not selection.all:
        what = "There are no records of the images of the sheet"
        remedy = "Run the steps first, or name the results folder that they wrote to."
        raise InputError(what, where=request.results / "records", remedy=remedy)
    named = {record.image_id for record in selection.all}
    idle = tuple(image_id for image_id in request.image_ids if image_id not in named)
    results, ids = request.results, frozenset(request.image_ids)
    losses = find_losses(results, records, selection.done, ids, request.makers, request.run_steps)
    draft = _Draft(request, selection, files, losses)
    draft.package.warnings += warn_of_losses(losses, superseded_empties(results, records))
    draft.save(folder, idle)
    return CrateSummary(
        done=len(selection.done),
        failed=len(selection.failed),
        open_failures=len(selection.open),
        images_without_records=idle,
        warnings=tuple(draft.package.warnings),
        inputs=draft.inputs,
        lost=len(losses),
    )


class _Draft:
    """A crate while it is being drawn up."""

    def __init__(
        self,
        request: CrateRequest,
        selection: Selection,
        files: Mapping[str, Artifact],
        losses: Sequence[Loss],
    ) -> None:
        self._request = request
        self._selection = selection
        self._files = files
        self._losses = losses
        self.package = Package()
        warn = self.package.warnings.append
        self._records = [with_sources(item, request.results, warn) for item in selection.all]
        self._graph = Graph()
        self._data = DataCatalog(self._graph, self._records)
        self._plan = Plan(self._graph, self._records)
        self._agent = add_agent(self._graph, request.agent)
        self.inputs = 0
        for role, path in sorted(request.files.items()):
            self.package.copy(role, path)
        for place, path in sorted(request.rules.items()):
            self.package.copy_rules(place, path)
        if "workflow" in request.files:
            self.package.copy_locks(recorded_locks(self._records, request.locks, warn))

    def save(self, folder: Path, idle: Sequence[str]) -> None:
        """Draw everything up, and write it."""
        request = self._request
        has_workflow = "workflow" in request.files
        text = readme_text(
            request.name,
            request.description,
            self._selection,
            idle,
            workflow=has_workflow,
            inputs=request.include_inputs,
            losses=self._losses,
        )
        self.package.add("README.md", text, about={"@id": "./"})
        drawer = Actions(self._graph, self._plan, self._data, self._files, self._agent)
        actions = {record_path(record): drawer.add(record) for record in self._records}
        mentions = list(actions.values())
        if has_workflow:
            self._describe_workflow()
            run = self._add_run(drawer)
            organized = add_orchestration(self._graph, actions, self._records, run, self._agent)
            mentions = [run, *mentions, *organized]
        self._add_root(mentions)
        self._data.close()
        self._copy(folder)
        self.package.save(folder, self._graph, self._data.web)

    def _add_root(self, mentions: Sequence[Reference]) -> None:
        request = self._request
        profiles = (_PROCESS, *_WORKFLOW_RUN) if "workflow" in request.files else (_PROCESS,)
        for identifier, name, version in (*profiles, *_BIOSCHEMAS):
            self._graph.add(identifier, "CreativeWork", name=name, version=version)
        properties = {
            "name": redact(request.name),
            "description": redact(request.description),
            "license": add_licence(self._graph, request.licence),
            "datePublished": time_text(period(self._records)[1]),
            "conformsTo": compact({"@id": identifier} for identifier, _, _ in profiles),
            "mentions": compact(mentions),
            "author": self._agent,
            "publisher": add_organization(self._graph, request.agent),
            **add_funding(self._graph, request.funding),
            **describe_losses(self._graph, self._losses),
        }
        self.package.root |= {name: value for name, value in properties.items() if value}

    def _describe_workflow(self) -> None:
        package, request = self.package, self._request
        language = workflow_language(request.files["workflow"].name)
        by_age = sorted(self._records, key=lambda record: record.started)
        versions = [r.engine.version for r in by_age if r.engine.name == language]
        package.make_main("workflow", language, versions[-1] if versions else None)
        commits = [record.commit for record in by_age if record.commit]
        properties = plan_workflow(self._graph, self._plan)
        given = [role for role in package.roles if role != "workflow"]
        for role in given:
            package.describe(role, exampleOfWork=self._plan.file_parameter(role))
        properties["input"] += [self._plan.file_parameter(role) for role in given]
        package.describe(
            "workflow",
            **properties,
            version=commits[-1] if commits else f"sha256:{package.digest('workflow')}",
            conformsTo={"@id": _WORKFLOW_PROFILE},
            url=redact(request.workflow_url) if request.workflow_url else None,
            creator=self._agent,
        )

    def _add_run(self, drawer: Actions) -> Reference:
        """Add the one action that stands for all: what went in, and what came out."""
        package, plan = self.package, self._plan
        entered = [package.reference(role) for role in package.roles if role != "workflow"]
        left = []
        for record in self._records:
            for artifact in record.inputs:
                port = (record.step, "input", artifact.role)
                if plan.maker(artifact) is None:
                    entered.append(self._pass(artifact, record, port))
            for artifact in record.outputs:
                port = (record.step, "output", artifact.role)
                left.append(self._pass(artifact, record, port))
        started, ended = period(self._records)
        images = {record.image_id for record in self._records} & set(self._request.image_ids)
        open_failures = {f"{r.image_id} ({r.step})" for r in self._selection.open}
        unrecorded = (loss for loss in self._losses if loss.kind == "failed")
        failed = sorted(open_failures | {f"{one.image_id} ({one.step})" for one in unrecorded})
        names = "\n".join(record_path(record) + str(record.key) for record in self._records)
        return self._graph.add(
            fragment("run", str(uuid.uuid5(uuid.NAMESPACE_URL, names))),
            "CreateAction",
            name=self._request.name,
            description=f"All attempts behind the current results of {len(images)} images."
            + run_note(self._losses),
            instrument=package.reference("workflow"),
            object=unique(entered),
            result=unique(left) or [drawer.record_file(record) for record in self._records],
            agent=self._agent,
            startTime=time_text(started),
            endTime=time_text(ended),
            actionStatus=FAILED if failed else COMPLETED,
            error=f"Failed and not made good: {', '.join(failed)}" if failed else None,
        )

    def _copy(self, folder: Path) -> None:
        """Copy what is wanted of inputs and lists into the crate."""
        request, package = self._request, self.package
        folder.mkdir(parents=True)
        if request.include_inputs:
            warn = package.warnings.append
            package.copies += copy_inputs(folder, self._entered(), request.results, warn)
            self.inputs = len(package.copies)
        if request.include_lists:
            data = (a for record in self._records for a in (*record.inputs, *record.outputs))
            digests = sorted({a.digest for a in data if a.digest.startswith("zarr-merkle-")})
            package.copies += copy_lists(folder, digests, request.results / LISTS)

    def _entered(self) -> Iterator[tuple[Reference, Artifact]]:
        """Yield what attempts that ended well took from outside the run."""
        for record in self._records:
            for artifact in record.inputs if record.status == "done" else ():
                if self._plan.maker(artifact) is None:
                    yield self._data.add(artifact, record), artifact

    def _pass(self, artifact: Artifact, record: Record, port: Port) -> Reference:
        data = self._data.add(artifact, record)
        self._data.is_example(data, self._plan.workflow_parameter(port))
        return data
