"""What proves the conversion of an image: its certificates, as far as they are there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.core.digest import digest_path
from parfocal.errors import InputError
from parfocal.images.proof.certificate import read_certificate
from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_selection import artifact_key
from parfocal.provenance.trace_records import artifact_of, attempts_on

__all__ = ["Proof", "proofs_of"]

_VERIFY = "verify-image"


@dataclass(frozen=True)
class Proof:
    """A certificate, or an attempt at one.

    Attributes
    ----------
    step : str
        The step that compared: convert-image itself, or verify-image later.
    certificate : Artifact or None
        None where the attempt failed, and left none.
    verdict : str
        What it says; without it what the record says.
    proven_by : str or None
        Who read the source.
    reason : str or None
        Why it is no more than self-consistent, or why the attempt failed.
    fault : str or None
        Why the certificate cannot be relied on as it lies there.
    """

    step: str
    certificate: Artifact | None
    verdict: str
    proven_by: str | None = None
    reason: str | None = None
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        told = self.certificate.model_dump(mode="json") if self.certificate else None
        names = ("step", "verdict", "proven_by", "reason", "fault")
        return {"certificate": told} | {name: getattr(self, name) for name in names}


def proofs_of(records: Iterable[Record], results: Path) -> tuple[Proof, ...]:
    """Return what proves the conversions among some attempts.

    Parameters
    ----------
    records : iterable of Record
        The attempts that led to a result.
    results : Path
        The results folder.

    Returns
    -------
    tuple of Proof
        Of each conversion its own, and that of the newest attempt at verifying the image later.
    """
    return tuple(one for record in records for one in _proofs(record, results))


def _proofs(record: Record, results: Path) -> Iterator[Proof]:
    certificate = artifact_of(record.outputs, "certificate")
    if certificate is None:
        return
    yield _read(record, certificate, results, {one.digest for one in record.outputs})
    made = set(map(artifact_key, record.outputs))
    later = [
        one
        for one in attempts_on(results, record.image_id)
        if one.step == _VERIFY and one.status != "started" and _is_about(one, made)
    ]
    if later:
        yield _verified(max(later, key=lambda one: one.started), results)


def _is_about(record: Record, made: Collection[tuple[str, str]]) -> bool:
    image = artifact_of(record.inputs, "image")
    return image is not None and artifact_key(image) in made


def _verified(record: Record, results: Path) -> Proof:
    written = artifact_of(record.outputs, "verification")
    if written is None or record.status == "failed":
        why = record.error.message if record.error else None
        return Proof(record.step, written, _verdict(record, "failed"), reason=why)
    return _read(record, written, results, {one.digest for one in record.inputs})


def _verdict(record: Record, other: str) -> str:
    return str(record.details.get("verdict") or other)


def _read(record: Record, certificate: Artifact, results: Path, about: Collection[str]) -> Proof:
    """Read a certificate; where it is not what its attempt wrote, the record alone tells."""
    path = results / certificate.uri
    told = Proof(record.step, certificate, _verdict(record, "not known"))
    try:
        found = digest_path(path)
        if found != certificate.digest:
            return _faulty(told, f"changed since it was written: found {found}")
        content = read_certificate(path)
    except InputError as error:
        return _faulty(told, f"{error.what[0].lower()}{error.what[1:]}")
    if content.result_digest not in about:
        return _faulty(told, f"it is about another image, {content.result_digest}")
    return Proof(
        record.step, certificate, content.verdict, content.proven_by, reason=content.reason
    )


def _faulty(told: Proof, fault: str) -> Proof:
    return Proof(told.step, told.certificate, told.verdict, fault=fault)
