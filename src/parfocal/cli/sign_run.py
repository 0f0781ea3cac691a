"""``parfocal sign-run``: sign a run crate, so that others can tell whose it is."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from parfocal.cli.crate_options import add_crate

__all__ = ["sign_run"]


def sign_run(argv: Sequence[str]) -> int:
    """Sign a crate by an SSH key, and print where the signature lies.

    Raises
    ------
    InputError
        If there is no crate of ours, it is not what its metadata say, or the key does not sign.
    """
    parser = ArgumentParser(
        prog="parfocal sign-run",
        description="Sign a run crate by an SSH key. The signature lies beside the crate, and is "
        "checked by 'parfocal verify-run --signer'.",
    )
    add_crate(parser)
    parser.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        required=True,
        help="private key; or a public one whose private key ssh-agent holds",
    )
    options = parser.parse_args(argv)
    from parfocal.provenance.crate_signature import sign_crate
    from parfocal.provenance.read_crate import read_crate

    sys.stdout.write(f"{sign_crate(read_crate(options.crate), options.key)}\n")
    return 0
