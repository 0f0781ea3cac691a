"""The test server lets users see and do what OMERO's groups let them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import omero
import omero.gateway
import omero.model
import pytest
from omero.rtypes import rbool, rlong, rstring

from omero_objects import (
    annotated,
    context,
    dataset,
    dataset_link,
    image,
    projection,
    reference,
    save,
    tag,
)

Gateway = Callable[..., Any]
NOTHING, ANNOTATE = "", "annotate"
ALL = "annotate delete edit link"


@pytest.fixture(scope="module")
def groups(server: Any) -> dict[str, int]:
    made = omero.gateway.BlitzGateway(
        "root", server.password("root"), host=server.host, port=server.ssl, secure=True
    )
    assert made.connect()
    found = projection(made, "select g.name, g.id from ExperimenterGroup g")
    made.close()
    return dict(found)


def rights(gateway: Any, saved: Any) -> str:
    """Return what a user may do with a dataset."""
    found = gateway.c.sf.getQueryService().get("Dataset", saved.id.val, context(-1))
    may = found.details.permissions
    flags = {"annotate": may.canAnnotate(), "delete": may.canDelete()}
    flags |= {"edit": may.canEdit(), "link": may.canLink()}
    return " ".join(name for name, granted in sorted(flags.items()) if granted)


def seen(gateway: Any, saved: Any, group: int = -1) -> bool:
    query = "select d from Dataset d where d.id = " + str(saved.id.val)
    found = gateway.c.sf.getQueryService().findAllByQuery(query, None, context(group))
    return bool(found)


@pytest.mark.parametrize(
    ("group", "member", "admin"),
    [
        ("readonly", NOTHING, ALL),
        ("annotate", ANNOTATE, ALL),
        ("write", ALL, ALL),
    ],
)
def test_groups_grant_rights(
    gateway: Gateway, groups: dict[str, int], group: str, member: str, admin: str
) -> None:
    saved = save(gateway("alice"), dataset(), groups[group])
    assert rights(gateway("alice"), saved) == ALL
    assert rights(gateway("bob"), saved) == member
    assert rights(gateway("root"), saved) == admin
    # Alice owns the group annotate, and no other.
    mine = save(gateway("bob"), dataset(), groups[group])
    assert rights(gateway("alice"), mine) == (ALL if group == "annotate" else member)


def test_private_groups_show_nothing_to_others(gateway: Gateway, groups: dict[str, int]) -> None:
    saved = save(gateway("alice"), dataset(), groups["private"])
    bob, root = gateway("bob"), gateway("root")
    assert not seen(bob, saved)
    assert not seen(bob, saved, groups["private"])
    with pytest.raises(omero.SecurityViolation, match="Cannot read"):
        bob.c.sf.getQueryService().get("Dataset", saved.id.val, context(-1))
    assert rights(root, saved) == "delete edit"


def test_strangers_see_nothing_of_a_group(gateway: Gateway, groups: dict[str, int]) -> None:
    saved = save(gateway("alice"), dataset(), groups["annotate"])
    carol = gateway("carol")
    assert not seen(carol, saved)
    with pytest.raises(omero.SecurityViolation, match="not a member"):
        seen(carol, saved, groups["annotate"])


def test_a_call_sees_the_group_that_it_names(gateway: Gateway, groups: dict[str, int]) -> None:
    alice = gateway("alice")
    saved = save(alice, dataset(), groups["write"])
    assert seen(alice, saved)
    assert seen(alice, saved, groups["write"])
    assert not seen(alice, saved, groups["annotate"])
    with pytest.raises(omero.SecurityViolation, match="Cannot read"):
        alice.c.sf.getQueryService().find("Dataset", saved.id.val, context(groups["annotate"]))
    # A call that names none is in the group of the session.
    assert alice.c.sf.getAdminService().getEventContext().groupName == "annotate"
    assert (
        alice.c.sf.getQueryService().findAllByQuery(
            f"select d from Dataset d where d.id = {saved.id.val}", None
        )
        == []
    )


def test_objects_are_made_in_the_group_that_a_call_names(
    gateway: Gateway, groups: dict[str, int]
) -> None:
    saved = save(gateway("bob"), dataset(), groups["write"])
    assert saved.details.group.id.val == groups["write"]
    assert saved.details.owner.omeName.val == "bob"
    with pytest.raises(omero.SecurityViolation, match="not a member"):
        save(gateway("carol"), dataset(), groups["annotate"])


def test_in_all_groups_an_object_needs_one(gateway: Gateway, groups: dict[str, int]) -> None:
    alice = gateway("alice")
    with pytest.raises(omero.SecurityViolation):
        save(alice, dataset(), -1)
    stated = dataset()
    stated.details.group = omero.model.ExperimenterGroupI(groups["write"], False)
    assert save(alice, stated, -1).details.group.id.val == groups["write"]
    # What is linked tells it, too.
    link = annotated(reference(save(alice, dataset(), groups["write"])), tag())
    link.child = reference(save(alice, link.child, groups["write"]))
    assert save(alice, link, -1).details.group.id.val == groups["write"]


def test_another_group_than_that_of_the_call_cannot_be_stated(
    gateway: Gateway, groups: dict[str, int]
) -> None:
    stated = dataset()
    stated.details.group = omero.model.ExperimenterGroupI(groups["write"], False)
    with pytest.raises(omero.SecurityViolation):
        save(gateway("alice"), stated, groups["annotate"])


@pytest.mark.parametrize("group", ["annotate", "all"])
def test_objects_change_in_calls_of_their_own_group_alone(
    gateway: Gateway, groups: dict[str, int], group: str
) -> None:
    alice = gateway("alice")
    saved = save(alice, dataset(), groups["write"])
    saved.name = rstring("changed")
    with pytest.raises(omero.SecurityViolation):
        save(alice, saved, groups.get(group, -1))
    assert save(alice, saved, groups["write"]).name.val == "changed"


@pytest.mark.parametrize("call", ["annotate", "all"])
def test_objects_of_two_groups_are_not_linked(
    gateway: Gateway, groups: dict[str, int], call: str
) -> None:
    alice = gateway("alice")
    here = save(alice, dataset(), groups["annotate"])
    there = save(alice, tag(), groups["write"])
    with pytest.raises(omero.SecurityViolation):
        save(alice, annotated(reference(here), reference(there)), groups.get(call, -1))


def test_mixing_groups_is_told_as_such(gateway: Gateway, groups: dict[str, int]) -> None:
    alice = gateway("alice")
    here, there = save(alice, dataset()), save(alice, tag(), groups["write"])
    with pytest.raises(omero.GroupSecurityViolation, match="MIXED GROUP"):
        save(alice, annotated(reference(here), reference(there)), -1)


@pytest.mark.parametrize(
    ("group", "annotates", "edits"),
    [("readonly", False, False), ("annotate", True, False), ("write", True, True)],
)
def test_members_do_what_the_group_grants(
    gateway: Gateway, groups: dict[str, int], group: str, annotates: bool, edits: bool
) -> None:
    alice, bob, number = gateway("alice"), gateway("bob"), groups[group]
    parent = save(alice, dataset(), number)
    child = save(alice, image(), number)
    roi = omero.model.RoiI()
    roi.image = reference(child)
    mine = save(bob, image(), number)

    def change() -> None:
        found = bob.c.sf.getQueryService().get("Dataset", parent.id.val, context(number))
        found.name = rstring("by bob")
        save(bob, found, number)

    def delete() -> None:
        bob.c.sf.getUpdateService().deleteObject(reference(child), context(number))

    attempts = [
        (annotates, lambda: save(bob, annotated(reference(parent), tag()), number)),
        (annotates, lambda: save(bob, roi, number)),
        (edits, lambda: save(bob, dataset_link(reference(parent), reference(mine)), number)),
        (edits, change),
    ]
    if not annotates:
        attempts.append((False, delete))
    for allowed, attempt in attempts:
        if allowed:
            attempt()
        else:
            with pytest.raises(omero.SecurityViolation):
                attempt()
    query = "select d.name, d.details.owner.omeName from Dataset d where d.id = :id"
    name = "by bob" if edits else "a dataset"
    assert projection(alice, query, id=rlong(parent.id.val)) == [[name, "alice"]]


def test_tags_of_others_can_be_shared_in_groups_that_annotate(
    gateway: Gateway, groups: dict[str, int]
) -> None:
    alice, bob = gateway("alice"), gateway("bob")
    mark = save(alice, tag())
    mine = save(bob, dataset())
    link = save(bob, annotated(reference(mine), reference(mark)))
    assert link.details.owner.omeName.val == "bob"
    mark = save(alice, tag(), groups["readonly"])
    mine = save(bob, dataset(), groups["readonly"])
    with pytest.raises(omero.SecurityViolation):
        save(bob, annotated(reference(mine), reference(mark)), groups["readonly"])


def test_administrators_do_not_tie_to_what_is_private(
    gateway: Gateway, groups: dict[str, int]
) -> None:
    saved = save(gateway("alice"), dataset(), groups["private"])
    with pytest.raises(omero.SecurityViolation):
        save(gateway("root"), annotated(reference(saved), tag()), groups["private"])


def test_owners_and_permissions_cannot_be_claimed(alice: Any) -> None:
    claimed = dataset()
    claimed.details.owner = omero.model.ExperimenterI(0, False)
    with pytest.raises(omero.SecurityViolation):
        save(alice, claimed)
    claimed = dataset()
    claimed.details.permissions = omero.model.PermissionsI("rwrwrw")
    with pytest.raises(omero.PermissionMismatchGroupSecurityViolation):
        save(alice, claimed)


def test_administrators_make_objects_for_others(gateway: Gateway, groups: dict[str, int]) -> None:
    made = dataset()
    user = gateway("alice").getUserId()
    made.details.owner = omero.model.ExperimenterI(user, False)
    saved = save(gateway("root"), made, groups["write"])
    assert saved.details.owner.id.val == user


def test_users_and_groups_are_made_by_administrators_alone(alice: Any) -> None:
    group = omero.model.ExperimenterGroupI()
    group.name, group.ldap = rstring("mine"), rbool(False)
    with pytest.raises(omero.SecurityViolation):
        alice.c.sf.getAdminService().createGroup(group)
    with pytest.raises(omero.SecurityViolation):
        save(alice, group)


def test_the_gateway_tells_the_same(gateway: Gateway) -> None:
    saved = save(gateway("alice"), dataset())
    mine = gateway("bob").getObject("Dataset", saved.id.val)
    assert (mine.canAnnotate(), mine.canEdit(), mine.canDelete()) == (True, False, False)
    assert (mine.canLink(), mine.canChgrp(), mine.canChown()) == (False, False, False)
    own = gateway("alice").getObject("Dataset", saved.id.val)
    assert (own.canEdit(), own.canChgrp(), own.canChown()) == (True, True, True)
