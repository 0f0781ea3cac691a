"""Containers in which runs are repeated: which image, and what it sees of this machine."""

import json
import os
import resource
import sys
from contextlib import ExitStack

import pytest

from parfocal.engine.repeat import container as repeat_container
from parfocal.engine.repeat.container import Image, built_image, image_here, mounts, place_in
from parfocal.engine.repeat.facts import Facts
from parfocal.engine.repeat.place import Work
from parfocal.errors import ConfigurationError, InputError

MANIFEST, OTHER, ID = (f"sha256:{digit * 64}" for digit in "123")
COMMIT = "a" * 40
LISTED = [
    {"Id": "9" * 64, "RepoDigests": None, "Labels": None},
    {
        "Id": ID.removeprefix("sha256:"),
        "RepoDigests": [f"quay.io/x/parfocal@{OTHER}", f"localhost/parfocal@{MANIFEST}"],
        "Labels": {"org.opencontainers.image.revision": COMMIT},
    },
]
PODMAN = """#!/bin/sh
echo "$@" >> '{folder}/called'
case "$1" in
    images) cat '{folder}/listed.json' ;;
    load) cp '{folder}/loaded.json' '{folder}/listed.json' ;;
esac
"""


@pytest.fixture
def podman(tmp_path, monkeypatch):
    """Return the folder of a podman that tells of images, and what it was called with."""
    folder = tmp_path / "podman"
    folder.mkdir()
    (folder / "podman").write_text(PODMAN.format(folder=folder))
    (folder / "podman").chmod(0o755)
    (folder / "loaded.json").write_text(json.dumps(LISTED))
    (folder / "listed.json").write_text(json.dumps(LISTED))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


class NoCheckout:
    """A checkout that builds no image, or one of a commit."""

    def __init__(self, folder, makes=None):
        self.commit, self.folder, self.makes, self.made = COMMIT, folder, makes, []

    def open(self, *_):
        self.made.append("environment")

    def make(self, target):
        self.made.append(target)
        if self.makes:
            write_build(self.folder / "build/container", self.makes)


def write_build(folder, manifest, archive=False):
    folder.mkdir(parents=True)
    told = f"PARFOCAL_IMAGE_DIGEST=localhost/parfocal@{manifest}\nPARFOCAL_IMAGE_ID={ID}\n"
    (folder / "image.env").write_text(told)
    if archive:
        (folder / "parfocal.oci.tar").write_text("")
    return folder


def built(checkout, *builds):
    with ExitStack() as stack:
        return built_image(checkout, stack, sys.executable, builds)


def test_an_image_is_known_by_the_digest_of_its_manifest(podman):
    assert image_here(MANIFEST) == Image(f"localhost/parfocal@{MANIFEST}", ID, COMMIT)
    assert image_here(OTHER).name == f"quay.io/x/parfocal@{OTHER}"
    assert image_here(f"sha256:{'4' * 64}") is None
    assert (podman / "called").read_text().splitlines() == ["images --no-trunc --format json"] * 3


def test_an_image_that_the_user_built_is_taken(podman, tmp_path):
    checkout = NoCheckout(tmp_path / "checkout")
    mine = write_build(tmp_path / "mine", MANIFEST)
    assert built(checkout, tmp_path / "none", mine).name == f"localhost/parfocal@{MANIFEST}"
    assert checkout.made == []


def test_it_is_loaded_where_podman_does_not_have_it(podman, tmp_path):
    (podman / "listed.json").write_text("[]")
    mine = write_build(tmp_path / "mine", MANIFEST, archive=True)
    assert built(NoCheckout(tmp_path), mine).identifier == ID
    assert f"load --quiet --input={mine}/parfocal.oci.tar" in (podman / "called").read_text()


def test_an_image_of_another_commit_is_not_taken_but_built(podman, tmp_path):
    checkout = NoCheckout(tmp_path / "checkout", makes=MANIFEST)
    checkout.commit = "b" * 40
    mine = write_build(tmp_path / "mine", MANIFEST)
    with pytest.raises(ConfigurationError, match="built no image of the commit"):
        built(checkout, mine)
    assert checkout.made == ["environment", "container"]
    checkout = NoCheckout(tmp_path / "other", makes=MANIFEST)
    assert built(checkout).commit == COMMIT
    assert checkout.made == ["environment", "container"]
    assert built(NoCheckout(tmp_path / "other")).commit == COMMIT  # of the cache


def test_without_podman_that_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match="There is no podman"):
        image_here(MANIFEST)


@pytest.fixture
def data(tmp_path):
    """Return a folder of files, of which one is a link to elsewhere."""
    for name in ("in/a.tif", "in/b/c.tif", "store/real.tif", "again/inputs/a.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "in/link.tif").symlink_to(tmp_path / "store/real.tif")
    return tmp_path


def test_folders_of_what_is_read_are_seen_and_no_others(data):
    folder = data / "again"
    reads = [data / "in/a.tif", data / "in/b/c.tif", data / "gone/x.tif", folder / "inputs/a.tif"]
    assert mounts(Work(folder, reads)) == [data / "in"]
    assert mounts(Work(folder, [data / "in/link.tif"])) == [data / "in", data / "store"]
    assert mounts(Work(folder, [])) == []


def test_of_shared_folders_the_file_alone_is_seen(data, monkeypatch):
    monkeypatch.setattr(repeat_container, "_SHARED", {data})
    (data / "own.tif").write_text("x")
    assert mounts(Work(data / "again", [data / "own.tif"])) == [data / "own.tif"]


@pytest.mark.parametrize("path", ["/etc/passwd", "/usr/bin/env", "/proc/self/maps"])
def test_files_of_the_system_are_refused(tmp_path, path):
    with pytest.raises(InputError, match="cannot be given what lies there"):
        mounts(Work(tmp_path, [tmp_path.__class__(path)]))


def test_a_path_that_podman_would_divide_is_refused(tmp_path):
    (tmp_path / "a:b").mkdir()
    (tmp_path / "a:b" / "c.tif").write_text("x")
    with pytest.raises(InputError, match="without ':'"):
        mounts(Work(tmp_path / "again", [tmp_path / "a:b" / "c.tif"]))
    with pytest.raises(InputError, match="without ':'"):
        mounts(Work(tmp_path / "a:b", []))


@pytest.mark.parametrize("network", [False, True])
def test_a_container_can_write_the_folder_alone(data, monkeypatch, network):
    monkeypatch.setattr(repeat_container, "facts_there", lambda *_: Facts("3.11.2"))
    place = place_in(Image(f"localhost/parfocal@{MANIFEST}", ID, COMMIT))
    work = Work(data / "again", [data / "in/a.tif"], network)
    place.check(work)
    command = place.start(work)
    volumes = [one for one in command if one.startswith("--volume")]
    assert volumes == [f"--volume={data}/in:{data}/in:ro", f"--volume={data}/again:{data}/again"]
    assert ("--network=none" in command) != network
    assert "--read-only" in command
    assert command[-2:] == [ID, "python"]
    assert f"--env=PARFOCAL_IMAGE_DIGEST=localhost/parfocal@{MANIFEST}" in command
    assert str(place.workflow) == "/opt/parfocal/project/workflows/analyse_images/Snakefile"


def test_a_container_asks_for_no_more_than_this_process_may_have():
    told = dict(one.removeprefix("--ulimit=").split("=") for one in repeat_container._limits())
    for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        soft, hard = map(int, told[name].split(":"))
        assert 0 < soft == hard
        most = resource.getrlimit(kind)[1]
        assert most == resource.RLIM_INFINITY or hard <= most
