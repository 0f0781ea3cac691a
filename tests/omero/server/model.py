"""The object model of OMERO, read from the classes that omero-py was generated with.

Nothing of the model is written down twice: the fields and their types stand in the generated
``omero_model_*_ice.py`` modules, the elements of collections in the generated ``add`` methods.
"""

from __future__ import annotations

import functools
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import omero
import omero.all
import omero.model

__all__ = ["KINDS", "Field", "Kind", "kind_of"]

Form = Literal["scalar", "quantity", "entity", "collection", "raw"]

_MEMBER = re.compile(r"\('_(\w+)', \(\), (?:[\w.]+\.)?_t_(\w+), False, \d+\)")
_SEQUENCE = re.compile(r"_t_(\w+) = IcePy\.defineSequence\('[^']+', \(\), [\w.]+\._t_(\w+)\)")
_ADD = re.compile(
    r"def add\w+\(self, target, current = None\):\s+self\.errorIfUnloaded\(\)\s+"
    r"if not self\._\w+: self\.throw[^\n]+\s+self\._(\w+)Seq\.append\( target \);?\s+"
    r"target\.set(\w+)\( self \)"
)
_QUANTITIES = frozenset(
    ["ElectricPotential", "Frequency", "Length", "Power", "Pressure", "Temperature", "Time"]
)
_SYSTEM = frozenset(
    [
        "DBPatch",
        "Event",
        "EventLog",
        "Experimenter",
        "ExperimenterGroup",
        "GroupExperimenterMap",
        "Node",
        "Session",
        "Share",
        "ShareMember",
    ]
)


@dataclass(frozen=True)
class Field:
    """A property of a kind of objects.

    Attributes
    ----------
    name : as HQL names it
    wire : the Slice type, such as "RString", "Length", "Image"; of a collection its elements'
    form : how it is kept
    inverse : of a collection, the field of its elements that points back
    required : whether null is refused
    """

    name: str
    wire: str
    form: Form
    inverse: str | None = None
    required: bool = False


@dataclass(frozen=True)
class Kind:
    """A class of the model.

    Attributes
    ----------
    name : such as "MapAnnotation"
    ancestors : names of its classes, itself first, without IObject
    python : omero-py's implementation, such as ``omero.model.MapAnnotationI``; of an abstract
        class its interface
    fields : by name, inherited ones included; without details
    versioned : whether updates count its version
    """

    name: str
    ancestors: tuple[str, ...]
    python: type
    fields: dict[str, Field]
    versioned: bool

    @property
    def root(self) -> str:
        """The class whose ids it shares: "Annotation" of a MapAnnotation."""
        return self.ancestors[-1]

    @functools.cached_property
    def java(self) -> str:
        """The name of its class in the real server, such as "ome.model.core.Image"."""
        constants = (getattr(self.python, name, None) for name in ("DETAILS", "VERSION", "ID"))
        stated = next((c for c in constants if isinstance(c, str)), f"ome.model.{self.name}_")
        return stated.rpartition("_")[0]

    @functools.cached_property
    def is_abstract(self) -> bool:
        """Whether only classes derived from it have objects."""
        return not self.python.__name__.endswith("I")

    @functools.cached_property
    def is_annotation_link(self) -> bool:
        """Whether it ties an annotation to something."""
        return self.name.endswith("AnnotationLink")

    @functools.cached_property
    def is_link(self) -> bool:
        """Whether it has a parent and a child."""
        return {"parent", "child"} <= set(self.fields)

    @functools.cached_property
    def is_enumeration(self) -> bool:
        """Whether it is one of a list of values."""
        return "value" in self.fields and set(self.fields) <= {"value", "bitSize"}

    @functools.cached_property
    def is_system(self) -> bool:
        """Whether it belongs to nobody and is in no group."""
        return self.is_enumeration or self.name in _SYSTEM

    @functools.cached_property
    def plain(self) -> tuple[Field, ...]:
        """The fields that hold neither another object nor several."""
        fields = self.fields.values()
        return tuple(f for f in fields if f.form not in {"entity", "collection"})

    @functools.cached_property
    def members(self) -> tuple[tuple[str, str, Field], ...]:
        """The `plain` fields: their names, those of members of objects of omero-py, and all."""
        return tuple((field.name, f"_{field.name}", field) for field in self.plain)

    @functools.cached_property
    def entities(self) -> tuple[str, ...]:
        """The names of its fields that point at another object."""
        return tuple(f.name for f in self.fields.values() if f.form == "entity")

    @functools.cached_property
    def collections(self) -> tuple[str, ...]:
        """The names of its fields that hold several objects."""
        return tuple(f.name for f in self.fields.values() if f.form == "collection")

    @functools.cached_property
    def required(self) -> tuple[Field, ...]:
        """The fields, without collections, that must not be null."""
        fields = self.fields.values()
        return tuple(f for f in fields if f.required and f.form in {"scalar", "entity"})

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return kind_of, (self.name,)

    def is_a(self, name: str) -> bool:
        """Whether it is of a class or derived from it."""
        return name in self.ancestors or name == "IObject"


def _source(module: str) -> str:
    folder = Path(str(omero.__file__)).parent.parent
    return (folder / f"{module}.py").read_text(encoding="utf-8")


def _form(wire: str) -> Form:
    if wire in _QUANTITIES:
        return "quantity"
    if wire in {"RString", "RInt", "RLong", "RDouble", "RBool", "RTime"}:
        return "scalar"
    if inspect.isclass(getattr(omero.model, wire, None)):
        return "entity"
    return "raw"


@functools.cache
def _members(name: str) -> dict[str, str]:
    """Return the members that a class itself declares, with their types."""
    text = _source(f"omero_model_{name}_ice")
    sequences = dict(_SEQUENCE.findall(text))
    members = _MEMBER.findall(text[text.rindex("IcePy.defineClass") :])
    return {member: sequences.get(wire, wire) for member, wire in members}


def _fields(ancestors: tuple[str, ...], concrete: str) -> dict[str, Field]:
    """Return the fields of a class and of its ancestors.

    The generated code of an abstract class does not tell how its collections are tied; that of a
    class derived from it, ``concrete``, does.
    """
    members: dict[str, str] = {}
    for ancestor in reversed(ancestors):
        members |= _members(ancestor)
    info = getattr(omero.model, concrete + "I")._field_info
    backs = dict(_ADD.findall(_source(f"omero_model_{concrete}I")))
    fields = {}
    for member, wire in members.items():
        label = member.removesuffix("Seq")
        if label not in info._fields or label == "details":
            continue
        required = not getattr(info, label).nullable
        if member.endswith("Seq"):
            back = backs[label][0].lower() + backs[label][1:]
            fields[label] = Field(label, wire, "collection", back, required)
        else:
            fields[label] = Field(label, wire, _form(wire), None, required)
    return fields


def _ancestors(python: type) -> tuple[str, ...]:
    names = [base.__name__ for base in inspect.getmro(python)]
    names = names[: names.index("IObject")]
    return tuple(name for name in names if not name.endswith("I") or name[:-1] not in names)


def _kind(name: str, concrete: str) -> Kind:
    python = getattr(omero.model, name + "I", None) or getattr(omero.model, name)
    ancestors = _ancestors(python)
    versioned = any("version" in _members(ancestor) for ancestor in ancestors)
    return Kind(name, ancestors, python, _fields(ancestors, concrete), versioned)


def _kinds() -> dict[str, Kind]:
    kinds = {
        name[:-1]: _kind(name[:-1], name[:-1])
        for name, python in sorted(vars(omero.model).items())
        if hasattr(python, "_field_info") and issubclass(python, omero.model.IObject)
    }
    abstract = {a: k.name for k in kinds.values() for a in k.ancestors if a not in kinds}
    return kinds | {name: _kind(name, concrete) for name, concrete in sorted(abstract.items())}


KINDS = _kinds()
"""All kinds by name."""

_BY_LOWER = {name.lower(): kind for name, kind in KINDS.items()}


def kind_of(of: Any) -> Kind:
    """Return the kind of a name, a class or an object.

    Raises
    ------
    KeyError
        The model has no such class.
    """
    return _named(of) if isinstance(of, str) else _of_class(of if inspect.isclass(of) else type(of))


@functools.cache
def _named(name: str) -> Kind:
    short = name.rpartition(".")[2].lower()
    return _BY_LOWER[short] if short in _BY_LOWER else _BY_LOWER[short.removesuffix("i")]


@functools.cache
def _of_class(python: type) -> Kind:
    return _named(python.__name__)
