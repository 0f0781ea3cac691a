"""What is installed in other versions than the lock file of a run names."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from parfocal.engine import lock_file
from parfocal.engine.lock_file import (
    locked_versions,
    unlocked_here,
    unlocked_packages,
    unlocked_text,
)

ROOT = Path(__file__).parents[2]
LOCK = """\
attrs==1.0 \\
    --hash=sha256:00
colorama==0.4 ; sys_platform == 'win32' \\
    --hash=sha256:11
deprecated==1.3.1 ; python_full_version < '3.12' \\
    --hash=sha256:22
deprecated==3.0.1 ; python_full_version >= '3.12' \\
    --hash=sha256:33
dask[array]==2.0
Zope.Interface==5.1
    # via attrs==9.9
"""


@pytest.fixture
def site(tmp_path):
    """Return a function that lays out packages as if they were installed."""

    def lay_out(*names, folder="site"):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
        return str(tmp_path / folder)

    return lay_out


def test_a_lock_file_names_versions_and_where_markers_are_none_at_all():
    assert locked_versions(LOCK) == {
        "attrs": {"1.0"},
        "colorama": {"0.4", None},
        "deprecated": {"1.3.1", "3.0.1", None},
        "dask": {"2.0"},
        "zope-interface": {"5.1"},
    }


def test_what_is_installed_in_another_version_is_told(site):
    names = ["attrs-1.1.dist-info", "deprecated-2.0.dist-info", "dask-2.0.dist-info"]
    names += ["zope.interface-5.0-py3.11.egg-info", "other-7.dist-info", "~ask-1.0.dist-info"]
    assert unlocked_packages(LOCK, [site(*names)]) == {
        "attrs": "1.1",
        "deprecated": "2.0",
        "zope-interface": "5.0",
    }


@pytest.mark.parametrize("version", ["1.3.1", "3.0.1"])
def test_what_is_as_locked_or_not_there_is_no_difference(site, version):
    names = [
        "attrs-1.0.dist-info",
        f"Deprecated-{version}.dist-info",
        "zope_interface-5.1.dist-info",
    ]
    assert unlocked_packages(LOCK, [site(*names)]) == {}


def test_the_first_on_the_path_counts_as_python_imports_it(site, tmp_path):
    wrong = site("attrs-1.1.dist-info", folder="first")
    right = site("attrs-1.0.dist-info", folder="second")
    absent = str(tmp_path / "absent.zip")
    assert unlocked_packages(LOCK, [absent, wrong, right]) == {"attrs": "1.1"}
    assert unlocked_packages(LOCK, [absent, right, wrong]) == {}


@pytest.mark.parametrize("name", ["workflow", "parfocal", "dev"])
def test_this_environment_is_as_the_lock_files_name_it(name):
    text = (ROOT / f"envs/{name}.lock.txt").read_text(encoding="utf-8")
    assert unlocked_packages(text) == {}
    changed = text.replace("\nnumpy==", "\nnumpy==0.")
    assert list(unlocked_packages(changed)) == ["numpy"]


def told(monkeypatch, digest=None, lock=None, project=None):
    """Let a process be told of a lock file by its environment."""
    told = {"LOCK_DIGEST": digest, "LOCK": lock, "PROJECT": project}
    for name, value in told.items():
        monkeypatch.delenv(f"PARFOCAL_{name}", raising=False)
        if value is not None:
            monkeypatch.setenv(f"PARFOCAL_{name}", str(value))


@pytest.fixture
def lock(tmp_path, site, monkeypatch):
    """Return a lock file and its digest, from which what is installed differs."""
    path = tmp_path / "project/envs/workflow.lock.txt"
    path.parent.mkdir(parents=True)
    path.write_text(LOCK)
    monkeypatch.setattr(sys, "path", [site("attrs-1.1.dist-info"), *sys.path])
    return path, f"sha256:{hashlib.sha256(LOCK.encode()).hexdigest()}"


def test_a_process_measures_by_the_lock_file_of_its_run(lock, monkeypatch):
    path, digest = lock
    told(monkeypatch, digest, path)
    assert unlocked_here()["attrs"] == "1.1"
    assert unlocked_text().startswith(
        f"Packages are installed in other versions than the lock file names: {path}; found "
    )
    assert "attrs 1.1" in unlocked_text()
    assert "'make workflow-env'" in unlocked_text()


def test_in_a_container_the_lock_file_is_found_in_its_project(lock, monkeypatch, tmp_path):
    path, digest = lock
    told(monkeypatch, digest, tmp_path / "of the machine around it", path.parents[1])
    assert unlocked_here()["attrs"] == "1.1"


@pytest.mark.parametrize("lacking", ["digest", "file", "content"])
def test_a_process_that_finds_no_such_lock_file_tells_that_nobody_looked(
    lock, monkeypatch, tmp_path, lacking
):
    path, digest = lock
    if lacking == "content":
        path.write_text(LOCK + "more==1\n")
    told(
        monkeypatch,
        None if lacking == "digest" else digest,
        tmp_path / "absent" if lacking == "file" else path,
    )
    assert unlocked_here() is None
    assert unlocked_text() is None


def test_where_all_is_as_locked_that_is_told(lock, monkeypatch, site):
    monkeypatch.setattr(sys, "path", [site("attrs-1.0.dist-info", folder="right")])
    told(monkeypatch, lock[1], lock[0])
    assert unlocked_here() == {}
    assert unlocked_text() is None


def test_it_is_measured_once_in_a_process(lock, monkeypatch):
    asked = []
    monkeypatch.setattr(lock_file, "unlocked_packages", lambda text: asked.append(text) or {})
    told(monkeypatch, lock[1], lock[0])
    unlocked_here()["changed"] = "by a caller"
    assert unlocked_here() == {}
    assert asked == [LOCK]


def test_many_differences_are_counted(tmp_path, monkeypatch, site):
    path = tmp_path / "lock.txt"
    path.write_text("".join(f"p{n}==1\n" for n in range(7)))
    monkeypatch.setattr(sys, "path", [site(*(f"p{n}-2.dist-info" for n in range(7)))])
    told(monkeypatch, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}", path)
    assert "p4 2, and 2 more. " in unlocked_text()
    assert os.environ["PARFOCAL_LOCK"] in unlocked_text()
