"""The attempts of a crate that count: the newest ones that ended well."""

from __future__ import annotations

from collections.abc import Iterator

from parfocal.provenance.read_crate import Action, Crate

__all__ = ["last_attempts", "model_of", "newest_attempts", "settings_of", "target_of"]

_TARGETS = ("label_name", "plate")  # parameters that tell apart what one step does to one image


def newest_attempts(crate: Crate) -> list[tuple[Action, str]]:
    """Return the newest attempts that ended well, each with what tells it from its likes."""
    newest: dict[tuple[str, str, str], Action] = {}
    for action in crate.actions:
        if action.failed or action.started is None:
            continue
        target = target_of(crate, action)
        known = newest.get((action.step, action.image_id, target))
        if known is None or known.started is None or known.started <= action.started:
            newest[action.step, action.image_id, target] = action
    return [(action, target) for (_, _, target), action in sorted(newest.items())]


def last_attempts(crate: Crate) -> list[Action]:
    """Return the attempts that ended well, but for those whose results later ones wrote over.

    Of an image that was fetched several times the newest attempt counts, wherever it wrote to.
    """
    last: dict[tuple[str, str, str, tuple[str, ...]], Action] = {}
    newest = {action.identifier for action, _ in newest_attempts(crate)}
    for action in crate.actions:
        if action.failed or action.started is None:
            continue
        if action.step == "fetch-image" and action.identifier not in newest:
            continue
        made = tuple(sorted(crate.data[n].name for n in action.made if n in crate.data))
        key = (action.step, action.image_id, target_of(crate, action), made)
        known = last.get(key)
        if known is None or known.started is None or known.started <= action.started:
            last[key] = action
    return [action for _, action in sorted(last.items())]


def target_of(crate: Crate, action: Action) -> str:
    """Return what tells an attempt from others of its step on its image; empty for nothing."""
    values = dict(settings_of(crate, action))
    return "".join(f" {values[name]}" for name in _TARGETS if values.get(name, "null") != "null")


def settings_of(crate: Crate, action: Action) -> Iterator[tuple[str, str]]:
    """Yield names and values of the parameters of an attempt."""
    for identifier in action.used:
        if identifier in crate.values:
            yield crate.values[identifier]


def model_of(crate: Crate, action: Action) -> str | None:
    """Return the digest of the learned model that an attempt was made with; None for none."""
    facts = dict(crate.values[fact] for fact in action.facts if fact in crate.values)
    return facts.get("model_digest")
