"""ITypes: enumerations."""

from __future__ import annotations

from typing import Any

import omero
import omero.api
from tests.omero.server.model import KINDS, kind_of
from tests.omero.server.render import render
from tests.omero.server.servants import Service

__all__ = ["Types"]


class Types(Service):
    """Returns the values of enumerations."""

    interface = omero.api.ITypes

    def allEnumerations(self, kind: str) -> list[Any]:
        return render(self.call, self.store.all(kind_of(kind).name))

    def getEnumeration(self, kind: str, value: str) -> Any:
        name = kind_of(kind).name
        found = self.store.find_by(name, "value", value)
        if found is None:
            message = f"An {name} enum does not exist with the value: {value}"
            raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", message)
        return render(self.call, [found])[0]

    def getEnumerationTypes(self) -> list[str]:
        return sorted(name for name, kind in KINDS.items() if kind.is_enumeration)

    def getAnnotationTypes(self) -> list[str]:
        kinds = KINDS.values()
        return sorted(k.name for k in kinds if k.is_a("Annotation") and not k.is_abstract)
