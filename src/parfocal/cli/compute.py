"""The engine that works on blocks, from the command line or the environment."""

from __future__ import annotations

import os

from parfocal.cli.params import read_mapping
from parfocal.models.compute import ComputeConfig, LocalThreads, check_compute

__all__ = ["VARIABLE", "read_compute"]

VARIABLE = "PARFOCAL_COMPUTE"


def read_compute(given: str | None) -> ComputeConfig:
    """Return the checked configuration of the engine: threads, where none is given.

    Parameters
    ----------
    given : str, optional
        The path of a YAML or JSON file, or JSON itself; by default that of ``PARFOCAL_COMPUTE``.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or the configuration is not valid.
    """
    option = "--compute" if given is not None else VARIABLE
    text = given if given is not None else os.environ.get(VARIABLE)
    if not text:
        return LocalThreads()
    return check_compute(read_mapping(text, option), option)
