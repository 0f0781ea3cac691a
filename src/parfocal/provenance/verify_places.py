"""Where the data of a crate lie on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from parfocal.errors import ConfigurationError
from parfocal.models.source import is_uri

__all__ = ["Places", "parse_maps"]

_LOCAL_HOSTS = ("", "localhost")


@dataclass(frozen=True)
class Places:
    """Finds data by the names that the crate has for them.

    Parameters
    ----------
    results : Path
        The results folder, which relative paths are relative to.
    maps : mapping of str to str
        New beginnings of paths and URIs by old ones; the longest that fits counts.
    copies : mapping of str to Path
        Where single things lie, by their names; these count before all else.
    """

    results: Path
    maps: Mapping[str, str]
    copies: Mapping[str, Path] = field(default_factory=dict)

    def of(self, name: str) -> Path | None:
        """Return where something lies; None where it is no file of this machine."""
        if name in self.copies:
            return self.copies[name]
        mapped = self._mapped(name)
        if mapped is None or not is_uri(mapped):
            return None if mapped is None else self.results / mapped
        try:
            parts = urlsplit(mapped)
        except ValueError:
            return None
        if parts.scheme.lower() == "file" and parts.netloc in _LOCAL_HOSTS:
            return Path(unquote(parts.path))
        return None

    def _mapped(self, name: str) -> str | None:
        """Return the name with its new beginning; None where it would lead out of that."""
        for old in sorted(self.maps, key=len, reverse=True):
            rest = name.removeprefix(old)
            if rest != name and (not rest or rest[0] == "/" or old.endswith("/")):
                rest = rest.strip("/")
                new = self.maps[old]
                if is_uri(new):
                    return f"{new.rstrip('/')}/{rest}" if rest else new
                below = PurePosixPath(unquote(rest) if is_uri(name) else rest)
                return None if ".." in below.parts else str(Path(new).absolute() / below)
        return name


def parse_maps(texts: list[str]) -> dict[str, str]:
    """Return what ``OLD=NEW`` say.

    Raises
    ------
    ConfigurationError
        If one is of another form, or an old beginning is given twice.
    """
    maps: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not (old and equals and new) or old in maps:
            what = "A --map is not valid" if old not in maps else "A --map is given twice"
            raise ConfigurationError(what, expected="OLD=NEW, each OLD once", found=text)
        maps[old] = new
    return maps
