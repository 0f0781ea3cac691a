import pytest

from parfocal.cli.params import read_params
from parfocal.cli.step_command import make_parser
from parfocal.errors import ConfigurationError
from parfocal.models.documents import parse_document
from parfocal.steps import load_step
from unit.toy_steps import MAKE, FixedThreshold, MakeParams, OtsuThreshold


def refused(given=None, *settings):
    with pytest.raises(ConfigurationError) as caught:
        read_params(MAKE, given, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_any_the_defaults_hold() -> None:
    assert read_params(MAKE, None, []) == MakeParams()


OTSU = MakeParams(repeat=3, threshold=OtsuThreshold(offset=0.001))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.yaml", "repeat: 3\nthreshold:\n  method: otsu\n  offset: 0.001\n"),
        ("p.json", '{"repeat": 3, "threshold": {"method": "otsu", "offset": 1e-3}}'),
        ("p with {odd} $name", "{repeat: 3, threshold: {method: otsu, offset: 1.0e-3}}"),
    ],
)
def test_yaml_and_json_files_say_the_same(tmp_path, name, content) -> None:
    (tmp_path / name).write_text(content)
    assert read_params(MAKE, str(tmp_path / name), []) == OTSU


def test_json_may_stand_on_the_command_line() -> None:
    given = ' {"repeat": 3, "threshold": {"method": "otsu", "offset": 1e-3}}'
    assert read_params(MAKE, given, []) == OTSU


@pytest.mark.parametrize("text", ["on", "1", "a: b", "$HOME", "'q' \"r\"", "\U0001f52c ü", "{x}"])
def test_text_in_json_stays_what_it_is(text) -> None:
    import json

    assert read_params(MAKE, json.dumps({"label": text}), []).label == text


def test_settings_come_last_and_reach_into_variants() -> None:
    settings = ["threshold.method=otsu", "threshold.offset=1e-3", "repeat=3"]
    assert read_params(MAKE, '{"repeat": 2}', settings) == OTSU
    given = '{"threshold": {"method": "fixed", "value": 0.1}}'
    params = read_params(MAKE, given, ["threshold.value=0.2", "label=a=b"])
    assert params == MakeParams(label="a=b", threshold=FixedThreshold(value=0.2))


@pytest.mark.parametrize("setting", ["repeat", "=3", "threshold.=1", ".x=1", "a..b=1"])
def test_settings_that_are_not_key_and_value_are_refused(setting) -> None:
    assert f"--set {setting}" in refused(None, setting)


def test_a_setting_into_a_plain_value_is_refused() -> None:
    assert "'repeat', which is a value" in refused('{"repeat": 2}', "repeat.x=1")


def test_an_unknown_parameter_is_told_the_nearest() -> None:
    text = refused('{"repaet": 2}')
    assert "repaet: there is no such field, did you mean 'repeat'? (found 2)" in text
    assert "'parfocal schema make-image'" in text
    assert "did you mean 'offset'?" in refused(None, "threshold.method=otsu", "threshold.ofset=1")
    assert "did you mean" not in refused('{"qqq": 2}')


def test_bounds_and_types_are_told_with_what_was_found() -> None:
    text = refused('{"repeat": 0, "label": 5}')
    assert "repeat: must be greater than or equal to 1 (found 0)" in text
    assert "label: must be a text (found 5)" in text
    assert len(refused(f'{{"repeat": "{"x" * 500}"}}')) < 400


@pytest.mark.parametrize("document", ['{"repeat": 1, "repeat": 2}', "repeat: 1\nrepeat: 2\n"])
def test_a_parameter_that_is_given_twice_is_refused(tmp_path, document) -> None:
    (tmp_path / "p.yaml").write_text(document)
    assert "'repeat' is given twice" in refused(str(tmp_path / "p.yaml"))


@pytest.mark.parametrize("content", ["[1]", "text", "3", "", "a: [", "{", "a: b: c", "? [x]\n: 1"])
def test_what_is_no_mapping_is_refused_with_the_file(tmp_path, content) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(content)
    assert str(path) in refused(str(path))


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path) -> None:
    assert "none.yaml" in refused(str(tmp_path / "none.yaml"))
    (tmp_path / "p.yaml").write_bytes(b"label: \xff")
    assert "p.yaml" in refused(str(tmp_path / "p.yaml"))
    assert "cannot be read" in refused(str(tmp_path))


def test_yaml_cannot_run_code() -> None:
    with pytest.raises(ConfigurationError):
        parse_document("!!python/object/apply:os.getcwd []", "x")


def test_merged_yaml_mappings_are_no_doubled_keys() -> None:
    text = "base: &b {x: 1, y: 2}\nother:\n  <<: *b\n  x: 3\n"
    assert parse_document(text, "x")["other"] == {"x": 3, "y": 2}


def test_what_is_true_or_false_is_an_option_of_its_own():
    parser = make_parser(load_step("convert-image"))
    options = parser.parse_args(["--all-series", "--set", "level=3", "--halve-z"])
    params = read_params(load_step("convert-image"), None, options.set)
    assert params.all_series
    assert params.halve_z
    assert not params.labels
    later = parser.parse_args(["--all-series", "--set", "all_series=false"])
    assert not read_params(load_step("convert-image"), None, later.set).all_series
    assert "--recursive" in make_parser(load_step("list-images")).format_help()
