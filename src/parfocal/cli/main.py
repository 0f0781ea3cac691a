"""The ``parfocal`` command: finds the subcommand, and turns errors into exit codes."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from parfocal import __version__
from parfocal.core.stopping import ask_to_stop
from parfocal.errors import ParfocalError

__all__ = ["main"]

logger = logging.getLogger("parfocal")

_UNREAD = 128 + signal.SIGPIPE
"""Exit code where nobody reads what is printed, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name.

    Returns
    -------
    int
        0 done, 2 the user's input or configuration, 3 a remote system, 4 a verification that
        failed, 1 a bug, 141 where nobody reads any more what is printed.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0 if argv else 2
    if argv[0] == "--version":
        sys.stdout.write(f"parfocal {__version__}\n")
        return 0
    os.environ.setdefault("PARFOCAL_ENGINE", "shell")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    from parfocal.cli.log import set_up_logging

    set_up_logging()
    try:
        code = _dispatch(argv[0], argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_read():  # as by 'parfocal ... | head'
            return _UNREAD
        raise
    except ParfocalError as error:
        from parfocal.cli.galaxy_words import in_words_of_galaxy
        from parfocal.models.strangers import from_strangers

        if error.remedy and from_strangers():
            error.remedy = in_words_of_galaxy(error.remedy)
        logger.error("%s", error)  # noqa: TRY400  # the user needs no traceback
        return error.exit_code
    return code


def _is_read() -> bool:
    """Return whether somebody still reads what is printed; what nobody does is dropped."""
    poll = select.poll()
    poll.register(1, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    return True


def _stop(number: int, _frame: object) -> NoReturn:
    # An exception, so that what a stopped job has begun is cleaned up and recorded; once only,
    # since a second one would interrupt just that.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    ask_to_stop()
    sys.exit(128 + number)


def _dispatch(name: str, argv: Sequence[str]) -> int:
    from parfocal.cli.commands import COMMANDS
    from parfocal.steps import LOGS_IN, SUMMARIES, load_step

    if name in SUMMARIES:
        from parfocal.cli.step_command import run_step_command
        from parfocal.core.secrets import forget_secrets

        if name not in LOGS_IN:
            forget_secrets()
        return run_step_command(load_step(name), argv)
    if name in COMMANDS:
        return COMMANDS[name].run(argv)
    import difflib

    known = [*SUMMARIES, *COMMANDS]
    near = difflib.get_close_matches(name, known, 1)
    logger.error(
        "There is no command %r. %s",
        name,
        f"Did you mean {near[0]!r}?" if near else "'parfocal --help' lists them.",
    )
    return 2


def _help() -> str:
    from parfocal.cli.commands import COMMANDS
    from parfocal.steps import SUMMARIES

    rows = list(SUMMARIES.items())
    more = [(name, command.summary) for name, command in COMMANDS.items()]
    width = max(len(name) for name, _ in rows + more)
    lines = ["usage: parfocal COMMAND [options]    (parfocal COMMAND --help tells its options)"]
    for title, part in (("Steps", rows), ("Other commands", more)):
        lines += ["", f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in part)]
    lines += ["", "Exit codes: 0 done, 2 input or configuration, 3 a remote system, 4 verification"]
    lines += ["failed, 1 a bug.", ""]
    return "\n".join(lines)
