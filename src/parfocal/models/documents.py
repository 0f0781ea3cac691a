"""Reading JSON and YAML without guessing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from parfocal.errors import ConfigurationError

__all__ = ["parse_document"]


def parse_document(text: str, where: object) -> Any:
    """Parse JSON or YAML.

    JSON comes first, since YAML 1.1 reads some of it otherwise, such as ``1e-3`` as text.

    Parameters
    ----------
    text : str
        The document.
    where : object
        What it is, for errors.

    Raises
    ------
    ConfigurationError
        If it is neither, or a mapping has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError:
        return _parse_yaml(text, where)
    except ValueError as error:
        raise _invalid(error, where) from error


def _parse_yaml(text: str, where: object) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """A safe loader of its own, so that nobody else's is changed."""

    def construct(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
        # Not the merged ones (<<), which are there to be overridden.
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        _refuse_doubled([key.value for key in keys if key.tag != "tag:yaml.org,2002:merge"])
        loader.flatten_mapping(node)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:map", construct)
    try:
        return yaml.load(text, Loader)  # noqa: S506  # it is a safe loader
    except (yaml.YAMLError, ValueError) as error:
        raise _invalid(error, where) from error


def _invalid(error: Exception, where: object) -> ConfigurationError:
    what = "This is not valid YAML or JSON"
    return ConfigurationError(what, where=where, found=" ".join(str(error).split()))


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_doubled([key for key, _ in pairs])
    return dict(pairs)


def _refuse_doubled(keys: Sequence[Any]) -> None:
    doubled = [key for number, key in enumerate(keys) if key in keys[:number]]
    if doubled:
        msg = f"{doubled[0]!r} is given twice"
        raise ValueError(msg)
