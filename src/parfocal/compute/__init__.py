"""The only code that knows dask and Slurm: workers in processes and on clusters."""

from __future__ import annotations

from parfocal.compute.opening import Compute, check_engine, taking_part

__all__ = ["Compute", "check_engine", "taking_part"]
