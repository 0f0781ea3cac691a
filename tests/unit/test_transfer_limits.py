"""How much of a network a job takes, as people write it."""

from __future__ import annotations

from typing import Any

import pytest

from parfocal.engine.configuration import config_model, read_config
from parfocal.errors import ConfigurationError
from parfocal.models.transfer import TransferLimits


def limits(transfer: Any) -> TransferLimits:
    """Return what a configuration with this key ``transfer`` says."""
    values = {"sheet": "samples.tsv", "results": "results", "transfer": transfer}
    return read_config(config_model([]), values, "--config").transfer


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"requests": "8"}, ["PARFOCAL_REMOTE_IN_FLIGHT=8"]),
        ({"mb_per_s": "2.5"}, ["PARFOCAL_REMOTE_MB_PER_S=2.5"]),
        ({"omero_connections": "8"}, ["PARFOCAL_OMERO_CONNECTIONS=8"]),
        (
            {"requests": 16, "mb_per_s": 20},
            ["PARFOCAL_REMOTE_IN_FLIGHT=16", "PARFOCAL_REMOTE_MB_PER_S=20.0"],
        ),
    ],
)
def test_numbers_given_as_text_are_numbers(given: dict[str, Any], expected: list[str]) -> None:
    assert limits(given).as_environment() == expected


@pytest.mark.parametrize(
    ("given", "key", "told"),
    [
        ({"connections": "8"}, "transfer.connections", "did you mean 'omero_connections'?"),
        ({"requests": "many"}, "transfer.requests", "must be a whole number (found 'many')"),
        ({"requests": "8.5"}, "transfer.requests", "must be a whole number (found '8.5')"),
        ({"requests": ""}, "transfer.requests", "must be a whole number (found '')"),
        ({"mb_per_s": "fast"}, "transfer.mb_per_s", "must be a number (found 'fast')"),
        ("requests=8", "transfer", "must be a mapping of keys to values (found 'requests=8')"),
        (["PARFOCAL_REMOTE_IN_FLIGHT=8"], "transfer", "must be a mapping of keys to values"),
    ],
)
def test_what_is_no_limit_is_refused(given: Any, key: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        limits(given)
    assert str(caught.value.where) == f"--config, key {key}"
    assert told in str(caught.value.found)
