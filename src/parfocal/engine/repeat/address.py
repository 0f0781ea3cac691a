"""Addresses of repositories: those with a password in them are refused, and never shown."""

from __future__ import annotations

import re

from parfocal.errors import ConfigurationError

__all__ = ["refuse_secrets"]

_SSH = {"ssh", "git+ssh", "ssh+git"}
_HOST = re.compile(r"(?:\[[^\]@]*\]|[^:@\[\]]*)(?::[0-9]*)?")
_USER = re.compile(r"[^:@]*@")
_SHORT = re.compile(r"[^/:@]+:[^/]*@")  # user:password@host, without a scheme


def refuse_secrets(address: str) -> None:
    """Refuse an address with a password: git's arguments and its configuration would tell it.

    Parameters
    ----------
    address : str
        Path or URL of a repository. A user without a password is fine for SSH alone: elsewhere
        it is a token as often as not.

    Raises
    ------
    ConfigurationError
        If there is user information in it. The error does not repeat the address.
    """
    before, scheme_ends, rest = address.partition("://")
    if scheme_ends and "/" not in before:
        scheme = before.rpartition("::")[2].strip().lower()
        host = re.split(r"[/?#]", rest, maxsplit=1)[0]
        if scheme in _SSH:
            host = _USER.sub("", host, count=1)
        secret = _HOST.fullmatch(host) is None
    else:
        secret = _SHORT.match(address) is not None
    if secret:
        what = "The address of the repository has a user or a password in it"
        remedy = (
            "Name it without: git asks its credential helper, or takes your SSH key with "
            "ssh://git@host/path or git@host:path."
        )
        raise ConfigurationError(what, where="--repository", remedy=remedy)
