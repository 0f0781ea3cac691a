"""IRepositoryInfo: how full the server's disk is, by what the faults say."""

from __future__ import annotations

import omero
from tests.omero.server.servants import Service

__all__ = ["RepositoryInfo"]

_TOTAL_KB = 1 << 30


class RepositoryInfo(Service):
    """Implements `omero.api.IRepositoryInfo`."""

    interface = omero.api.IRepositoryInfo
    exclusive = False

    def getUsedSpaceInKilobytes(self) -> int:
        """Return the bytes of all files."""
        files = (path for path in self.server.folder.rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files) // 1024

    def getFreeSpaceInKilobytes(self) -> int:
        """Return what can still be written."""
        free = self.server.faults.disk.free
        return _TOTAL_KB if free is None else free // 1024

    def getUsageFraction(self) -> float:
        """Return used over free."""
        free = self.getFreeSpaceInKilobytes()
        return self.getUsedSpaceInKilobytes() / free if free else 1.0

    def sanityCheckRepository(self) -> None:
        """Raise when the disk is full."""
        self.server.faults.disk.demand(0 if self.server.faults.disk.free is None else 1)
