"""Plan what of the results of a run is to be written to OMERO, without a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.core.step import Context, Port, Step, exact
from parfocal.models.annotation_options import PlanAnnotationsParams
from parfocal.models.sheet import Row, read_sheet
from parfocal.steps import SUMMARIES
from parfocal.steps.annotations.cells import (
    TARGET_COLUMN,
    check_cells,
    container_of,
    find_targets,
)

if TYPE_CHECKING:
    from parfocal.models.annotation_entries import ResultFile
    from parfocal.models.annotation_plan import AnnotationPlan, Target
    from parfocal.omero.planned_images import Labels, PlannedImage
    from parfocal.omero.table_columns import TableFacts

__all__ = ["STEP", "PlanAnnotationsParams", "check", "run"]


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: PlanAnnotationsParams,
    context: Context,
) -> None:
    """Write the plan for the images of the sheet that are on an OMERO server.

    Raises
    ------
    ConfigurationError
        If the sheet is not valid, two images have one target, or OMERO cannot hold something.
    InputError
        If a result is there and cannot be read.
    """
    from parfocal.core.annotation_plan import write_plan

    rows = read_sheet(inputs["sheet"])
    check_cells(rows, params, inputs["sheet"])
    targets = find_targets(rows, inputs["sheet"])
    plan = _Planner(inputs, rows, params, context).plan(targets)
    if not plan.targets:
        context.warn(
            "The annotation plan is empty: no image that is done is on an OMERO server. The column "
            f"'{TARGET_COLUMN}' of the sheet says where images of other sources are"
        )
    write_plan(outputs["plan"], plan.model_copy(update={"notes": tuple(context.warnings)}))
    context.details |= {
        "targets": len(plan.targets),
        "annotations": sum(len(target.annotations) for target in plan.targets),
    }


def check(inputs: Mapping[str, Path], params: PlanAnnotationsParams) -> None:
    """Refuse columns that the sheet does not have, and cells that cannot be written to OMERO.

    Raises
    ------
    ConfigurationError
        If the sheet is not valid, or does not fit the parameters.
    """
    check_cells(read_sheet(inputs["sheet"]), params, inputs["sheet"])


@dataclass
class _Tally:
    """What is told of several images together."""

    unfinished: list[str] = field(default_factory=list)
    without_table: list[str] = field(default_factory=list)
    without_objects: list[str] = field(default_factory=list)
    without_rois: list[str] = field(default_factory=list)
    without_dataset: list[str] = field(default_factory=list)
    types: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, image: PlannedImage, params: PlanAnnotationsParams) -> None:
        """Take down what is missing of an image, and the types of its columns."""
        name, labels = image.row.image_id, image.labels
        if params.tables and image.table is None:
            self.without_table.append(name)
        if params.tables and image.table is not None and image.table[1].rows == 0:
            self.without_objects.append(name)
        if params.rois and image.drawn(params.rois) is None:
            why = "no label image" if labels is None else f"{labels.objects} objects"
            self.without_rois.append(f"{name} ({why})")
        if params.label_images and labels is not None and image.row.plate and image.row.well:
            self.without_dataset.append(name)
        for column in image.table[1].columns if image.table else ():
            self.types.setdefault(column.name, {}).setdefault(column.type, name)

    def tell(self, context: Context) -> None:
        """Warn of it."""
        context.warn_of("image(s) on an OMERO server are not done and left out", self.unfinished)
        context.warn_of("image(s) have no table of objects to write", self.without_table)
        context.warn_of("image(s) have no objects: their tables are empty", self.without_objects)
        context.warn_of("image(s) get no ROIs, see max_objects", self.without_rois)
        context.warn_of(
            "image(s) of wells: images on plates lie in no dataset, and their label images will "
            "neither, so that only a search for their names finds them",
            self.without_dataset,
        )
        changing = [
            f"{name} ({', '.join(f'{kind} in {image}' for kind, image in kinds.items())})"
            for name, kinds in self.types.items()
            if len(kinds) > 1
        ]
        context.warn_of("column(s) differ in type between the tables of images", changing)


class _Planner:
    """Gathers what there is of each image, and plans its annotations."""

    def __init__(
        self,
        inputs: Mapping[str, Path],
        rows: Sequence[Row],
        params: PlanAnnotationsParams,
        context: Context,
    ) -> None:
        from parfocal import __version__
        from parfocal.omero.planned_images import RunFacts
        from parfocal.provenance.records import iter_records
        from parfocal.provenance.run_identity import newest_done, run_id
        from parfocal.report.results import RunResults
        from parfocal.steps import STEPS

        self._folder, self._sheet = inputs["results"], inputs["sheet"]
        self._rows, self._params, self._context = rows, params, context
        steps = [step.name for step in STEPS if step.scope == "image"]
        names = [row.image_id for row in rows]
        records = [record for record in iter_records(self._folder) if record.step in steps]
        self._results = RunResults(self._folder, steps, names, records, context.warn)
        self._done = newest_done(records, frozenset(names))
        identity = run_id(record for made in self._done.values() for record in made)
        workflow = _workflow_name(inputs.get("workflow"))
        self._run = RunFacts(identity, f"parfocal {__version__}", workflow)
        self._tally = _Tally()

    def plan(self, targets: Mapping[str, str]) -> AnnotationPlan:
        """Return the plan for the images that have a target."""
        from parfocal.models.annotation_plan import AnnotationPlan, LeftOut
        from parfocal.omero.planned_images import plan_container, plan_failed
        from parfocal.provenance.run_identity import newest_commit

        planned, left_out = [], []
        containers: dict[str, None] = {}
        for done, row in enumerate(self._rows, 1):
            target, reason = targets.get(row.image_id), self._unfinished(row)
            if target is None or reason is not None:
                why = reason or "not on an OMERO server"
                left_out.append(LeftOut(image_id=row.image_id, reason=why))
            if target is not None and reason is None:
                container = container_of(row, self._sheet)
                planned.append(self._image(row, target, container))
                containers |= {container: None} if container else {}
            elif target is not None and reason is not None and self._params.note_failures:
                planned.append(plan_failed(row, target, reason))
            self._context.progress(done, len(self._rows))
        self._tally.unfinished = [one.image_id for one in left_out if one.image_id in targets]
        self._tally.tell(self._context)
        held = [plan_container(uri, self._params) for uri in containers]
        return AnnotationPlan(
            run_id=self._run.run_id,
            workflow=self._run.workflow,
            commit=newest_commit([record for made in self._done.values() for record in made]),
            made_by=self._run.made_by,
            targets=(*planned, *(target for target in held if target.annotations)),
            left_out=tuple(left_out),
        )

    def _unfinished(self, row: Row) -> str | None:
        """Return why an image has no results; None where it has."""
        state = self._results.state(row.image_id)
        if state.status == "done":
            return None
        step = f" in {state.step}" if state.step else ""
        return f"{state.status}{step}" + (f": {state.error}" if state.error else "")

    def _image(self, row: Row, target: str, container: str | None) -> Target:
        from parfocal.omero.planned_images import PlannedImage, plan_image
        from parfocal.provenance.run_identity import newest_commit

        params, name = self._params, self._params.label_name
        table = self._table(row, name) if params.tables or params.rois else None
        drawn = params.rois is not None or params.label_images
        image = PlannedImage(
            row=row,
            target=target,
            commit=newest_commit(self._done.get(row.image_id, [])),
            table=table,
            labels=self._labels(row, name, table) if drawn else None,
            certificate=self._certificate(row),
        )
        self._tally.add(image, params)
        return plan_image(image, self._run, params, run_files=container is None)

    def _table(self, row: Row, name: str) -> tuple[ResultFile, TableFacts] | None:
        from parfocal.omero.table_columns import read_table_facts

        path = self._results.file(row.image_id, "measure-objects", f"tables/{name}.parquet")
        if path is None:
            return None
        warn = self._context.warn
        facts = read_table_facts(path, lambda text: warn(f"{row.image_id}: {text}"))
        return self._file(path), facts

    def _labels(
        self, row: Row, name: str, table: tuple[ResultFile, TableFacts] | None
    ) -> Labels | None:
        from parfocal.images import open_image
        from parfocal.omero.planned_images import Labels

        path = self._results.file(row.image_id, "segment-objects", f"labels/{name}.ome.zarr")
        whole = self._results.file(row.image_id, "convert-image", "image.ome.zarr")
        if path is None or whole is None:
            return None
        with open_image(path) as labels, open_image(whole) as image:
            flat = {axis: labels.metadata.size(axis) < image.metadata.size(axis) for axis in "TZ"}
        found = [r.details for r in self._done.get(row.image_id, []) if r.step == "segment-objects"]
        objects = table[1].rows if table else next(iter(found), {}).get("objects")
        return Labels(self._file(path), objects, all_planes=flat["Z"], all_times=flat["T"])

    def _certificate(self, row: Row) -> ResultFile | None:
        if "certificate" not in self._params.attach:
            return None
        path = self._results.file(row.image_id, "convert-image", "image.certificate.json")
        return self._file(path) if path else None

    def _file(self, path: Path) -> ResultFile:
        """Name a result with its digest, which its stamp knows unless it was changed since."""
        from parfocal.core.digest import digest_path, size_of
        from parfocal.core.publish import Stamp
        from parfocal.models.annotation_entries import ResultFile

        digest = Stamp(path).digest() or digest_path(path, self._context.threads)
        name = path.relative_to(self._folder).as_posix()
        return ResultFile(path=name, digest=digest, size_bytes=size_of(path))


def _workflow_name(path: Path | None) -> str | None:
    """Return what a workflow is called: its file, or the folder of a file that all call alike."""
    if path is None:
        return None
    return path.resolve().parent.name if path.name == "Snakefile" else path.name


STEP = Step(
    name="plan-annotations",
    version="1",
    summary=SUMMARIES["plan-annotations"],
    params=PlanAnnotationsParams,
    inputs=(
        Port("results", "folder", ".", "The results folder."),
        Port("sheet", "sheet", "samples.tsv", "The sample sheet, whose images are annotated."),
        Port("workflow", "file", "Snakefile", "Workflow that was run.", required=False),
    ),
    outputs=(Port("plan", "json", "annotation-plan.json", "The plan."),),
    run=run,
    exactness=exact(),
    scope="run",
    check=check,
)
