"""IMetadata: annotations by what carries them, instruments, how channels were acquired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import omero
from tests.omero.server.entities import Entity
from tests.omero.server.model import KINDS, kind_of
from tests.omero.server.permissions import can_read
from tests.omero.server.render import Fetched, render
from tests.omero.server.servants import Service

__all__ = ["Metadata"]

_INSTRUMENT = (
    "microscope.type",
    "objective.immersion",
    "objective.correction",
    "detector.type",
    "filter.type",
    "filter.transmittanceRange",
    "filterSet",
    "dichroic",
    "lightSource",
)
_ACQUISITION = (
    "photometricInterpretation",
    "illumination",
    "mode",
    "contrastMethod",
    "detectorSettings.detector.type",
    "detectorSettings.binning",
    "filterSet",
    "lightPath",
    "lightSourceSettings.lightSource",
)
_ANNOTATION = ("details.owner", "details.group", "details.creationEvent", "details.updateEvent")


class Metadata(Service):
    """Implements the parts of `omero.api.IMetadata` that omero-py's gateway and web use."""

    interface = omero.api.IMetadata

    def _sent(self, entities: list[Entity], paths: tuple[str, ...]) -> list[Any]:
        fetched = Fetched()
        for entity in entities:
            for path in paths:
                if path.partition(".")[0] in (*entity.kind.fields, "details"):
                    fetched.follow(self.store, entity, path)
        return render(self.call, entities, fetched)

    def loadInstrument(self, instrument_id: int) -> Any:
        """Return an instrument with its parts."""
        return self._sent([self.require("Instrument", instrument_id)], _INSTRUMENT)[0]

    def loadChannelAcquisitionData(self, ids: list[int]) -> list[Any]:
        """Return logical channels with the settings of what they were acquired by."""
        return self._sent([self.require("LogicalChannel", one) for one in ids], _ACQUISITION)

    def loadAnnotation(self, ids: list[int]) -> list[Any]:
        """Return annotations by their ids."""
        return self._annotations([self.require("Annotation", one) for one in ids])

    def loadSpecifiedAnnotations(
        self, kind: str, include: list[str], exclude: list[str], options: Any
    ) -> list[Any]:
        """Return the annotations of a type, by their namespaces."""
        return self._annotations(self._specified(kind, include, exclude))

    def countSpecifiedAnnotations(
        self, kind: str, include: list[str], exclude: list[str], options: Any
    ) -> Any:
        """Count the annotations of a type, by their namespaces."""
        return omero.rtypes.rlong(len(self._specified(kind, include, exclude)))

    def loadSpecifiedAnnotationsLinkedTo(
        self,
        kind: str,
        include: list[str],
        exclude: list[str],
        root: str,
        ids: list[int],
        options: Any,
    ) -> dict[int, list[Any]]:
        """Return the annotations of a type by what they are linked to."""
        wanted = set(self._specified(kind, include, exclude))
        return self._by_root(root, ids, lambda annotation: annotation in wanted)

    def loadAnnotations(
        self,
        root: str,
        ids: list[int],
        kinds: list[str],
        annotators: list[int],
        options: Any,
    ) -> dict[int, list[Any]]:
        """Return annotations by what they are linked to, of some types and owners."""
        names = [kind_of(name).name for name in kinds or ()]

        def wanted(annotation: Entity) -> bool:
            typed = not names or any(annotation.kind.is_a(name) for name in names)
            owner = annotation.details.owner
            return typed and (not annotators or (owner is not None and owner.id in annotators))

        return self._by_root(root, ids, wanted)

    def _by_root(
        self, root: str, ids: list[int], wanted: Callable[[Entity], bool]
    ) -> dict[int, list[Any]]:
        link = f"{kind_of(root).root}AnnotationLink"
        if link not in KINDS:
            text = f"{root} cannot be annotated"
            raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", text)
        found = {}
        for number in ids:
            entity = self.store.get(kind_of(root).name, number)
            if entity is None or not can_read(self.call, entity):
                continue
            links = self.store.referrers(entity, link, "parent")
            annotations = [one["child"] for one in links if wanted(one["child"])]
            if annotations:
                found[number] = self._annotations(annotations)
        return found

    def _specified(self, kind: str, include: list[str], exclude: list[str]) -> list[Entity]:
        return [
            annotation
            for annotation in self.store.all(kind_of(kind).name)
            if can_read(self.call, annotation)
            and (not include or annotation["ns"] in include)
            and not (exclude and annotation["ns"] in exclude)
        ]

    def _annotations(self, annotations: list[Entity]) -> list[Any]:
        return self._sent(annotations, (*_ANNOTATION, "file"))
