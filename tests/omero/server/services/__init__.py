"""The services by the methods of the service factory that open them."""

from __future__ import annotations

from tests.omero.server.servants import Service

from .admin import Admin
from .config import Config
from .container import Container
from .metadata import Metadata
from .pixels import Pixels
from .query import Query
from .raw_file import RawFile
from .raw_pixels import RawPixels
from .rendering import Rendering
from .repository import RepositoryInfo
from .roi import Rois
from .session import SessionService
from .thumbnail import Thumbnails
from .types import Types
from .update import Update

__all__ = ["STATEFUL", "STATELESS"]

STATELESS: dict[str, type[Service]] = {
    "getAdminService": Admin,
    "getConfigService": Config,
    "getContainerService": Container,
    "getMetadataService": Metadata,
    "getPixelsService": Pixels,
    "getQueryService": Query,
    "getRepositoryInfoService": RepositoryInfo,
    "getRoiService": Rois,
    "getSessionService": SessionService,
    "getTypesService": Types,
    "getUpdateService": Update,
}
"""Services of which a session has one."""

STATEFUL: dict[str, type[Service]] = {
    "createRawFileStore": RawFile,
    "createRawPixelsStore": RawPixels,
    "createRenderingEngine": Rendering,
    "createThumbnailStore": Thumbnails,
}
"""Services that a client opens as often as it likes, and closes."""
