"""The configuration that a crate carries, read without trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import yaml

from parfocal.errors import InputError

__all__ = ["parse_config"]

_LARGEST = 1 << 18  # characters; that of analyse_images with all defaults has some thousand
_DEEPEST = 50
_REMEDY = "Run the workflow by hand, with a configuration of your own."


def parse_config(text: str, where: Path) -> dict[str, Any]:
    """Return the values of a configuration, which are those of JSON.

    Record-run keeps configurations as JSON; other YAML will do where it holds nothing that JSON
    cannot: no aliases, by which a few lines become gigabytes, no tags, and no dates.

    Parameters
    ----------
    text : str
        The copy of the configuration.
    where : Path
        The crate, for messages.

    Raises
    ------
    InputError
        If it is no configuration, or holds such things.
    """
    if len(text) > _LARGEST:
        _refuse(where, f"at most {_LARGEST} characters", f"{len(text)}")
    try:
        _check_events(text, where)
        config = yaml.safe_load(text)
        json.dumps(config, sort_keys=True, allow_nan=False, ensure_ascii=False).encode()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        _refuse(where, "keys and values as JSON has them", str(error), error)
    if not isinstance(config, dict):
        _refuse(where, "keys and values", type(config).__name__)
    return config


def _check_events(text: str, where: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            _refuse(where, "no aliases", f"*{event.anchor}{event.start_mark}")
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag:
            _refuse(where, "no tags", f"{event.tag}{event.start_mark}")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            _refuse(where, f"at most {_DEEPEST} lists and mappings in each other", "more")


def _refuse(where: Path, expected: str, found: str, cause: Exception | None = None) -> NoReturn:
    what = "The crate's copy of the configuration cannot be read"
    found = " ".join(found.split())[:300]
    found = found if found.isprintable() else ascii(found)[1:-1]
    raise InputError(what, where=where, expected=expected, found=found, remedy=_REMEDY) from cause
