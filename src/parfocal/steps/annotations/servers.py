"""The servers that a plan is for, each with its journal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.core.lease import Lease
from parfocal.errors import InputError
from parfocal.models.annotation_plan import AnnotationPlan

if TYPE_CHECKING:
    from parfocal.models.omero_server import OmeroServer
    from parfocal.omero.annotate.journal import Journal

__all__ = ["check_logins", "journal_path", "open_journal", "plans_by_server"]

FOLDER = "annotations"
"""The folder of journals, in the results folder."""


def plans_by_server(plan: AnnotationPlan) -> dict[OmeroServer, AnnotationPlan]:
    """Divide a plan by the servers of its targets."""
    from parfocal.omero.annotate.targets import parse_target

    servers = {target.target: parse_target(target.target).server for target in plan.targets}
    return {
        server: plan.model_copy(
            update={"targets": tuple(t for t in plan.targets if servers[t.target] == server)}
        )
        for server in dict.fromkeys(servers.values())
    }


def check_logins(targets: Iterable[str]) -> None:
    """Make sure, without a connection, that there is something to log in with.

    Parameters
    ----------
    targets : iterable of str
        URIs of what is to be annotated.

    Raises
    ------
    InputError
        If omero-py is not installed, or there is no login for a server.
    """
    from parfocal.omero.annotate.targets import parse_target
    from parfocal.omero.credentials import find_credentials
    from parfocal.omero.loading import check_installed

    servers = dict.fromkeys(parse_target(target).server for target in targets)
    if servers:
        check_installed()
    for server in servers:
        find_credentials(server)


def journal_path(results: Path, server: OmeroServer) -> Path:
    """Return where the journal of a server lies in a results folder."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", server.address)
    return results / FOLDER / f"{name}.jsonl"


@contextmanager
def open_journal(
    results: Path, server: OmeroServer, *, must_exist: bool = False
) -> Iterator[Journal]:
    """Open the journal of a server, for this process alone.

    Parameters
    ----------
    results : Path
        The results folder.
    server : OmeroServer
        The server.
    must_exist : bool
        Whether it is an error that there is none.

    Raises
    ------
    StorageError
        If another living process holds it, or the results folder cannot be written to.
    LeaseLostError
        From a change of the journal, once another process has taken it over.
    InputError
        If it is damaged, or missing where it must not be.
    """
    from parfocal.omero.annotate.journal import Journal

    path = journal_path(results, server)
    if must_exist and not path.exists():
        what = "The results folder has no journal of what was written to this OMERO server"
        remedy = "Name the results folder that the plan was applied from."
        raise InputError(what, where=path, remedy=remedy)
    with Lease(path) as lease:
        yield Journal(path, lease.check)
