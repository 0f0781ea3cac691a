"""Objects that clients send, made faster than omero-py makes them.

omero-py's classes set every member by a method in Python, and fill in what is overwritten at once:
most of the time that saving a thousand objects takes. What is received needs neither.
"""

from __future__ import annotations

from typing import Any

import Ice
import omero.columns
import omero.model
import omero.ObjectFactoryRegistrar
import omero.rtypes

from .model import KINDS

__all__ = ["register_factories"]


class _Factory(Ice.ObjectFactory):
    """Makes empty objects of one class; Ice then sets their members."""

    def __init__(self, python: type) -> None:
        self._python = type(python.__name__, (python,), {"__setattr__": object.__setattr__})

    def create(self, type_id: str) -> Any:
        """Make an object."""
        return self._python.__new__(self._python)

    def destroy(self) -> None:
        """Do nothing when the server ends."""


def register_factories(communicator: Any) -> None:
    """Let a communicator receive everything that clients of OMERO send."""
    kinds = [kind.python for kind in KINDS.values() if not kind.is_abstract]
    for python in (*kinds, omero.model.DetailsI, *omero.rtypes.ObjectFactories):
        communicator.addObjectFactory(_Factory(python), python.ice_staticId())
    # Adds those that are not there yet.
    omero.ObjectFactoryRegistrar.registerObjectFactory(communicator, None)
    for factory in omero.columns.ObjectFactories.values():
        factory.register(communicator)
