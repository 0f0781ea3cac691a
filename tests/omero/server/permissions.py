"""What a user may do with an object, by the type of its group.

Source: the tables of "Groups and permissions" in the documentation of OMERO.
"""

from __future__ import annotations

import enum

import omero
import omero.model

from .calls import ALL_GROUPS, Call
from .entities import Entity

__all__ = ["Right", "can_read", "check", "check_read", "group_type", "rendered", "rights"]


class Right(enum.IntEnum):
    """What can be restricted, numbered as in ``omero.constants.permissions``."""

    LINK = 0
    EDIT = 1
    DELETE = 2
    ANNOTATE = 3
    CHGRP = 4
    CHOWN = 5


_NONE: frozenset[Right] = frozenset()
_ALL = frozenset(Right)
_TIES = frozenset({Right.LINK, Right.ANNOTATE})
_OWNER = _ALL - {Right.CHOWN}
_MEMBER = {
    "rw----": _NONE,
    "rwr---": _NONE,
    "rwra--": frozenset({Right.ANNOTATE}),
    "rwrw--": frozenset({Right.LINK, Right.EDIT, Right.DELETE, Right.ANNOTATE}),
}
_USER_GROUP = "user"


def group_type(group: Entity) -> str:
    """Return the permissions of a group, such as "rwra--"."""
    return group.details.permissions or "rw----"


def can_read(call: Call, entity: Entity) -> bool:
    """Whether the user may see an object in the group context of the call."""
    group = entity.details.group
    if entity.kind.is_system or group is None or group["name"] == _USER_GROUP:
        return True
    if call.group_id not in (ALL_GROUPS, group.id):
        return False
    if call.is_admin or call.leads(group):
        return True
    if group.id not in call.memberships:
        return False
    return group_type(group) != "rw----" or entity.details.owner is call.user


def rights(call: Call, entity: Entity) -> frozenset[Right]:
    """Return what the user may do with an object."""
    owner, group = entity.details.owner, entity.details.group
    if entity.kind.is_system or group is None:
        if call.is_admin:
            return _ALL
        own = entity is call.user or call.leads(entity)
        return _TIES | {Right.EDIT} if own else _TIES
    privileged = call.is_admin or call.leads(group)
    if owner is call.user:
        return _ALL if privileged else _OWNER
    if privileged:
        granted = _ALL if group_type(group) != "rw----" else _ALL - _TIES
        return granted if call.is_admin else granted - {Right.CHGRP}
    if group.id not in call.memberships:
        return _NONE
    return _MEMBER.get(group_type(group), _NONE)


def check(call: Call, entity: Entity, right: Right) -> None:
    """Refuse what the user may not do.

    Raises
    ------
    omero.SecurityViolation
        The right is not granted.
    """
    if not can_read(call, entity) or right not in rights(call, entity):
        verb = {Right.EDIT: "update", Right.DELETE: "delete"}.get(right, right.name.lower())
        _violation(f"Cannot {verb} {_named(entity)}: permission denied")


def check_read(call: Call, entity: Entity) -> None:
    """Refuse to load an object that the user may not see.

    Raises
    ------
    omero.SecurityViolation
        It is in another group than the call's, or private to somebody else.
    """
    if not can_read(call, entity):
        _violation(f"Cannot read {_named(entity)}")


def _named(entity: Entity) -> str:
    return f"{entity.kind.name}:Id_{entity.id}"


def _violation(message: str) -> None:
    raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)


def rendered(call: Call, entity: Entity) -> omero.model.PermissionsI:
    """Return the permissions of an object as a client gets them, with what is restricted."""
    group = entity.details.group
    text = entity.details.permissions or (group_type(group) if group else "rwr-r-")
    permissions = omero.model.PermissionsI(text)
    granted = rights(call, entity)
    permissions._restrictions = [right not in granted for right in Right]
    permissions._extendedRestrictions = []
    return permissions
