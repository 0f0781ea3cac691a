"""Read the outcomes, records, quality, scores and certificates of a results folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from parfocal.errors import InputError
from parfocal.models.base import explain_validation
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Record
from parfocal.report.content import Findings, ParameterSet, Seams, State, StepLine, Usage
from parfocal.report.usage import tell_usage

__all__ = ["RunResults"]

_REMEDY = "Restore the file, or remove it and run its step again."


class RunResults:
    """The results of a run, as far as they concern the images of its sample sheet.

    Parameters
    ----------
    folder : Path
        The results folder.
    steps : sequence of str
        Names of the steps that work on images, in the order of the pipeline.
    image_ids : sequence of str
        The images of the sheet; all others are left out.
    records : iterable of Record
        The records of the folder in any order; the newest attempts are kept.
    warn : callable
        Told of files that a step should have left and that are not there.

    Raises
    ------
    InputError
        If an outcome cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        steps: Sequence[str],
        image_ids: Sequence[str],
        records: Iterable[Record],
        warn: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._steps = steps
        self._image_ids = frozenset(image_ids)
        self._warn = warn
        self._missing: set[Path] = set()
        self._records: dict[tuple[str, str], Record] = {}
        for record in records:
            self._keep_newest(record)
        self._states = {key: _state_of_record(record) for key, record in self._records.items()}
        for step in steps:
            self._read_outcomes(step)

    def _keep_newest(self, record: Record) -> None:
        if record.step in self._steps and record.image_id in self._image_ids:
            key = (record.step, record.image_id)
            known = self._records.get(key)
            if known is None or record.attempt > known.attempt:
                self._records[key] = record

    def _read_outcomes(self, step: str) -> None:
        """Let outcomes tell the states.

        Where two disagree, because an image has moved to another batch, the one that
        agrees with the newest record holds.
        """
        told: dict[str, list[State]] = {}
        for path in sorted((self._folder / "outcomes" / step.replace("-", "_")).glob("*.json")):
            for image in _read_outcome(path).images:
                if image.image_id in self._image_ids:
                    told.setdefault(image.image_id, []).append(_state_of_outcome(step, image))
        for image_id, candidates in told.items():
            recorded = self._states.get((step, image_id))
            agreeing = [s for s in candidates if recorded and s.status == recorded.status]
            self._states[step, image_id] = (agreeing or candidates)[-1]

    def state(self, image_id: str) -> State:
        """Return how the run ended for one image: the first step that is not done tells."""
        pairs = [(step, image_id) for step in self._steps]
        known = [self._states[pair] for pair in pairs if pair in self._states]
        for status in ("failed", "unfinished", "skipped"):
            for state in known:
                if state.status == status:
                    return state
        return State("done" if known else "not run")

    def file(self, image_id: str, step: str, name: str) -> Path | None:
        """Return a file or folder of one image, as far as it is current.

        Parameters
        ----------
        image_id : str
            The image.
        step : str
            The step that makes it. Where that is known not to be done, what lies there
            comes from an earlier run and is left out.
        name : str
            Its path in the folder of the image.

        Returns
        -------
        Path or None
            None where there is nothing current.
        """
        path = self._folder / "images" / image_id / name
        state = self._states.get((step, image_id))
        if state is not None and state.status != "done":
            return None
        if path.exists():
            return path
        if state is not None and path not in self._missing:
            self._missing.add(path)
            self._warn(f"{step} is done for {image_id}, but its result is not there: {name}")
        return None

    def taken(self, image_id: str, step: str, role: str) -> str | None:
        """Return the path, as its record has it, of what a step took in its newest attempt.

        Parameters
        ----------
        image_id, step : str
            The image, and the step.
        role : str
            Name of the step's input.
        """
        record = self._records.get((step, image_id))
        paths = [one.uri for one in record.inputs if one.role == role] if record else []
        return paths[0] if paths else None

    def findings(self, image_id: str, label_name: str) -> Findings:
        """Read what the steps found out about one image.

        Parameters
        ----------
        image_id, label_name : str
            Whose findings, and the label image that the scores are about.

        Raises
        ------
        InputError
            If a file is there and cannot be read.
        """
        quality = self._json(image_id, "assess-quality", "quality.json", "quality")
        scores = self._json(image_id, "score-objects", f"scores/{label_name}.json", "scores")
        names = ("image.certificate.json", "certificate", "certificates")
        certificate = self._json(image_id, "convert-image", *names)
        images = certificate.get("images") or (certificate,)
        readers = [_reader(one.get(side, {})) for one in images for side in ("source", "result")]
        scored = scores.get("thresholds", ()) if scores.get("ground_truth") else ()
        records = (self._records.get((step, image_id)) for step in self._steps)
        return Findings(
            quality=tuple(quality.get("channels", ())),
            f1={float(line["iou"]): line["f1"] for line in scored},
            verdict=certificate.get("verdict"),
            readers=tuple(dict.fromkeys(readers)),
            warnings=tuple((r.step, text) for r in records if r for text in r.warnings),
            seams=self._seams(image_id, label_name),
        )

    def _seams(self, image_id: str, label_name: str) -> Seams | None:
        record = self._records.get(("segment-objects", image_id))
        if record is None or record.parameters.get("label_name", "nuclei") != label_name:
            return None
        told = record.details.get("seams")
        fields = ("borders", "p", "significant", "flat", "flat_expected", "near")
        return Seams(**{name: told[name] for name in fields}) if told else None

    def _json(self, image_id: str, step: str, name: str, *forms: str) -> dict[str, Any]:
        path = self.file(image_id, step, name)
        return _read_json(path, [f"parfocal-{form}-1" for form in forms]) if path else {}

    def step_lines(self) -> tuple[StepLine, ...]:
        """Return for each step how it ended, and with which parameters it ran."""
        lines = (self._step_line(step) for step in self._steps)
        return tuple(line for line in lines if line.counts)

    def _step_line(self, step: str) -> StepLine:
        counts: Counter[str] = Counter(
            s.status for (name, _), s in self._states.items() if name == step
        )
        own = [record for record in self._records.values() if record.step == step]
        groups = Counter(_flatten(record.parameters) for record in own)
        ordered = sorted(groups.items(), key=lambda item: (-item[1], item[0]))
        return StepLine(
            name=step,
            versions=tuple(sorted({record.step_version for record in own})),
            counts=dict(counts),
            parameters=tuple(ParameterSet(images, values) for values, images in ordered),
        )

    def usage(self) -> tuple[Usage, ...]:
        """Return what the steps used, where that was predicted."""
        return tell_usage(self._steps, self._records.values())

    def software(self, findings: Iterable[Findings]) -> tuple[str, ...]:
        """Return the names and versions of the software that made the results."""
        names = {reader for finding in findings for reader in finding.readers}
        for record in self._records.values():
            names.add(f"Parfocal {record.parfocal_version}")
            engine = record.engine
            names.add(f"{engine.name} {engine.version}" if engine.version else engine.name)
        return tuple(sorted(names - {""}))


def _read_outcome(path: Path) -> Outcome:
    try:
        return Outcome.model_validate_json(path.read_bytes())
    except ValidationError as error:
        what = "An outcome cannot be read"
        found = explain_validation(error)
        raise InputError(what, where=path, found=found, remedy=_REMEDY) from error


def _state_of_outcome(step: str, image: ImageOutcome) -> State:
    if image.status == "done":
        return State("done")
    return State(image.status, image.failed_step or step, image.error)


def _state_of_record(record: Record) -> State:
    if record.status == "done":
        return State("done")
    if record.status == "started":
        return State("unfinished", record.step, "The attempt was broken off before its end.")
    return State("failed", record.step, record.error.message if record.error else None)


def _read_json(path: Path, forms: Sequence[str]) -> dict[str, Any]:
    what = "A result cannot be read"
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(what, where=path, expected="JSON", found=error, remedy=_REMEDY) from error
    found = value.get("format") if isinstance(value, dict) else type(value).__name__
    if found not in forms:
        expected = " or ".join(forms)
        raise InputError(what, where=path, expected=expected, found=found, remedy=_REMEDY)
    return dict(value)


def _reader(side: dict[str, Any]) -> str:
    """Return name and version of the library that a certificate names for one side."""
    return " ".join(str(side[key]) for key in ("reader", "version") if side.get(key))


def _flatten(value: Any, prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Return nested parameters as pairs of dotted name and text."""
    if isinstance(value, dict):
        parts = (_flatten(value[key], f"{prefix}.{key}" if prefix else key) for key in value)
        return tuple(pair for part in parts for pair in part)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return ((prefix, text),)
