"""The container image of a run, taken from podman or built of its commit, to repeat the run in."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.engine.repeat.checkout import Checkout
from parfocal.engine.repeat.facts import SNAKEFILE, facts_there
from parfocal.engine.repeat.place import Place, Work
from parfocal.engine.repeat.tools import call, clean_environment
from parfocal.errors import ConfigurationError, InputError

__all__ = ["Image", "built_image", "image_here", "mounts", "place_in"]

logger = logging.getLogger(__name__)

_HOME = Path("/opt/parfocal")
_PROJECT = _HOME / "project"
_TIMEOUT_S = 900
_TOLD = re.compile(r"PARFOCAL_IMAGE_DIGEST=(\S+@sha256:[0-9a-f]{64})\nPARFOCAL_IMAGE_ID=(\S+)\n")
_CLOSED = ("--rm", "--read-only", "--security-opt=label=disable")
_MOST_PROCESSES = 4096
_SYSTEM = {"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "usr"}
_SHARED = frozenset(map(Path, ("/", "/opt", "/tmp", "/var")))  # noqa: S108


@dataclass(frozen=True)
class Image:
    """An image that podman has.

    Parameters
    ----------
    name : str
        With the digest of its manifest.
    identifier : str
        The digest of its configuration.
    commit : str
        What it says that it was built of.
    """

    name: str
    identifier: str
    commit: str


@dataclass(frozen=True)
class _Container(Place):
    image: Image = Image("", "", "")

    def check(self, work: Work) -> None:
        """Refuse what a container cannot be given."""
        mounts(work)

    def start(self, work: Work) -> list[str]:
        """Return what starts a container that sees the folder and what is read, and no more."""
        mounted = mounts(work)
        return [
            *("podman", "run", *_CLOSED, *_limits(), *_user()),
            *([] if work.network else ["--network=none"]),
            f"--env=PARFOCAL_IMAGE_DIGEST={self.image.name}",
            f"--env=PARFOCAL_IMAGE_ID={self.image.identifier}",
            *(f"--volume={path}:{path}:ro" for path in mounted),
            f"--volume={work.folder}:{work.folder}",
            *(f"--workdir={work.folder}", self.image.identifier, self.python),
        ]


def image_here(digest: str) -> Image | None:
    """Return the image that podman has by the digest of its manifest; None where it has none.

    Raises
    ------
    ConfigurationError
        If there is no podman, or it does not tell.
    """
    for image in _listed():
        for name in image.get("RepoDigests") or ():
            if name.endswith(f"@{digest}"):
                return _image(name, image)
    return None


def built_image(checkout: Checkout, stack: ExitStack, python: str, builds: Iterable[Path]) -> Image:
    """Return the image of a commit, built where podman does not have it.

    Parameters
    ----------
    checkout : Checkout
        That of the commit.
    builds : iterable of Path
        Folders in which the user had images built; one that is of the commit will do.

    Raises
    ------
    ConfigurationError
        If it cannot be built.
    """
    for folder in builds:
        if (image := _built(folder)) and image.commit == checkout.commit:
            return image
    checkout.open(stack, python)
    folder = checkout.folder / "build" / "container"
    image = _built(folder)
    if image is None or image.commit != checkout.commit:
        logger.info("Building the container image of commit %s", checkout.commit)
        checkout.make("container")
        image = _built(folder)
    if image is None or image.commit != checkout.commit:
        what = "'make container' has built no image of the commit"
        raise ConfigurationError(what, where=folder)
    return image


def place_in(image: Image) -> Place:
    """Return the environment of an image.

    Raises
    ------
    ConfigurationError
        If it has no Parfocal.
    """
    closed = ("podman", "run", *_CLOSED, *_limits(), "--network=none")
    start = (*closed, image.identifier, "python")
    facts = facts_there(start, _PROJECT, image.commit, image.name)
    workflow, variables = _PROJECT / SNAKEFILE, clean_environment()
    return _Container(image.name, facts, "python", workflow, variables, image=image)


def mounts(work: Work) -> list[Path]:
    """Return the folders that are seen read-only, each at its own path.

    Of a file it is the folder that it lies in, since those of a set belong together; the file
    alone where that folder is one that a container has itself. Links are followed.

    Raises
    ------
    InputError
        If something lies where a container has its own files, or cannot be named to podman.
    """
    paths = {one for path in work.reads for one in (path.absolute(), path.resolve())}
    shown = {path if path.parent in _SHARED else path.parent for path in paths if path.exists()}
    shown = {path for path in shown if not path.is_relative_to(work.folder)}
    for path in (work.folder, *sorted(shown)):
        owned = path.parts[1:2] and (path.parts[1] in _SYSTEM or path.is_relative_to(_HOME))
        if ":" in str(path) or owned or path == Path("/"):
            what = "A container cannot be given what lies there"
            expected = "a path without ':', that is none of the system's"
            remedy = "Put it elsewhere, and name that with --map; or take --environment here."
            raise InputError(what, where=ascii(str(path))[1:-1], expected=expected, remedy=remedy)
    return sorted(path for path in shown if shown.isdisjoint(path.parents))


def _limits() -> list[str]:
    """Return options that ask for no more than this process may have.

    What podman asks for otherwise, root may not have in a virtual machine or in a container.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    few = _MOST_PROCESSES if processes < 0 else min(processes, _MOST_PROCESSES)
    return [f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={few}:{few}"]


def _user() -> list[str]:
    """Return options by which files belong to who runs this."""
    return ["--user=0:0"] if os.getuid() == 0 else ["--userns=keep-id"]


def _listed() -> Iterator[dict[str, Any]]:
    told = call(["podman", "images", "--no-trunc", "--format", "json"], timeout_s=_TIMEOUT_S)
    try:
        yield from json.loads(told) or ()
    except ValueError as error:
        what = "podman does not tell which images it has"
        raise ConfigurationError(what, found=error) from error


def _built(folder: Path) -> Image | None:
    """Return the image that was built into a folder; podman takes it from there, if need be."""
    told = folder / "image.env"
    match = _TOLD.fullmatch(told.read_text(encoding="utf-8")) if told.is_file() else None
    if match is None:
        return None
    image = _by_id(match[1], match[2])
    archive = folder / "parfocal.oci.tar"
    if image is None and archive.is_file():
        call(["podman", "load", "--quiet", f"--input={archive}"], timeout_s=_TIMEOUT_S)
        image = _by_id(match[1], match[2])
    return image


def _by_id(name: str, identifier: str) -> Image | None:
    found = (one for one in _listed() if f"sha256:{one.get('Id')}" == identifier)
    return next((_image(name, one) for one in found), None)


def _image(name: str, listed: dict[str, Any]) -> Image:
    commit = (listed.get("Labels") or {}).get("org.opencontainers.image.revision", "not known")
    return Image(name, f"sha256:{listed['Id']}", commit)
