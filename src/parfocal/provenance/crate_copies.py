"""The copies in a crate that a run can be repeated from: workflow, configuration and sheet."""

from __future__ import annotations

import hashlib

from parfocal.errors import InputError
from parfocal.provenance.read_crate import Crate

__all__ = ["copied_file", "copied_name"]

_LARGEST = 1 << 28  # bytes; a sheet of a million rows


def copied_name(crate: Crate, role: str) -> str | None:
    """Return the path in the crate of the copy that has a role; None where it has none.

    Parameters
    ----------
    role : str
        ``workflow``, ``config`` or ``sheet``.
    """
    names = (datum.name for datum in crate.data.values() if datum.in_crate)
    return next((name for name in names if name.startswith(f"{role}/")), None)


def copied_file(crate: Crate, role: str) -> str:
    """Return the text of the copy that has a role.

    Raises
    ------
    InputError
        If the crate has none, or it is not what the crate says.
    """
    name = copied_name(crate, role)
    if name is None:
        what = f"The crate has no copy of the {role}"
        remedy = f"Give it to 'parfocal record-run' with --{role}: without, no run can be repeated."
        raise InputError(what, where=crate.path, remedy=remedy)
    content = crate.files.content(name, _LARGEST)
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    (expected,) = (d.digest for d in crate.data.values() if d.in_crate and d.name == name)
    if found != expected:
        what = f"The crate's copy of the {role} was changed"
        remedy = "Take the crate from a backup; 'parfocal verify-run' tells what else is changed."
        where = f"{crate.path}, {ascii(name)[1:-1]}"
        raise InputError(what, where=where, expected=expected, found=found, remedy=remedy)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"The crate's copy of the {role} is no text in UTF-8"
        raise InputError(what, where=crate.path, found=error) from error
