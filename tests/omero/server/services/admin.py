"""IAdmin: users and groups."""

from __future__ import annotations

from typing import Any, NoReturn

import omero
import omero.api
import omero.sys
from omero.rtypes import unwrap
from tests.omero.server.entities import Details, Entity
from tests.omero.server.permissions import Right, check, rights
from tests.omero.server.render import render, render_one
from tests.omero.server.servants import Service
from tests.omero.server.sessions import event_context

__all__ = ["Admin"]

_MAPS = "groupExperimenterMap"


def _usage(message: str) -> NoReturn:
    raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", message)


class Admin(Service):
    """Tells of users and groups; administrators make them."""

    interface = omero.api.IAdmin

    def getEventContext(self) -> Any:
        return event_context(self.call)

    def getSecurityRoles(self) -> Any:
        return omero.sys.Roles(0, "root", 0, "system", 1, "user", 1, "guest", 2, "guest")

    def _person(self, key: int) -> Entity:
        person = self.store.get("Experimenter", key)
        return person if person is not None else _usage(f"No such experimenter: {key}")

    def _group(self, key: int) -> Entity:
        group = self.store.get("ExperimenterGroup", key)
        return group if group is not None else _usage(f"No such group: {key}")

    def _named(self, kind: str, field: str, name: str) -> Entity:
        found = self.store.find_by(kind, field, name)
        return found if found is not None else _usage(f"No such {kind}: {name}")

    def _sent_person(self, person: Entity) -> Any:
        return render_one(self.call, person, f"{_MAPS}.parent")

    def _sent_group(self, group: Entity) -> Any:
        return render_one(self.call, group, f"{_MAPS}.child")

    def getExperimenter(self, key: int) -> Any:
        return self._sent_person(self._person(key))

    def lookupExperimenter(self, name: str) -> Any:
        return self._sent_person(self._named("Experimenter", "omeName", name))

    def lookupExperimenters(self) -> list[Any]:
        return [self._sent_person(person) for person in self.store.all("Experimenter")]

    def getGroup(self, key: int) -> Any:
        return self._sent_group(self._group(key))

    def lookupGroup(self, name: str) -> Any:
        return self._sent_group(self._named("ExperimenterGroup", "name", name))

    def lookupGroups(self) -> list[Any]:
        return [self._sent_group(group) for group in self.store.all("ExperimenterGroup")]

    def _maps(self, of: Entity) -> list[Entity]:
        return self.store.collection(of, _MAPS)

    def containedExperimenters(self, key: int) -> list[Any]:
        return render(self.call, [m["child"] for m in self._maps(self._group(key))])

    def containedGroups(self, key: int) -> list[Any]:
        return render(self.call, [m["parent"] for m in self._maps(self._person(key))])

    def getDefaultGroup(self, key: int) -> Any:
        return render(self.call, [self._maps(self._person(key))[0]["parent"]])[0]

    def getMemberOfGroupIds(self, person: Any) -> list[int]:
        return [m["parent"].id for m in self._maps(self._person(person.id.val))]

    def getLeaderOfGroupIds(self, person: Any) -> list[int]:
        return [m["parent"].id for m in self._maps(self._person(person.id.val)) if m["owner"]]

    def canUpdate(self, incoming: Any) -> bool:
        entity = self.require(type(incoming).__name__, incoming.id.val)
        return Right.EDIT in rights(self.call, entity)

    def getCurrentAdminPrivileges(self) -> list[Any]:
        return self._privileges(self.call.user)

    def getAdminPrivileges(self, person: Any) -> list[Any]:
        return self._privileges(self._person(person.id.val))

    def _privileges(self, person: Entity) -> list[Any]:
        admin = any(m["parent"]["name"] == "system" for m in self._maps(person))
        return render(self.call, self.store.all("AdminPrivilege") if admin else [])

    def _demand_admin(self) -> None:
        if not self.call.is_admin:
            message = "Only administrators may do this"
            raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)

    def createGroup(self, incoming: Any) -> int:
        self._demand_admin()
        permissions = incoming.details.permissions
        details = Details(permissions=str(permissions) if permissions else "rw----")
        values = {
            "name": unwrap(incoming.name),
            "description": unwrap(incoming.description),
            "ldap": False,
        }
        if self.store.find_by("ExperimenterGroup", "name", values["name"]) is not None:
            message = f"could not insert; duplicate key: ExperimenterGroup {values['name']}"
            raise omero.ValidationException(None, "ome.conditions.ValidationException", message)
        return self.store.add("ExperimenterGroup", values, details).id or 0

    def createUser(self, incoming: Any, group: str) -> int:
        default = self._named("ExperimenterGroup", "name", group)
        user = self._named("ExperimenterGroup", "name", "user")
        return self._create(incoming, "", [default, user])

    def createExperimenter(self, incoming: Any, default: Any, others: list[Any]) -> int:
        return self.createExperimenterWithPassword(incoming, None, default, others)

    def createExperimenterWithPassword(
        self, incoming: Any, password: Any, default: Any, others: list[Any]
    ) -> int:
        groups = [self._group(group.id.val) for group in (default, *others)]
        return self._create(incoming, unwrap(password) or "", groups)

    def _create(self, incoming: Any, password: str, groups: list[Entity]) -> int:
        self._demand_admin()
        names = ("omeName", "firstName", "middleName", "lastName", "institution", "email")
        values = {name: unwrap(getattr(incoming, name)) for name in names}
        if self.store.find_by("Experimenter", "omeName", values["omeName"]) is not None:
            message = f"could not insert; duplicate key: Experimenter {values['omeName']}"
            raise omero.ValidationException(None, "ome.conditions.ValidationException", message)
        person = self.store.add("Experimenter", {**values, "ldap": False})
        for group in groups:
            self._join(person, group)
        self.server.passwords[values["omeName"]] = password
        return person.id or 0

    def _join(self, person: Entity, group: Entity) -> None:
        if all(m["parent"] is not group for m in self._maps(person)):
            values = {"parent": group, "child": person, "owner": False}
            self.store.add("GroupExperimenterMap", values)

    def updateGroup(self, incoming: Any) -> None:
        group = self._group(incoming.id.val)
        check(self.call, group, Right.EDIT)
        self.store.set(group, "name", unwrap(incoming.name))
        self.store.set(group, "description", unwrap(incoming.description))
        if incoming.details.permissions is not None:
            self.store.set_details(group, "permissions", str(incoming.details.permissions))
        self.store.touch(group, self.call.event)

    def changePermissions(self, incoming: Any, permissions: Any) -> None:
        group = self._group(incoming.id.val)
        check(self.call, group, Right.EDIT)
        self.store.set_details(group, "permissions", str(permissions))

    def updateSelf(self, incoming: Any) -> None:
        self._update_person(self.call.user, incoming)

    def updateExperimenter(self, incoming: Any) -> None:
        self._demand_admin()
        self._update_person(self._person(incoming.id.val), incoming)

    def _update_person(self, person: Entity, incoming: Any) -> None:
        for name in ("firstName", "middleName", "lastName", "institution", "email"):
            self.store.set(person, name, unwrap(getattr(incoming, name)))
        self.store.touch(person, self.call.event)

    def addGroups(self, person: Any, groups: list[Any]) -> None:
        self._demand_admin()
        for group in groups:
            self._join(self._person(person.id.val), self._group(group.id.val))

    def removeGroups(self, person: Any, groups: list[Any]) -> None:
        self._demand_admin()
        gone = {group.id.val for group in groups}
        for m in self._maps(self._person(person.id.val)):
            if m["parent"].id in gone:
                self.store.remove(m)

    def _own(self, group: Any, people: list[Any], owner: bool) -> None:
        self._demand_admin()
        found = self._group(group.id.val)
        ids = {person.id.val for person in people}
        if owner:
            for key in ids:
                self._join(self._person(key), found)
        for m in self._maps(found):
            if m["child"].id in ids:
                self.store.set(m, "owner", owner)

    def addGroupOwners(self, group: Any, people: list[Any]) -> None:
        self._own(group, people, owner=True)

    def removeGroupOwners(self, group: Any, people: list[Any]) -> None:
        self._own(group, people, owner=False)

    def setGroupOwner(self, group: Any, person: Any) -> None:
        self._own(group, [person], owner=True)

    def unsetGroupOwner(self, group: Any, person: Any) -> None:
        self._own(group, [person], owner=False)

    def setDefaultGroup(self, person: Any, group: Any) -> None:
        found = self._person(person.id.val)
        check(self.call, found, Right.EDIT)
        maps = self._maps(found)
        for m in sorted(maps, key=lambda m: m["parent"].id != group.id.val):
            self.store.remove(m)
            self.store.insert(m)

    def changePassword(self, password: Any) -> None:
        self.server.passwords[self.call.user["omeName"]] = unwrap(password)

    def changeUserPassword(self, name: str, password: Any) -> None:
        self._demand_admin()
        self._named("Experimenter", "omeName", name)
        self.server.passwords[name] = unwrap(password)
