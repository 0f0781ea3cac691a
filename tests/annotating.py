"""Results of a run, and plans of what of them goes to an OMERO server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from memory_images import save
from parfocal.core.annotation_plan import write_plan
from parfocal.core.digest import digest_path, size_of
from parfocal.engine import run_step
from parfocal.models.annotation_entries import (
    BULK_NAMESPACE,
    CLIENT_NAMESPACE,
    FILE_NAMESPACE,
    RUN_NAMESPACE,
    Column,
    Comment,
    FileAttachment,
    KeyValues,
    LabelImage,
    Mask,
    PlannedEntry,
    Polygon,
    Rating,
    ResultFile,
    Rois,
    Table,
    Tag,
)
from parfocal.models.annotation_plan import AnnotationPlan, Target
from parfocal.omero.table_columns import read_table_facts
from parfocal.steps import apply_annotations, revert_annotations, verify_annotations

__all__ = ["Desk", "labels_3d", "numbers_in", "objects_of"]

SHAPES = {"mask": Mask(), "polygon": Polygon(tolerance_px=0)}


def labels_3d(dtype: str = "uint16") -> NDArray[Any]:
    """Return labels (T2, Z2, Y24, X32) of five objects, one of them on two planes."""
    labels = np.zeros((2, 2, 24, 32), dtype)
    labels[0, 0, 2:6, 3:9] = 1
    labels[0, 0, 10:15, 20:27] = labels[0, 1, 11:14, 21:25] = 2
    labels[0, 1, 18:22, 4:8] = 3
    labels[1, 0, 2:6, 5:11] = 4
    labels[1, 1, 12:18, 12:18] = 9
    return labels


def objects_of(labels: NDArray[Any]) -> list[tuple[int, int]]:
    """Return (t, label) of all objects of an array (T, Z, Y, X)."""
    return [
        (t, int(label)) for t, volume in enumerate(labels) for label in np.unique(volume) if label
    ]


def numbers_in(receipt: Mapping[str, Any], target: str) -> tuple[int, int, int, int]:
    """Return how many entries of a target were made, replaced, kept and removed."""
    told = receipt["targets"][target]
    return told["made"], told["replaced"], told["kept"], told["removed"]


@dataclass
class Desk:
    """A results folder, its plan, and the three steps that write to a server.

    Attributes
    ----------
    folder : Path
        The results folder.
    targets : dict of str to list of PlannedEntry
        What the plan says, by URI.
    run_id : str
        The run of the plan.
    """

    folder: Path
    targets: dict[str, list[PlannedEntry]] = field(default_factory=dict)
    run_id: str = "run-1"

    @property
    def plan(self) -> Path:
        """The plan, as it is written before each step."""
        return self.folder / "annotation-plan.json"

    def result(self, path: str, content: bytes | None = None) -> ResultFile:
        """Name a file or folder of the results, written first if its content is given."""
        where = self.folder / path
        if content is not None:
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(content)
        return ResultFile(path=path, digest=digest_path(where), size_bytes=size_of(where))

    def labels(self, labels: NDArray[Any], name: str = "nuclei") -> ResultFile:
        """Write a label image (T, Z, Y, X)."""
        path = self.folder / "labels" / f"{name}.ome.zarr"
        if path.exists():
            shutil.rmtree(path)
        save(path, labels, "TZYX", labels=True)
        return self.result(f"labels/{name}.ome.zarr")

    def table(
        self,
        target: str,
        columns: Mapping[str, Any],
        *,
        name: str = "nuclei",
        references: Sequence[str] = ("Image",),
        rois: str | None = None,
    ) -> Table:
        """Write a Parquet file, and plan it as a table."""
        path = self.folder / "tables" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(dict(columns)), path)
        facts = read_table_facts(path, _no_warnings)
        return Table.planned(
            target,
            namespace=BULK_NAMESPACE,
            name=name,
            file=self.result(f"tables/{name}.parquet"),
            rows=facts.rows,
            columns=(*(Column(name=each, type=each) for each in references), *facts.columns),
            rois=rois,
        )

    def rois(
        self, target: str, labels: NDArray[Any], name: str = "nuclei", shape: str = "mask"
    ) -> Rois:
        """Plan the outlines of a label image that `labels` has written."""
        return Rois.planned(
            target,
            name=name,
            labels=self.result(f"labels/{name}.ome.zarr"),
            label_name=name,
            shape=SHAPES[shape],
            objects=len(objects_of(labels)),
            all_planes=False,
            all_times=False,
        )

    def attachment(self, target: str, path: str, content: bytes | None = None) -> FileAttachment:
        """Plan a file as an attachment; a folder is packed."""
        file = self.result(path, content)
        return FileAttachment.planned(
            target,
            namespace=FILE_NAMESPACE,
            name=Path(path).name,
            file=file,
            mimetype="text/plain",
            packed=(self.folder / path).is_dir(),
        )

    def everything(self, target: str, *, said: str = "first") -> list[PlannedEntry]:
        """Return one entry of every kind, and two tags of one new tag set.

        Tags are called by the number of the target, which no other test has.
        """
        number = target.rpartition("/")[2]
        labels = labels_3d()
        if not (self.folder / "labels").exists():
            self.labels(labels)
            self.result("crate/ro-crate-metadata.json", b'{"@graph": []}')
            self.result("crate/more/file.bin", bytes(range(256)) * 64)
        t, label = zip(*objects_of(labels), strict=True)
        columns = {"t": t, "label": label, "area": [0.5 * each for each in label]}
        return [
            KeyValues.planned(target, namespace=RUN_NAMESPACE, pairs=(("Run", said),)),
            KeyValues.planned(target, namespace=CLIENT_NAMESPACE, pairs=(("drug", "taxol"),)),
            Tag.planned(target, name=f"segmented {number}", tag_set=f"set {number}"),
            Tag.planned(
                target, name=f"measured {number}", tag_set=f"set {number}", description="by us"
            ),
            Rating.planned(target, stars=4),
            Comment.planned(target, namespace=RUN_NAMESPACE, text=f"{said} 🔬"),
            self.rois(target, labels),
            self.table(target, columns, references=("Image", "Roi"), rois="nuclei"),
            LabelImage.planned(target, name="cells [nuclei]", labels=self.labels_file()),
            self.attachment(target, "crate"),
            self.attachment(target, f"{said}.txt", said.encode()),
        ]

    def labels_file(self, name: str = "nuclei") -> ResultFile:
        """Name a label image that `labels` has written."""
        return self.result(f"labels/{name}.ome.zarr")

    def apply(self, **params: Any) -> dict[str, Any]:
        """Apply the plan; return what the record tells of it."""
        return self._run(apply_annotations.STEP, "receipt", params)

    def verify(self) -> dict[str, Any]:
        """Compare the server with the plan."""
        return self._run(verify_annotations.STEP, "verification", {})

    def revert(self, **params: Any) -> dict[str, Any]:
        """Take back what the run of the plan added."""
        return self._run(revert_annotations.STEP, "receipt", params)

    def journal(self) -> Path:
        """Return the journal of the one server."""
        (path,) = (self.folder / "annotations").glob("*.jsonl")
        return path

    def write_plan(self) -> None:
        """Write the plan as it is."""
        targets = tuple(
            Target(target=uri, annotations=tuple(entries)) for uri, entries in self.targets.items()
        )
        plan = AnnotationPlan(run_id=self.run_id, made_by="a test", targets=targets)
        write_plan(self.plan, plan)

    def _run(self, step: Any, port: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self.write_plan()
        output = self.folder / f"{step.name}.json"
        run_step(
            step,
            {"results": self.folder, "plan": self.plan},
            {port: output},
            params,
            existing="replace",
        )
        told: dict[str, Any] = json.loads(output.read_text("utf-8"))
        return told


def _no_warnings(message: str) -> None:
    raise AssertionError(message)
