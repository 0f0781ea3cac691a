"""What `tests/omero_suites.py` makes of how the tests of ezomero ended."""

from __future__ import annotations

import pytest

from omero_suites import TESTS, _judged

ALL = {f"test_{n}.py::test": "passed" for n in range(TESTS)}


def test_all_that_passed_are_good() -> None:
    told, code = _judged(ALL)
    assert told.endswith(f": {TESTS} passed")
    assert code == 0


@pytest.mark.parametrize("count", [0, 3, TESTS - 1])
def test_fewer_than_there_are_are_not(count: int) -> None:
    told, code = _judged(dict(list(ALL.items())[:count]))
    assert f"expected {TESTS} tests, found {count}" in told
    assert code == 1


@pytest.mark.parametrize("state", ["failed", "skipped"])
def test_one_that_did_not_pass_is_named(state: str) -> None:
    told, code = _judged(ALL | {"test_0.py::test": state})
    assert f"test_0.py::test: {state}" in told
    assert code == 1
