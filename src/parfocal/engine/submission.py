"""Whether Slurm would take the jobs of a run, asked before the first of them is submitted."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from parfocal.compute.slurm_queue import check_commands, check_partition, check_submission
from parfocal.errors import ConfigurationError
from parfocal.models.compute import ComputeConfig, SlurmJobs

__all__ = ["check_jobs"]


class _Job(Protocol):
    """What is asked of a job of Snakemake."""

    name: str
    threads: int
    resources: Mapping[str, Any]


@dataclass(frozen=True)
class _Request:
    """What the jobs of one rule ask for, at most; in MiB and minutes."""

    rule: str
    partition: str | None
    account: str | None
    others: tuple[str, ...]
    threads: int
    memory_mib: int
    time_min: int

    @classmethod
    def of(cls, job: _Job) -> Self:
        asked = job.resources
        others = shlex.split(str(asked.get("slurm_extra") or ""))
        named = {"--constraint": asked.get("constraint"), "--qos": asked.get("qos")}
        others += [f"{name}={value}" for name, value in named.items() if value]
        return cls(
            job.name,
            _text(asked.get("slurm_partition")),
            _text(asked.get("slurm_account")),
            tuple(others),
            job.threads,
            _number(asked.get("mem_mb")),
            _number(asked.get("runtime")),
        )

    @property
    def kind(self) -> _Request:
        return replace(self, threads=1, memory_mib=0, time_min=0)

    def with_most_of(self, other: _Request) -> _Request:
        return replace(
            self,
            threads=max(self.threads, other.threads),
            memory_mib=max(self.memory_mib, other.memory_mib),
            time_min=max(self.time_min, other.time_min),
        )

    def options(self) -> list[str]:
        """Return the options of sbatch."""
        values = {
            "partition": self.partition,
            "account": self.account,
            "mem": self.memory_mib and f"{self.memory_mib}M",
            "time": self.time_min,
        }
        told = [f"--{name}={value}" for name, value in values.items() if value]
        return [*told, "--ntasks=1", f"--cpus-per-task={self.threads}", *self.others]


def check_jobs(jobs: Iterable[_Job], compute: ComputeConfig) -> None:
    """Make sure that Slurm takes the jobs of all rules.

    Parameters
    ----------
    jobs : iterable
        The jobs of Snakemake that are to be submitted: with ``name``, ``threads`` and
        ``resources``.
    compute : ComputeConfig
        Where they work on their images.

    Raises
    ------
    ConfigurationError
        If Slurm's commands are missing or not configured, a partition does not exist, or Slurm
        rejects what a rule asks for; or if jobs would submit jobs of their own, unasked.
    RemoteError
        If Slurm does not answer.
    """
    check_commands()
    if isinstance(compute, SlurmJobs) and not compute.inside_job:
        what = "The jobs of this run would submit jobs of their own"
        remedy = "Use the local profile, engine threads, or set inside_job to true."
        raise ConfigurationError(what, where="key compute.engine", found="slurm", remedy=remedy)
    requests: dict[_Request, _Request] = {}
    for request in map(_Request.of, jobs):
        requests[request.kind] = request.with_most_of(requests.get(request.kind, request))
    for name in {request.partition for request in requests.values()} - {None}:
        check_partition(str(name))
    for request in requests.values():
        _check(request)


def _check(request: _Request) -> None:
    remedy = (
        f"Change slurm_partition, slurm_account, mem_mb, runtime or slurm_extra of {request.rule} "
        "by set-resources in the profile, or cores; docs/howto/slurm.md tells how."
    )
    try:
        check_submission(request.options(), f"the jobs of {request.rule}", remedy)
    except ConfigurationError as error:
        # Of an account that is not given one is guessed when jobs are submitted.
        if request.account or "account" not in str(error.found).lower():
            raise


def _text(value: object) -> str | None:
    return str(value) if value else None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
