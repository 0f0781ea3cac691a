"""Who calls, in which group: the context of one remote call."""

from __future__ import annotations

import functools
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

import omero

from .entities import Details, Entity
from .store import Store

if TYPE_CHECKING:
    from .sessions import Session

__all__ = ["ALL_GROUPS", "Call", "current_call", "entering", "now_ms"]

ALL_GROUPS = -1
_CURRENT: ContextVar[Call] = ContextVar("call")


def now_ms() -> int:
    """Return the time as OMERO writes it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def current_call() -> Call:
    """Return the call that this thread serves."""
    return _CURRENT.get()


class Call:
    """One remote call.

    Attributes
    ----------
    store : the database
    session : whose call it is
    group_id : the group it works in, -1 for all
    """

    def __init__(self, store: Store, session: Session, group_id: int) -> None:
        self.store = store
        self.session = session
        self.group_id = group_id

    @property
    def user(self) -> Entity:
        """The experimenter who calls."""
        return self.session.user

    @functools.cached_property
    def memberships(self) -> dict[int, bool]:
        """The groups that the user is in, by id, and whether as an owner."""
        maps = self.store.referrers(self.user, "GroupExperimenterMap", "child")
        return {m["parent"].id: bool(m["owner"]) for m in maps}

    @functools.cached_property
    def is_admin(self) -> bool:
        """Whether the user is in the group of administrators."""
        system = self.store.find_by("ExperimenterGroup", "name", "system")
        return system is not None and system.id in self.memberships

    @functools.cached_property
    def group(self) -> Entity | None:
        """The group that it works in; None where that is all of them."""
        return self.store.get("ExperimenterGroup", self.group_id)

    def leads(self, group: Entity | None) -> bool:
        """Whether the user owns a group."""
        return group is not None and self.memberships.get(group.id or 0, False)

    @functools.cached_property
    def event(self) -> Entity:
        """The event that changes made by this call are noted under; made at its first use."""
        kind = self.store.find_by("EventType", "value", "User")
        group = self.group or self.session.group
        values = {
            "time": now_ms(),
            "experimenter": self.user,
            "experimenterGroup": group,
            "type": kind,
            "session": self.session.entity,
        }
        return self.store.add("Event", values)

    def group_for_writing(self, group: Entity | None = None) -> Entity:
        """Return the group that a new object goes to: a stated one, else the call's.

        Raises
        ------
        omero.SecurityViolation
            The call is for all groups and none is stated, or the user is not in it.
        """
        group = group or self.group
        if group is None:
            message = "Cannot create an object in all groups (omero.group=-1): state one"
            raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)
        if self.group_id not in (group.id, ALL_GROUPS) and not self.is_admin:
            message = f"Not authorized to set the ExperimenterGroup to {group}"
            raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)
        if not self.is_admin and group.id not in self.memberships:
            message = f"User {self.user.id} is not a member of group {group.id}"
            raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)
        return group

    def new_details(self, group: Entity | None = None) -> Details:
        """Return the details of an object that this call makes."""
        owned_by = self.group_for_writing(group)
        return Details(self.user, owned_by, self.event, self.event)


class entering:
    """Serve a call in the current thread."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> Call:
        self._token = _CURRENT.set(self._call)
        return self._call

    def __exit__(self, *reason: object) -> None:
        _CURRENT.reset(self._token)
