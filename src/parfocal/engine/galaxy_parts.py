"""What the form of a Galaxy tool is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Case",
    "Choice",
    "Conditional",
    "Dataset",
    "Each",
    "Number",
    "Part",
    "Repeat",
    "Section",
    "Span",
    "Switch",
    "Text",
]

Each = Literal["value", "pair", "entry", "model"]

_UNITS = {"px": "pixels", "um": "µm", "mib": "MiB", "s": "s"}
_SPELT = {"ngff": "NGFF", "url": "URL", "orcid": "ORCID", "iou": "IoU"}


@dataclass(frozen=True)
class Part:
    """Anything that a form asks for.

    Attributes
    ----------
    name : str
        As the step calls it.
    help : str
        What the model says of it, where *null* reads *empty*.
    """

    name: str
    help: str

    @property
    def label(self) -> str:
        """The name in words, with its unit."""
        *words, last = self.name.split("_")
        unit = _UNITS.get(last) if words else None
        spelt = [_SPELT.get(word, word) for word in (words if unit else [*words, last])]
        text = " ".join(spelt)
        return text[0].upper() + text[1:] + (f" ({unit})" if unit else "")


@dataclass(frozen=True)
class Switch(Part):
    """What is true or false."""

    default: bool


@dataclass(frozen=True)
class Number(Part):
    """A number; `above` and `below` are bounds that it may not reach itself."""

    whole: bool
    default: float | None
    optional: bool
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True)
class Text(Part):
    """A text; of an `index`, digits alone are a number."""

    default: str | None
    optional: bool
    shortest: int | None = None
    longest: int | None = None
    pattern: str | None = None
    index: bool = False


@dataclass(frozen=True)
class Choice(Part):
    """One of several values, or any of them where `many`; numbers come as texts from Galaxy."""

    options: tuple[str | int, ...]
    default: tuple[str | int, ...]
    optional: bool
    many: bool = False


@dataclass(frozen=True)
class Dataset(Part):
    """A dataset of the user's; the step is given its path."""

    formats: str


@dataclass(frozen=True)
class Section(Part):
    """Parameters that belong together: a model within the model."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Span(Part):
    """From `parts[0]` up to `parts[1]`, both or neither of them given."""

    parts: tuple[Part, Part]


@dataclass(frozen=True)
class Repeat(Part):
    """As many as the user likes, each of `parts`.

    Attributes
    ----------
    each : {"value", "pair", "entry", "model"}
        What one of them is: a bare value, a pair, a key of a mapping with its value, or a model.
    optional : bool
        Whether none of them means null.
    """

    parts: tuple[Part, ...]
    each: Each
    least: int
    optional: bool


@dataclass(frozen=True)
class Case:
    """One choice of a `Conditional`, and what it asks for; the value is null where `empty`."""

    value: str
    text: str
    parts: tuple[Part, ...]
    empty: bool = False


@dataclass(frozen=True)
class Conditional(Part):
    """A choice between several models, or between one and none.

    Attributes
    ----------
    switch : str
        The select by which the user chooses.
    default : str
        The value that is chosen at first.
    tagged : bool
        Whether the switch is a field of the models too.
    """

    switch: str
    cases: tuple[Case, ...]
    default: str
    tagged: bool
