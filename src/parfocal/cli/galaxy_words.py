"""What to do about an error, in words of Galaxy: its users have tools and forms, and no shell."""

from __future__ import annotations

import re

from parfocal.steps import SUMMARIES

__all__ = ["field_name", "in_words_of_galaxy"]

_COMMAND = re.compile(r"'parfocal ([a-z]+(?:-[a-z]+)*)(?: [^']*)?'")
_SETTING = re.compile(r"--set (?=\w+=)")
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_BY_HAND = ("parfocal ", "pip install")
"""What only those do who have a shell on the machine."""


def in_words_of_galaxy(remedy: str) -> str:
    """Return a remedy that names tools and fields of their forms, not commands and options.

    What takes a shell is said to be for the administrator.

    Parameters
    ----------
    remedy : str
        What a user of the command line can do.
    """
    text = _COMMAND.sub(_tool, remedy)
    if any(part in text for part in _BY_HAND):
        return f"For the administrator of this Galaxy: {text}"
    return _OPTION.sub(lambda option: field_name(option[1]), _SETTING.sub("", text))


def field_name(name: str) -> str:
    """Return what the form of a tool calls an option, or Galaxy the tool of a step, in quotes."""
    return f"'{re.sub('[_-]', ' ', name).capitalize()}'"


def _tool(command: re.Match[str]) -> str:
    return field_name(command[1]) if command[1] in SUMMARIES else command[0]
