"""The users and groups of the tests, made on a real server where they are missing."""

from __future__ import annotations

from typing import Any

__all__ = ["GROUPS", "MEMBERS", "make_accounts"]

GROUPS = {"private": "rw----", "readonly": "rwr---", "annotate": "rwra--", "write": "rwrw--"}
MEMBERS = {
    "alice": ("annotate", "private", "readonly", "write"),
    "bob": ("annotate", "private", "readonly", "write"),
    "carol": ("write",),
}
"""The groups of each user, the default one first; alice owns ``annotate``."""


def make_accounts(root: Any, passwords: dict[str, str]) -> None:
    """Make the groups and users that a server does not have.

    Parameters
    ----------
    root : omero.gateway.BlitzGateway
        Logged in as an administrator.
    passwords : dict
        By user.
    """
    from omero.rtypes import rstring

    admin = root.getAdminService()
    groups = {group.name.val: group for group in admin.lookupGroups()}
    for name, permissions in GROUPS.items():
        if name not in groups:
            groups[name] = admin.getGroup(admin.createGroup(_group(name, permissions)))
    known = {user.omeName.val for user in admin.lookupExperimenters()}
    for name, (default, *others) in MEMBERS.items():
        if name not in known:
            rest = [groups[other] for other in others] + [groups["user"]]
            admin.createExperimenterWithPassword(
                _user(name), rstring(passwords[name]), groups[default], rest
            )
    if "alice" not in known:
        admin.setGroupOwner(groups["annotate"], admin.lookupExperimenter("alice"))


def _group(name: str, permissions: str) -> Any:
    from omero.model import ExperimenterGroupI, PermissionsI
    from omero.rtypes import rbool, rstring

    group = ExperimenterGroupI()
    group.name, group.ldap = rstring(name), rbool(False)
    group.details.permissions = PermissionsI(permissions)
    return group


def _user(name: str) -> Any:
    from omero.model import ExperimenterI
    from omero.rtypes import rbool, rstring

    user = ExperimenterI()
    user.omeName, user.ldap = rstring(name), rbool(False)
    user.firstName, user.lastName = rstring(name.capitalize()), rstring("Tester")
    return user
