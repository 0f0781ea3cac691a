"""The journal of annotations as one dataset of Galaxy; in a results folder each server has its own.

The datasets of earlier jobs are all that knows what a job before left on a server.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal.errors import ConfigurationError, InputError
from parfocal.models.source import OmeroSource, parse_source

if TYPE_CHECKING:
    from parfocal.models.omero_server import OmeroServer

__all__ = ["put_journal"]


def put_journal(dataset: Path, results: Path) -> None:
    """Lay out a journal in a results folder, each line as it is.

    Parameters
    ----------
    dataset : Path
        The journals of all servers, one after the other. A last line that was cut is left out.
    results : Path
        The results folder; it has no journal yet.

    Raises
    ------
    InputError
        If the file cannot be read, or is no journal.
    """
    from parfocal.steps.annotations.servers import journal_path

    parts: dict[Path, list[bytes]] = defaultdict(list)
    places: dict[str, Path] = {}
    for number, line in enumerate(_lines(dataset), 1):
        try:
            change = json.loads(line)
            if "begin" in change:
                server = _server(change["begin"]["target"])
                places[_token(change)] = journal_path(results, server)
            parts[places[_token(change)]].append(line)
        except (ValueError, KeyError, TypeError, ConfigurationError) as error:
            what = "The dataset is no journal of annotations, or is damaged"
            remedy = "Choose the newest dataset 'Journal of annotations' as it came."
            where = f"{dataset}, line {number}"
            raise InputError(what, where=where, found=error, remedy=remedy) from error
    for path, lines in parts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(line + b"\n" for line in lines))


def _lines(dataset: Path) -> list[bytes]:
    try:
        *lines, _ = dataset.read_bytes().split(b"\n")
    except OSError as error:
        what = "The journal of annotations cannot be read"
        raise InputError(what, where=dataset, found=error) from error
    return lines


def _token(change: Any) -> str:
    """Return what a line is about."""
    if "begin" in change:
        return str(change["begin"]["token"])
    return str(change["made"] if "made" in change else change["gone"])


def _server(target: str) -> OmeroServer:
    source = parse_source(target)
    if not isinstance(source, OmeroSource):
        what = "The target is no object on an OMERO server"
        raise ConfigurationError(what, where=target)
    return source.server
