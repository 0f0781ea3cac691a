"""What the tests of this folder stand on: a server, its users and groups, and clients of it."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import pytest

from omero_accounts import GROUPS, MEMBERS, make_accounts
from omero_process import PASSWORDS, OwnServer, RealServer


def groups_of(connection) -> dict[str, str]:
    """Return the groups of the tests that a user is in, and their permissions."""
    found = {g.getName(): str(g.getDetails().permissions) for g in connection.getGroupsMemberOf()}
    return {name: permissions for name, permissions in found.items() if name in GROUPS}


@pytest.mark.parametrize("user", list(MEMBERS))
def test_users_are_members_of_their_groups(gateway, user: str) -> None:
    connection = gateway(user)
    assert groups_of(connection) == {name: GROUPS[name] for name in MEMBERS[user]}
    assert connection.getGroupFromContext().getName() == MEMBERS[user][0]
    assert not connection.isAdmin()


def test_a_group_to_work_in_can_be_chosen(gateway) -> None:
    assert gateway("alice", group="private").getGroupFromContext().getName() == "private"


def test_root_is_an_administrator_and_accounts_are_made_once(root) -> None:
    before = len(root.getAdminService().lookupExperimenters())
    make_accounts(root, PASSWORDS)
    assert root.isAdmin()
    assert len(root.getAdminService().lookupExperimenters()) == before


def test_accounts_are_made_where_there_are_none(root, gateway, server: RealServer) -> None:
    import omero_accounts

    name = f"user-{uuid.uuid4().hex[:8]}"  # a real server may keep those of earlier runs
    members, omero_accounts.MEMBERS = omero_accounts.MEMBERS, {name: ("write", "private")}
    try:
        make_accounts(root, {name: name})
    finally:
        omero_accounts.MEMBERS = members
    server._passwords[name] = name
    assert set(groups_of(gateway(name))) == {"write", "private"}


def test_a_restarted_server_has_its_data_and_its_ports(tmp_path: Path) -> None:
    import omero
    from tests.omero.conftest import connect

    own = OwnServer(tmp_path / "server")
    own.start()
    try:
        ports = own.ssl, own.tcp, own.faults
        connection = connect(own, "alice")
        made = omero.model.DatasetI()
        made.name = omero.rtypes.rstring("kept")
        number = connection.getUpdateService().saveAndReturnObject(made).id.val
        connection.close()
        own.restart()
        assert (own.ssl, own.tcp, own.faults) == ports
        connection = connect(own, "alice")
        assert connection.getObject("Dataset", number).getName() == "kept"
        connection.close()
        pid = own.pid
        own.stop(signal.SIGKILL)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    finally:
        own.stop()


def test_logins_of_this_user_do_not_reach_the_tests(tmp_path: Path) -> None:
    from omero.util import get_omero_userdir

    assert not [name for name in os.environ if name.startswith("OMERO_SESS") and "DIR" not in name]
    assert Path.home() not in Path(get_omero_userdir()).parents
