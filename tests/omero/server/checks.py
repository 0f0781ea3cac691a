"""What the database refuses: links that are not allowed, rows that are there already."""

from __future__ import annotations

from typing import Any, NoReturn

import omero
from omero.rtypes import unwrap

from .calls import Call
from .entities import Entity
from .permissions import Right, group_type, rights
from .store import Store

__all__ = [
    "check_details",
    "check_links",
    "check_permissions",
    "check_unique",
    "check_version",
    "refuse",
]

_UNIQUE = {"Experimenter": "omeName", "ExperimenterGroup": "name", "Session": "uuid"}


def refuse(message: str, kind: str = "SecurityViolation") -> NoReturn:
    """Refuse what is not allowed.

    Raises
    ------
    omero.SecurityViolation
        Or the kind of exception that is named.
    """
    raise getattr(omero, kind)(None, f"ome.conditions.{kind}", message)


def _needed(entity: Entity, field: str) -> Right | None:
    """Return the right that pointing at an object by a field takes."""
    name = entity.kind.name
    if entity.kind.is_annotation_link or (name, field) == ("Roi", "image"):
        return Right.ANNOTATE
    if name == "RenderingDef" or (name, field) == ("Thumbnail", "pixels"):
        return None
    return Right.LINK


def _check_link(call: Call, entity: Entity, field: str, target: Entity) -> None:
    owner, group = target.details.owner, target.details.group
    assert group is not None
    if owner is call.user or target.id is None:
        return
    if group_type(group) == "rw----" and entity.details.owner is not owner:
        message = f"Cannot link to {target}: it belongs to another user of the private group"
        refuse(message, "ReadOnlyGroupSecurityViolation")
    needed = _needed(entity, field)
    if needed is not None and needed not in rights(call, target):
        refuse(f"Group is {group_type(group)}. Cannot link to object: {target}")


def _groups_differ(entity: Entity, group: Entity, target: Entity) -> NoReturn:
    other = target.details.group and target.details.group.id
    message = (
        f"MIXED GROUP: {entity.kind.name}(group={group.id}) and {target}(group={other}) "
        "cannot be linked."
    )
    refuse(message, "GroupSecurityViolation")


def check_links(call: Call, entity: Entity, fields: tuple[str, ...] = ()) -> Entity | None:
    """Refuse to tie an object to what it must not be tied to.

    Parameters
    ----------
    fields : those that are new; all when none is named

    Returns
    -------
    Entity, optional
        The group of what it is tied to: that of the call, or in all groups the first one.

    Raises
    ------
    omero.SecurityViolation
        Something is in another group, or the user has no right to link to it.
    """
    if entity.kind.is_system:
        return None
    group = entity.details.group or call.group
    for name in entity.kind.entities:
        target = entity[name]
        if target is None or target.kind.is_system or target.details.group is None:
            continue
        if target.details.group["name"] in {"user", "system"}:
            continue
        group = group or target.details.group
        if target.details.group is not group:
            _groups_differ(entity, group, target)
        if not fields or name in fields:
            _check_link(call, entity, name, target)
    return group


def check_version(incoming: Any, entity: Entity) -> None:
    """Refuse to save an object that was changed since the client loaded it.

    Raises
    ------
    omero.OptimisticLockException
        Its version is not that of its row.
    """
    version = unwrap(incoming._version)
    if version != entity.version:
        message = (
            "Row was updated or deleted by another transaction (or unsaved-value mapping was "
            f"incorrect): [{entity.kind.name}#{entity.id}], {entity.version}, not {version}"
        )
        reason = "ome.conditions.OptimisticLockException"
        raise omero.OptimisticLockException(None, reason, message, 0)


def check_permissions(incoming: Any, entity: Entity) -> None:
    """Refuse permissions that a client sets on a new object.

    Raises
    ------
    omero.PermissionMismatchGroupSecurityViolation
        They are not those of its group.
    """
    stated = incoming._details and incoming._details._permissions
    group = entity.details.group
    if stated is not None and group is not None and str(stated) != group_type(group):
        message = "Manually setting permissions currently disallowed"
        refuse(message, "PermissionMismatchGroupSecurityViolation")


def check_details(call: Call, incoming: Any, entity: Entity) -> None:
    """Refuse to change a row from another group, or to change whose it is.

    Raises
    ------
    omero.SecurityViolation
        The call works in another group than the row's, or its details were changed.
    """
    own, details = entity.details, incoming._details
    if entity.kind.is_system or own.group is None:
        return
    if own.group["name"] != "user" and call.group_id != own.group.id:
        refuse(
            f"Currently logged into group {call.group_id}. Cannot alter object in group "
            f"{own.group.id}"
        )
    kept = {"owner": own.owner, "group": own.group, "creationEvent": own.created}
    for name, value in kept.items():
        stated = details and getattr(details, "_" + name)
        if stated is not None and value is not None and unwrap(stated._id) != value.id:
            refuse(f"You are not authorized to change the {name} for {entity} from {value}")


def _alike(store: Store, link: Entity) -> list[Entity]:
    """Return the links between the same things by the same user, looked for where there are few."""
    kind, ends = link.kind.name, ("parent", "child")
    end = min(ends, key=lambda name: store.count_referrers(link[name], kind, name))
    key = (link["parent"], link["child"], link.details.owner)
    others = store.referrers(link[end], kind, end)
    return [o for o in others if (o["parent"], o["child"], o.details.owner) == key]


def check_unique(store: Store, entity: Entity) -> None:
    """Refuse a row that is there already.

    Raises
    ------
    omero.ValidationException
        There is one like it.
    """
    if entity.kind.is_link:
        same = _alike(store, entity)
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
        refuse(message, "ValidationException")
