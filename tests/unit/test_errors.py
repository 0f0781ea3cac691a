import pytest

from parfocal import errors
from parfocal.engine.failures import explain, failure_of
from parfocal.errors import InputError, ParfocalError, StorageError


def test_an_error_is_one_line_with_all_its_parts() -> None:
    error = InputError(
        "The sheet is odd", where="s.tsv", expected="tabs", found="commas", remedy="Mend it."
    )
    assert str(error) == "The sheet is odd: s.tsv; expected tabs; found commas. Mend it."


def test_parts_that_are_not_given_are_left_out_and_falsy_ones_are_kept() -> None:
    assert str(ParfocalError("Odd")) == "Odd"
    assert str(ParfocalError("Odd", expected=1, found=0)) == "Odd; expected 1; found 0"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ParfocalError", 1),
        ("InputError", 2),
        ("AccessError", 2),
        ("ConfigurationError", 2),
        ("OutputExistsError", 2),
        ("StorageError", 2),
        ("OutOfMemoryError", 2),
        ("RemoteError", 3),
        ("VerificationError", 4),
        ("LeaseLostError", 1),
        ("RepeatedFailureError", 1),
        ("WorkerDiedError", 1),
    ],
)
def test_exit_codes(name, code) -> None:
    assert getattr(errors, name).exit_code == code


def test_every_error_has_a_tested_exit_code() -> None:
    tested = test_exit_codes.pytestmark[0].args[1]
    assert sorted(name for name, _ in tested) == sorted(errors.__all__)


def test_a_full_disk_is_told_with_the_place_that_the_system_leaves_out(tmp_path) -> None:
    error = explain(OSError(28, "No space left on device"), tmp_path)
    assert isinstance(error, StorageError)
    assert str(tmp_path) in str(error)
    assert "Free some space" in str(error)


def test_a_full_disk_is_found_behind_the_error_of_a_library(tmp_path) -> None:
    outer = ValueError("could not write the chunk")
    outer.__cause__ = OSError(28, "No space left on device")
    assert isinstance(explain(outer, tmp_path), StorageError)
    assert isinstance(explain(ValueError("x: No space left on device"), tmp_path), StorageError)


def test_a_refused_file_is_the_inputs_fault_and_is_named(tmp_path) -> None:
    error = explain(PermissionError(13, "Permission denied", "/data/a.tif"), tmp_path)
    assert isinstance(error, InputError)
    assert error.where == "/data/a.tif"


def test_a_lack_of_memory_is_told_as_such(tmp_path) -> None:
    error = explain(MemoryError(), tmp_path)
    assert failure_of(error).exit_code == 2
    assert "memory" in str(error)


def test_a_bug_stays_what_it_is(tmp_path) -> None:
    slip = KeyError("slip")
    assert explain(slip, tmp_path) is slip
    failure = failure_of(slip)
    assert (failure.type, failure.message, failure.exit_code) == ("KeyError", "'slip'", 1)


def test_an_error_without_text_has_its_name_as_message() -> None:
    assert failure_of(AssertionError()).message == "AssertionError"


@pytest.mark.parametrize(
    ("error", "name", "code"),
    [(SystemExit(143), "SIGTERM", 143), (KeyboardInterrupt(), "SIGINT", 130)],
)
def test_a_stopped_step_is_told_by_its_signal(error, name, code) -> None:
    failure = failure_of(error)
    assert failure.exit_code == code
    assert name in failure.message
