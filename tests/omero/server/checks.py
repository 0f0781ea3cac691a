"""What the database refuses: links that are not allowed, rows that are there already."""

from __future__ import annotations

from typing import NoReturn

import omero

from .calls import ALL_GROUPS, Call
from .entities import Entity
from .permissions import Right, group_type, rights
from .store import Store

__all__ = ["check_links", "check_unique"]

_UNIQUE = {"Experimenter": "omeName", "ExperimenterGroup": "name", "Session": "uuid"}
_READ_ONLY_LINKS = {("RenderingDef", "pixels"), ("Thumbnail", "pixels")}


def _needed(entity: Entity, field: str) -> Right | None:
    """Return the right that pointing at an object by a field takes."""
    name = entity.kind.name
    if entity.kind.is_annotation_link or (name, field) == ("Roi", "image"):
        return Right.ANNOTATE
    return None if (name, field) in _READ_ONLY_LINKS else Right.LINK


def _refuse(kind: str, message: str) -> NoReturn:
    raise getattr(omero, kind)(None, f"ome.conditions.{kind}", message)


def _check_link(call: Call, entity: Entity, field: str, target: Entity) -> None:
    owner, group = target.details.owner, target.details.group
    assert group is not None
    if owner is call.user or target.id is None:
        return
    needed = _needed(entity, field)
    if needed is not None and needed not in rights(call, target):
        message = f"Group is {group_type(group)}. Cannot link to object: {target}"
        _refuse("ReadOnlyGroupSecurityViolation", message)


def _groups_differ(entity: Entity, target: Entity, group: Entity | None) -> NoReturn:
    message = (
        f"MIXED GROUP: {entity.kind.name} of group {group and group.id} and "
        f"{target} of group {target.details.group and target.details.group.id}"
    )
    _refuse("PermissionMismatchGroupSecurityViolation", message)


def check_links(call: Call, entity: Entity, fields: tuple[str, ...] = ()) -> Entity | None:
    """Refuse to tie an object to what it must not be tied to.

    Parameters
    ----------
    fields : those that are new; all when none is named

    Returns
    -------
    Entity, optional
        The group of what it is tied to.

    Raises
    ------
    omero.SecurityViolation
        Something is in another group, or the user has no right to link to it.
    """
    group = entity.details.group
    if group is None and call.group_id != ALL_GROUPS:
        group = call.store.get("ExperimenterGroup", call.group_id)
    if entity.kind.is_system:
        return None
    for name in entity.kind.entities:
        target = entity[name]
        if target is None or target.kind.is_system or target.details.group is None:
            continue
        if target.details.group["name"] in {"user", "system"}:
            continue
        group = group or target.details.group
        if target.details.group is not group:
            _groups_differ(entity, target, group)
        if not fields or name in fields:
            _check_link(call, entity, name, target)
    return group


def check_unique(store: Store, entity: Entity) -> None:
    """Refuse a row that is there already.

    Raises
    ------
    omero.ValidationException
        There is one like it.
    """
    if entity.kind.is_link:
        parent, child = entity["parent"], entity["child"]
        kind = entity.kind.name
        by_child = store.count_referrers(child, kind, "child") < store.count_referrers(
            parent, kind, "parent"
        )
        others = store.referrers(
            *((child, kind, "child") if by_child else (parent, kind, "parent"))
        )
        key = (parent, child, entity.details.owner)
        same = [o for o in others if (o["parent"], o["child"], o.details.owner) == key]
    elif entity.kind.name in _UNIQUE:
        field = _UNIQUE[entity.kind.name]
        same = [o for o in store.all(entity.kind.name) if o[field] == entity[field]]
    else:
        return
    if any(other is not entity for other in same):
        message = (
            "could not insert; SQL [n/a]; constraint; duplicate key value violates unique "
            f"constraint of {entity.kind.name}"
        )
        _refuse("ValidationException", message)
