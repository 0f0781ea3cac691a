"""A dask cluster that somebody else started."""

from __future__ import annotations

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
        If its workers have another version of Parfocal.
    RemoteError
        If it does not answer, or has no workers.
    """
    from distributed.security import Security

    options: dict[str, Any] = (
        {"scheduler_file": config.scheduler_file} if config.scheduler_file else {}
    )
    if config.tls_ca_file:
        options["security"] = Security(
            tls_ca_file=config.tls_ca_file,
            tls_client_cert=config.tls_cert_file,
            tls_client_key=config.tls_key_file,
            require_encryption=True,
        )
    with connect(config.address, **options) as client:
        _check_versions(client)
        workers = sum(client.nthreads().values())
        folder = Path(config.shared_folder).absolute() if config.shared_folder else None
        check = NoWorkers(client)
        yield Opened(client, workers, folder, beside_output=folder is None, check=check)


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
