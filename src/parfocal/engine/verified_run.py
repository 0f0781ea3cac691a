"""Verify the data, the certificates and the graph of a run crate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from parfocal.core.digest import is_zarr
from parfocal.engine.changed_zarr import DAMAGE, signs_of_change
from parfocal.errors import InputError
from parfocal.images.proof.certificate import (
    Certificate,
    Certificates,
    pixels_digest,
    read_certificate,
)
from parfocal.images.proof.check import check_certificate
from parfocal.provenance.read_crate import Crate
from parfocal.provenance.verify_files import Looker
from parfocal.provenance.verify_lists import DigestLists
from parfocal.provenance.verify_places import Places
from parfocal.provenance.verify_records import records_told
from parfocal.provenance.verify_run import FAILING, Entry, verify_data

__all__ = ["CheckedCertificate", "Verification", "verify_crate"]

_NO_LIST = (
    "Which file of it differs is not told: there is no list of their digests (--digest-lists), and "
    "all files can be read"
)
_MARK = b'"parfocal-certificate'
_MOST = 20
_LONGEST = 200


@dataclass(frozen=True)
class CheckedCertificate:
    """A certificate of the run, whose bytes are unchanged.

    Attributes
    ----------
    name : str
        Its path as the crate has it.
    verdict : str
        What it says.
    faults : tuple of str
        What contradicts itself, or what the crate says.
    """

    name: str
    verdict: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """What was found of a crate and of all that it names.

    Attributes
    ----------
    records_told : bool
        Whether the crate has the digests of the records of attempts that ended well.
    """

    crate: Path
    results: Path
    entries: tuple[Entry, ...]
    certificates: tuple[CheckedCertificate, ...]
    findings: tuple[str, ...]
    records_told: bool = True

    @property
    def counts(self) -> dict[str, int]:
        """How many entries have each status."""
        return dict(sorted(Counter(entry.status for entry in self.entries).items()))

    @property
    def idle(self) -> bool:
        """Whether nothing that the run made was there to be verified."""
        outputs = [entry for entry in self.entries if entry.role == "output"]
        made = outputs or [entry for entry in self.entries if entry.role == "record"]
        return not any(entry.found for entry in made)

    @property
    def faults(self) -> int:
        """How many things are not what the crate says."""
        changed = sum(entry.status in FAILING for entry in self.entries)
        return changed + sum(bool(c.faults) for c in self.certificates) + len(self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "format": "parfocal-crate-verification-1",
            "crate": str(self.crate),
            "results": str(self.results),
            "verified": not self.faults and not self.idle,
            "counts": self.counts,
            "entries": [_entry_json(entry) for entry in self.entries],
            "certificates": [
                {"name": c.name, "verdict": c.verdict, "faults": list(c.faults)}
                for c in self.certificates
            ],
            "findings": list(self.findings),
            "records_told": self.records_told,
        }


def verify_crate(
    crate: Crate,
    places: Places,
    lists: DigestLists,
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Digest all that a crate names anew, and check its certificates.

    Parameters
    ----------
    places : Places
        Where the data lie.
    lists : DigestLists
        Lists that name the file of an OME-Zarr that was changed; those of unchanged ones are kept.
    threads : int
        How many files to read at once.
    progress : callable, optional
        Called as ``progress(done, total)``, in bytes.

    Raises
    ------
    StorageError
        If a list cannot be written.
    """
    folders = sum(not datum.digest.startswith("sha256:") for datum in crate.data.values())
    carried = frozenset(crate.data[name].digest for name in crate.copies if name in crate.data)
    looker = Looker(lists, places.of, max(1, threads // max(1, folders)), carried)
    entries = list(verify_data(crate, places, looker, threads=threads, progress=progress))
    changed = {entry.datum.digest for entry in entries if entry.status == "changed"}
    proofs: dict[str, Path] = {}
    certificates = []
    written = _certificates(entries)
    around = _around(crate, set(written))
    for identifier, path in written.items():
        name = crate.data[identifier].name
        try:
            one = read_certificate(path)
        except InputError as error:
            certificates.append(CheckedCertificate(name, "unreadable", (_short(error.found),)))
            continue
        certificates.append(CheckedCertificate(name, one.verdict, _faults(one, around[identifier])))
        if one.result_digest in changed:
            proofs[one.result_digest] = path
    made = {name: action.ended for action in crate.actions for name in action.made}
    return Verification(
        crate=crate.path,
        results=places.results,
        entries=tuple(_explained(entry, proofs, made, threads) for entry in entries),
        certificates=tuple(certificates),
        findings=tuple(crate.findings),
        records_told=records_told(crate),
    )


def _certificates(entries: Iterable[Entry]) -> dict[str, Path]:
    """Return where the certificates lie whose bytes are unchanged, by their identifiers."""
    found = {}
    for entry in entries:
        path = entry.where
        if entry.status != "unchanged" or path is None or not entry.datum.name.endswith(".json"):
            continue
        if entry.role == "record" or not path.is_file():
            continue
        with path.open("rb") as stream:
            if _MARK in stream.read(200):
                found[entry.datum.identifier] = path
    return found


def _around(crate: Crate, identifiers: set[str]) -> dict[str, set[str]]:
    """Return the digests of what the attempts that made something used and made.

    Of what was only an input there are none.
    """
    around: dict[str, set[str]] = {identifier: set() for identifier in identifiers}
    for action in crate.actions:
        for identifier in identifiers.intersection(action.made):
            data = (crate.data.get(name) for name in (*action.used, *action.made))
            around[identifier] |= {datum.digest for datum in data if datum}
    return around


def _faults(certificate: Certificate | Certificates, around: set[str]) -> tuple[str, ...]:
    """Return what contradicts itself in a certificate, or what its attempt used and made."""
    told = []
    if around and certificate.result_digest not in around:
        told.append(f"It is about {certificate.result_digest}, which its attempt did not make")
    if (certificate.verdict == "different") != bool(certificate.differences):
        told.append("Its verdict is not that of its differences")
    images = certificate.images if isinstance(certificate, Certificates) else (certificate,)
    for number, image in enumerate(images):
        found = pixels_digest(plane.digest for plane in image.planes)
        if image.verdict != "different" and found != image.result.digest:
            told.append(f"The digest of image {number} is not that of its planes")
        if image.verdict == "verified" and not image.source.independent:
            told.append(f"Image {number} is called verified, and no independent library read it")
    if certificate.verdict == "different":
        told += _first(map(str, certificate.differences))
    return tuple(told)


def _explained(
    entry: Entry,
    proofs: Mapping[str, Path],
    made: Mapping[str, datetime | None],
    threads: int,
) -> Entry:
    """Add to an OME-Zarr that was changed in which of its files and planes."""
    path, datum = entry.where, entry.datum
    if entry.status != "changed" or path is None or entry.reasons or not is_zarr(path):
        return entry
    reasons = signs_of_change(path, made.get(datum.identifier)) or (_NO_LIST,)
    proof = proofs.get(datum.digest)
    if proof is not None:
        reasons += _differences(proof, path, threads)
    return replace(entry, reasons=reasons)


def _differences(proof: Path, path: Path, threads: int) -> tuple[str, ...]:
    """Return what differs from the certificate: planes, levels, metadata."""
    try:
        found = check_certificate(read_certificate(proof), path, threads=threads)
    except (InputError, *DAMAGE) as error:
        return (f"Its planes cannot be compared with the certificate: {_short(error)}",)
    return tuple(_first(f"{one.what} at {one.where}" for one in found.differences))


def _first(told: Iterable[str]) -> list[str]:
    """Return the first of many lines, and how many more there are."""
    lines = list(told)
    more = [f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return lines[:_MOST] + more


def _short(found: object) -> str:
    text = " ".join(str(found).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.datum.name,
        "role": entry.role,
        "status": entry.status,
        "where": None if entry.where is None else str(entry.where),
        "expected": entry.datum.digest,
        "found": entry.found,
        "reasons": list(entry.reasons),
    }
