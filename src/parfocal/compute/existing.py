"""A dask cluster that somebody else started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal import __version__
from parfocal.compute.cluster import NoWorkers, Opened, connect, version
from parfocal.compute.run_folder import check_shared_folder
from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.compute import ExistingCluster

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check_existing", "open_existing"]


def check_existing(config: ExistingCluster) -> None:
    """Make sure that the files that the configuration names are there.

    Raises
    ------
    ConfigurationError
        If one is not.
    """
    if config.shared_folder:
        check_shared_folder(config.shared_folder)
    names = ("scheduler_file", "tls_ca_file", "tls_cert_file", "tls_key_file")
    for name, path in ((name, getattr(config, name)) for name in names):
        if path and not Path(path).is_file():
            what = f"The file {name} of the cluster is not there"
            raise ConfigurationError(what, where=path, remedy="Start the cluster first.")


@contextmanager
def open_existing(config: ExistingCluster) -> Iterator[Opened]:
    """Connect to a cluster, which goes on afterwards.

    Raises
    ------
    ConfigurationError
        If its file names no address, it is encrypted and no keys are given, or its workers have
        another version of Parfocal.
    RemoteError
        If it does not answer, or has no workers.
    """
    from distributed.security import Security

    options: dict[str, Any] = {}
    if config.tls_ca_file:
        options["security"] = Security(
            tls_ca_file=config.tls_ca_file,
            tls_client_cert=config.tls_cert_file,
            tls_client_key=config.tls_key_file,
            require_encryption=True,
        )
    address = _address(config)
    with connect(address, **options) as client:
        _check_versions(client)
        workers = sum(client.nthreads().values())
        folder = Path(config.shared_folder).absolute() if config.shared_folder else None
        yield Opened(
            client,
            workers,
            folder,
            beside_output=folder is None,
            check=NoWorkers(client),
            by=f"the scheduler at {address}",
        )


def _address(config: ExistingCluster) -> str:
    """Return the address of the scheduler, as given or from its file."""
    file, address = config.scheduler_file, config.address
    if file:
        try:
            address = json.loads(Path(file).read_text(encoding="utf-8"))["address"]
        except (ValueError, KeyError, TypeError) as error:
            what = "The file of the scheduler names no address"
            remedy = "Name the file that 'dask scheduler --scheduler-file' writes."
            raise ConfigurationError(what, where=file, remedy=remedy) from error
    if str(address).startswith("tls://") and not config.tls_ca_file:
        what = "The cluster is encrypted, and no keys are given"
        remedy = "Set tls_ca_file, tls_cert_file and tls_key_file."
        raise ConfigurationError(what, where=address, remedy=remedy)
    return str(address)


def _check_versions(client: Client) -> None:
    try:
        found = set(client.run(version).values())
    except ImportError as error:
        what = "The workers of the cluster lack Parfocal"
        remedy = "Install the same version there."
        raise ConfigurationError(what, found=error, remedy=remedy) from error
    if not found:
        what = "The cluster has no workers"
        raise RemoteError(what, remedy="Start some, then run again.")
    if found != {__version__}:
        what = "The workers of the cluster have another version of Parfocal"
        told = ", ".join(sorted(found))
        remedy = "Install the same version there."
        raise ConfigurationError(what, expected=__version__, found=told, remedy=remedy)
