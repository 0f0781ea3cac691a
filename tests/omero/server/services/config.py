"""IConfig: what the server tells of its settings."""

from __future__ import annotations

import re
from typing import Any

import omero
import omero.api
from omero.rtypes import rtime
from tests.omero.server.calls import now_ms
from tests.omero.server.servants import Service

__all__ = ["Config"]

_VERSION = "5.6.17"
_CLIENT = {
    "omero.client.download_as.max_size": "144000000",
    "omero.client.ui.menu.dropdown.colleagues.enabled": "true",
    "omero.client.ui.menu.dropdown.colleagues.label": "Members",
    "omero.client.ui.menu.dropdown.everyone.enabled": "true",
    "omero.client.ui.menu.dropdown.everyone.label": "All Members",
    "omero.client.ui.menu.dropdown.leaders.enabled": "true",
    "omero.client.ui.menu.dropdown.leaders.label": "Owners",
    "omero.client.ui.tree.orphans.enabled": "true",
    "omero.client.ui.tree.orphans.name": "Orphaned Images",
    "omero.client.ui.tree.type_order": "tagset,tag,project,dataset,screen,plate,acquisition,image",
    "omero.client.viewer.initial_zoom_level": "0",
    "omero.client.viewer.interpolate_pixels": "true",
    "omero.client.viewer.roi_limit": "2000",
}
_OTHERS = {
    "omero.pixeldata.max_plane_height": "3192",
    "omero.pixeldata.max_plane_width": "3192",
    "omero.policy.binary_access": "+read,+write,+image",
    "omero.qa.feedback": "",
    "omero.upgrades.url": "",
    "omero.version": _VERSION,
}


class Config(Service):
    """Returns settings."""

    interface = omero.api.IConfig

    def _settings(self) -> dict[str, str]:
        router = f"OMERO.Glacier2/router:tcp -p {self.server.tcp_port} -h @omero.host@"
        return {**_CLIENT, **_OTHERS, "omero.router.insecure": router, **self.server.settings}

    def getVersion(self) -> str:
        return _VERSION

    def getConfigValue(self, key: str) -> str:
        return self._settings().get(key, "")

    def getConfigValues(self, pattern: str) -> dict[str, str]:
        matches = re.compile(pattern)
        return {key: value for key, value in self._settings().items() if matches.search(key)}

    def getConfigDefaults(self) -> dict[str, str]:
        return {**_CLIENT, **_OTHERS}

    def getClientConfigValues(self) -> dict[str, str]:
        return {k: v for k, v in self._settings().items() if k.startswith("omero.client.")}

    def getClientConfigDefaults(self) -> dict[str, str]:
        return dict(_CLIENT)

    def setConfigValue(self, key: str, value: str) -> None:
        if not self.call.is_admin:
            message = "Only administrators may change settings"
            raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)
        self.server.settings[key] = value

    def getDatabaseUuid(self) -> str:
        return self.server.database_uuid

    def getDatabaseTime(self) -> Any:
        return rtime(now_ms())

    def getServerTime(self) -> Any:
        return rtime(now_ms())
