"""What a user of Galaxy is told to do."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from parfocal.cli.galaxy_words import in_words_of_galaxy
from parfocal.cli.main import main
from rules.runs import ROOT, write_blobs

REMEDIES = {
    "Apply the plan again with 'parfocal apply-annotations'.": (
        "Apply the plan again with 'Apply annotations'."
    ),
    "Write one with 'parfocal list-images --set source=FOLDER --sheet samples.tsv'.": (
        "Write one with 'List images'."
    ),
    "Give --source, or --certificate, or both.": "Give 'Source', or 'Certificate', or both.",
    "Give a flat field: --flat-field, or the column flat_field of the sheet.": (
        "Give a flat field: 'Flat field', or the column flat_field of the sheet."
    ),
    "State what the axes are, such as --set axes=CZYX.": (
        "State what the axes are, such as axes=CZYX."
    ),
    "Install them with: pip install 'parfocal[distributed]'": (
        "For the administrator of this Galaxy: Install them with: "
        "pip install 'parfocal[distributed]'"
    ),
    "'parfocal login' tells what is wrong with it.": (
        "For the administrator of this Galaxy: 'parfocal login' tells what is wrong with it."
    ),
    "Check that the file is whole.": "Check that the file is whole.",
}


@pytest.mark.parametrize("remedy", REMEDIES)
def test_a_remedy_names_tools_and_fields(remedy: str) -> None:
    assert in_words_of_galaxy(remedy) == REMEDIES[remedy]


def test_a_tool_is_called_as_its_xml_says() -> None:
    files = sorted((ROOT / "galaxy_tools").glob("*/*.xml"))
    tools = [root for root in (ET.parse(file).getroot() for file in files) if root.tag == "tool"]
    assert len(tools) > 15
    for tool in tools:
        command = tool.attrib["id"].removeprefix("parfocal_").replace("_", "-")
        assert in_words_of_galaxy(f"'parfocal {command}'") == f"'{tool.attrib['name']}'"


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("galaxy", "Give 'Source', or 'Certificate', or both."),
        ("shell", "Give --source, or --certificate, or both."),
    ],
)
def test_the_command_speaks_to_users_of_galaxy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    engine: str,
    told: str,
) -> None:
    monkeypatch.setenv("PARFOCAL_ENGINE", engine)
    write_blobs(tmp_path / "a.tif")
    image, verification = str(tmp_path / "a.tif"), str(tmp_path / "v.json")
    assert main(["verify-image", "--image", image, "--verification", verification]) == 2
    assert told in capsys.readouterr().err
