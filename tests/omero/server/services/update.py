"""IUpdate: saving and deleting."""

from __future__ import annotations

from typing import Any

import omero
import omero.api
from tests.omero.server.entities import Entity
from tests.omero.server.merge import Merger
from tests.omero.server.model import kind_of
from tests.omero.server.permissions import Right, check
from tests.omero.server.render import render
from tests.omero.server.servants import Service

__all__ = ["Update"]


class Update(Service):
    """Saves graphs; a call is saved whole or not at all."""

    interface = omero.api.IUpdate

    def _save(self, incoming: list[Any]) -> tuple[list[Entity], Merger]:
        merger = Merger(self.call)
        if any(each is None for each in incoming):
            message = "Argument may not be null"
            raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", message)
        return merger.save_all(incoming), merger

    def saveObject(self, incoming: Any) -> None:
        self._save([incoming])

    def saveArray(self, incoming: list[Any]) -> None:
        self._save(incoming)

    def saveCollection(self, incoming: list[Any]) -> None:
        self._save(incoming)

    def saveAndReturnObject(self, incoming: Any) -> Any:
        return self.saveAndReturnArray([incoming])[0]

    def saveAndReturnArray(self, incoming: list[Any]) -> list[Any]:
        saved, merger = self._save(incoming)
        return render(self.call, saved, merger.fetched)

    def saveAndReturnIds(self, incoming: list[Any]) -> list[int | None]:
        saved, _ = self._save(incoming)
        return [entity.id for entity in saved]

    def deleteObject(self, incoming: Any) -> None:
        entity = self.require(kind_of(incoming).name, incoming._id.val)
        check(self.call, entity, Right.DELETE)
        holding = self.store.all_referrers(entity)
        if holding:
            message = f"could not delete {entity}: {holding[0]} refers to it"
            raise omero.ValidationException(None, "ome.conditions.ValidationException", message)
        self.store.remove(entity)

    def indexObject(self, incoming: Any) -> None:
        self.require(kind_of(incoming).name, incoming._id.val)
