"""Environments of commits: made of a repository, whole or not at all, and used again."""

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from platform import python_version

import pytest

from parfocal.core.digest import digest_path
from parfocal.engine.repeat.checkout import Checkout, python_for
from parfocal.engine.repeat.place import Work, place_at
from parfocal.errors import ConfigurationError, StorageError

FACTS = {
    "python": "3.11.0",
    "packages": [["Some_Package", "1.0"], ["parfocal", "0.0.1"]],
    "behaviours": {"filter-image": "1"},
    "lock": "some-package==1.0\n",
    "workflow": "rule all:\n",
}
MAKEFILE = """\
workflow-env:
\techo made$(PYTHONPATH) >> $(MADE)
\tmkdir -p .venv/bin
\tprintf '#!/bin/sh\\ncat facts.json\\n' > .venv/bin/python
\tcp facts.json .venv/bin/facts.json
\tsed -i 's#facts.json#"$$(dirname "$$0")/facts.json"#' .venv/bin/python
\tchmod +x .venv/bin/python
"""


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder, **files):
    """Commit files, and return the commit."""
    for name, text in files.items():
        path = folder / {"lock": "envs/workflow.lock.txt", "facts": "facts.json"}.get(name, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "More")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return a repository whose environments are made in no time; its first commit is HEAD."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gitignore").write_text(".venv/\n")
    commit(folder, Makefile=MAKEFILE, facts=json.dumps(FACTS), lock=FACTS["lock"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MADE", str(tmp_path / "made"))
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    return folder


def times_made(repository):
    path = repository.parent / "made"
    return len(path.read_text().splitlines()) if path.exists() else 0


def opened(repository, at, lock=None):
    with ExitStack() as stack:
        return Checkout(at, lock, str(repository)).open(stack, sys.executable)


def left(repository):
    folder = repository.parent / "cache/parfocal/environments"
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def test_the_environment_of_an_old_commit_is_made_and_used_again(repository):
    old = git(repository, "rev-parse", "HEAD")
    new = commit(repository, lock="other==2\n")
    lock = digest_path(repository.parent / "repository/envs/workflow.lock.txt")
    facts = opened(repository, old)
    assert (facts.commit, facts.python, facts.container) == (old, "3.11.0", "none")
    assert facts.packages["some-package"] == "1.0"
    assert facts.lock_digest != lock
    assert opened(repository, old) == facts
    assert (repository.parent / "made").read_text() == "made\n"  # and nothing of PYTHONPATH
    assert left(repository) == [old]
    assert git(repository, "rev-parse", "HEAD") == new


def test_what_runs_in_it_is_told_what_it_is_and_nothing_of_here(repository, monkeypatch):
    monkeypatch.setenv("PARFOCAL_IMAGE_DIGEST", "x")
    head, lock = git(repository, "rev-parse", "HEAD"), repository / "envs/workflow.lock.txt"
    checkout = Checkout(head, None, str(repository))
    with ExitStack() as stack:
        place = place_at(checkout, stack, sys.executable)
    assert place.variables["PARFOCAL_COMMIT"] == head
    assert place.variables["PARFOCAL_LOCK_DIGEST"] == digest_path(lock)
    assert place.variables["PARFOCAL_LOCK"] == f"{checkout.folder}/envs/workflow.lock.txt"
    assert place.variables["PATH"].startswith(f"{checkout.folder}/.venv/bin:")
    assert {"PARFOCAL_IMAGE_DIGEST", "PYTHONPATH"}.isdisjoint(place.variables)
    assert place.workflow == checkout.folder / "workflows/analyse_images/Snakefile"
    assert place.start(Work(repository)) == [f"{checkout.folder}/.venv/bin/python"]


@pytest.mark.parametrize("change", ["code", "added", "packages", "mark"])
def test_one_that_was_changed_or_is_not_whole_is_made_anew(repository, change, caplog):
    head = git(repository, "rev-parse", "HEAD")
    checkout = Checkout(head, None, str(repository))
    opened(repository, head)
    if change == "code":
        (checkout.folder / "Makefile").write_text("workflow-env:\n\texit 1\n")
    elif change == "added":
        (checkout.folder / "src").mkdir(exist_ok=True)
        (checkout.folder / "src/numpy.py").write_text("")
    elif change == "packages":
        other = FACTS | {"packages": [["some-package", "1.1"]]}
        (checkout.folder / ".venv/bin/facts.json").write_text(json.dumps(other))
    else:
        (checkout.folder / ".venv/.whole").unlink()
    assert opened(repository, head).packages["some-package"] == "1.0"
    assert times_made(repository) == 2
    assert ("is made anew" in caplog.text) == (change != "mark")


def test_two_at_once_make_one(repository):
    head = git(repository, "rev-parse", "HEAD")
    commit(repository, Makefile=MAKEFILE.replace("\tmkdir", "\tsleep 0.3\n\tmkdir"))
    head = git(repository, "rev-parse", "HEAD")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(opened(repository, head))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [facts.commit for facts in found] == [head, head]
    assert times_made(repository) == 1


def test_what_fails_leaves_nothing(repository):
    head = commit(repository, Makefile="workflow-env:\n\tmkdir .venv; exit 3\n")
    with pytest.raises(ConfigurationError, match="'make' failed"):
        opened(repository, head)
    assert left(repository) == []


@pytest.mark.parametrize("kind", ["unknown", "of no branch", "only fetched"])
def test_commits_that_are_in_no_branch_are_refused(repository, kind):
    at = "f" * 40
    if kind != "unknown":
        git(repository, "checkout", "-q", "-b", "strange")
        at = commit(repository, lock="strange==1\n")
        git(repository, "checkout", "-q", "main")
        if kind == "only fetched":  # as GitHub has the requests of strangers
            git(repository, "update-ref", "refs/pull/1/head", at)
        git(repository, "branch", "-q", "-D", "strange")
    with pytest.raises(ConfigurationError, match="no such commit in its branches and tags"):
        opened(repository, at)
    assert left(repository) == []
    assert times_made(repository) == 0


@pytest.mark.parametrize("where", ["tag", "detached"])
def test_commits_of_tags_and_of_the_head_will_do(repository, where):
    git(repository, "checkout", "-q", "--detach")
    at = commit(repository, note="x")
    if where == "tag":
        git(repository, "tag", "v1")
        git(repository, "checkout", "-q", "main")
    assert opened(repository, at).commit == at


def test_a_commit_with_another_lock_file_is_refused(repository):
    head = git(repository, "rev-parse", "HEAD")
    with pytest.raises(ConfigurationError, match="lock file of the commit is not the recorded"):
        opened(repository, head, f"sha256:{'0' * 64}")
    assert times_made(repository) == 0
    assert opened(repository, head, digest_path(repository / "envs/workflow.lock.txt"))


def test_a_repository_that_is_none_is_told(repository):
    with pytest.raises(ConfigurationError, match="'git clone' failed"):
        opened("/nowhere", "f" * 40)
    assert left(repository) == []


def test_a_checkout_does_not_say_where_it_came_from(repository):
    head = git(repository, "rev-parse", "HEAD")
    opened(repository, head)
    folder = repository.parent / "cache/parfocal/environments" / head
    assert git(folder, "remote") == ""
    assert str(repository) not in (folder / ".git/config").read_text()


def test_a_repository_is_never_an_option(repository, monkeypatch):
    head = git(repository, "rev-parse", "HEAD")
    repository.rename(repository.parent / "--bare")
    monkeypatch.chdir(repository.parent)
    assert opened("--bare", head).commit == head


def test_without_git_that_is_told(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match="There is no git"):
        opened(repository, "f" * 40)


def test_the_python_is_that_of_the_run_where_there_is_one(tmp_path, monkeypatch):
    (tmp_path / "python3.9").write_text("")
    (tmp_path / "python3.9").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert python_for("3.9.7") == str(tmp_path / "python3.9")
    assert python_for(None) == python_for("3.8.1") == python_for(python_version())


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link", "folder"])
def test_a_lock_that_is_no_file_is_refused_and_left_as_it_is(repository, kind):
    head = git(repository, "rev-parse", "HEAD")
    lock = repository.parent / f"cache/parfocal/environments/{head}.lock"
    lock.parent.mkdir(parents=True)
    other = repository.parent / "other"
    if kind == "pipe":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(other)
    if kind == "link":
        other.write_text("precious")
    with pytest.raises(StorageError, match=r"is no file: .*\.lock\. Remove it"):
        opened(repository, head)
    assert times_made(repository) == 0
    assert other.exists() == (kind == "link")
    assert kind != "link" or other.read_text() == "precious"


def test_a_lock_is_not_emptied(repository):
    head = git(repository, "rev-parse", "HEAD")
    lock = repository.parent / f"cache/parfocal/environments/{head}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("kept")
    opened(repository, head)
    assert lock.read_text() == "kept"
