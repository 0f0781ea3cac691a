"""A folder that all nodes see, for one run: keys, logs, scratch files, and who owns it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from parfocal.core.owned_folder import OwnedFolder
from parfocal.errors import ConfigurationError

__all__ = ["RunFolder", "check_shared_folder"]


def check_shared_folder(folder: str) -> Path:
    """Return the absolute path of a shared folder.

    Raises
    ------
    ConfigurationError
        If there is none, or it cannot be written to.
    """
    path = Path(folder).absolute()
    if not path.is_dir():
        what = "The shared folder is not there"
        remedy = "Make it, on a file system that all nodes see at the same path."
        raise ConfigurationError(what, where=path, remedy=remedy)
    try:
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        what = "The shared folder cannot be written to"
        remedy = "Free some space, make it writable, or name another."
        raise ConfigurationError(what, where=path, found=error, remedy=remedy) from error
    return path


class RunFolder(OwnedFolder):
    """The folder of a run, whose name is that of its jobs.

    Parameters
    ----------
    shared : Path
        The shared folder.
    name : str, optional
        See `OwnedFolder`.
    """

    def __init__(self, shared: Path, name: str | None = None) -> None:
        super().__init__(shared, name, ("logs", "scratch"))

    @property
    def jobs(self) -> str:
        """Name of all worker jobs of the run, and of no others."""
        return self.path.name

    @property
    def logs(self) -> Path:
        """Folder for the logs of workers."""
        return self.path / "logs"

    @property
    def scratch(self) -> Path:
        """Folder for scratch files."""
        return self.path / "scratch"
