"""The commands as the tools of Galaxy call them, and what a user of Galaxy sees of them."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree as ET

from unit.toy_runs import make, run


def galaxy(*args, cwd):
    return run(*args, cwd=cwd, PARFOCAL_ENGINE="galaxy")


def written(folder, **values):
    (folder / "a.txt").write_text("hello")
    (folder / "params.json").write_text(json.dumps(values))
    (folder / "name").write_text("it's an image.tif\n")
    return ["--galaxy-params", "params.json", "--image-id-file", "name", "--record", "r.json"]


def test_the_form_and_the_name_come_from_files(tmp_path):
    fixed = {"method": "fixed", "value": 0.25, "__current_case__": 0}
    options = written(tmp_path, source="/data/a.dat", repeat=2, label="it's", threshold=fixed)
    assert galaxy(*make(*options), cwd=tmp_path).returncode == 0
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["image_id"].startswith("it_s_an_image-")
    assert record["engine"]["name"] == "galaxy"
    assert record["parameters"]["repeat"] == 2
    assert record["parameters"]["label"] == "it's"
    assert record["parameters"]["threshold"] == {"method": "fixed", "value": 0.25}


def test_the_record_tells_the_number_of_the_job(tmp_path):
    options = written(tmp_path)
    home = "/galaxy/jobs/000/12/home"
    told = {"PARFOCAL_ENGINE": "galaxy 26.1", "_GALAXY_JOB_HOME_DIR": home, "SLURM_JOB_ID": "7"}
    assert run(*make(*options), cwd=tmp_path, **told).returncode == 0
    engine = json.loads((tmp_path / "r.json").read_text())["engine"]
    assert engine == {"name": "galaxy", "version": "26.1", "job_id": "12"}


def test_settings_come_after_the_form(tmp_path):
    options = written(tmp_path, repeat=2)
    assert galaxy(*make(*options, "--set", "repeat=3"), cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "r.json").read_text())["parameters"]["repeat"] == 3


def test_parameters_from_two_places_are_refused(tmp_path):
    options = written(tmp_path)
    done = galaxy(*make(*options, "--params", "{}"), cwd=tmp_path)
    assert done.returncode == 2
    assert "--params and --galaxy-params" in done.stderr


def test_all_but_errors_goes_to_stdout(tmp_path):
    options = written(tmp_path, action="warn")
    done = galaxy(*make(*options), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "parfocal: WARNING: The toy squeaks" in done.stdout
    assert "parfocal: INFO: make-image wrote" in done.stdout


def test_the_first_line_of_stderr_says_what_to_do(tmp_path):
    options = written(tmp_path, action="input")
    done = galaxy(*make(*options), cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("parfocal: ERROR: The toy is broken")
    assert line.endswith("Glue it.")


def test_the_schema_command_prints_the_form():
    command = [sys.executable, "-m", "parfocal", "schema", "filter-image", "--galaxy"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    form = ET.fromstring(text).find("xml[@name='parameters']")
    assert [part.get("name") for part in form] == ["filter", "mode", "channels"]
    assert [when.get("value") for when in form.find("conditional")[1:]] == [
        "gaussian",
        "median",
        "difference_of_gaussians",
        "subtract_mean",
        "top_hat",
    ]


def test_an_error_calls_the_image_by_its_name(tmp_path):
    options = written(tmp_path)
    (tmp_path / "a.txt").unlink()
    done = galaxy(*make(*options), cwd=tmp_path)
    assert done.returncode == 2
    assert ": it's an image.tif" in done.stderr
    assert "a.txt" not in done.stderr


def test_an_image_is_told_by_its_row(tmp_path):
    options = written(tmp_path)
    (tmp_path / "row.tsv").write_text("image_id\tsource\twell\nof-the-row\ta.txt\tB03\n")
    assert galaxy(*make(*options, "--row-file", "row.tsv"), cwd=tmp_path).returncode == 0
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["image_id"] == "of-the-row"
    assert record["row"]["well"] == "B03"


def test_several_rows_are_not_that_of_an_image(tmp_path):
    options = written(tmp_path)
    (tmp_path / "row.tsv").write_text("image_id\tsource\na\ta.txt\nb\ta.txt\n")
    done = galaxy(*make(*options, "--row-file", "row.tsv"), cwd=tmp_path)
    assert done.returncode == 2
    assert "found 2 rows" in done.stderr
