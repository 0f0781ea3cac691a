"""The folder of a run crate: the files that it copies, its root, and the library that writes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from parfocal.errors import ConfigurationError, InputError
from parfocal.provenance.crate_graph import Graph, Reference
from parfocal.provenance.crate_inputs import InputCopy
from parfocal.provenance.crate_lock import LOCK
from parfocal.provenance.crate_terms import compact, media_type, redact

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

__all__ = ["Package", "workflow_language"]

_RUN_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
_WORKFLOW_TYPES = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
_LANGUAGES = {
    "snakefile": "snakemake",
    ".smk": "snakemake",
    ".ga": "galaxy",
    ".gxwf.yml": "galaxy",
    ".cwl": "cwl",
}


def workflow_language(path: str) -> str:
    """Return the language of a workflow by the end of its file's name.

    Raises
    ------
    ConfigurationError
        If it cannot be told.
    """
    for ending, language in _LANGUAGES.items():
        if path.lower().endswith(ending):
            return language
    what = "The language of the workflow cannot be told from its name"
    expected = f"a name that ends in {', '.join(_LANGUAGES)}"
    raise ConfigurationError(what, where=path, expected=expected, remedy="Rename the file.")


class Package:
    """What a crate's folder will hold.

    Attributes
    ----------
    root : dict
        What the crate says of itself.
    warnings : list of str
        What the user should be told.
    copies : list of InputCopy
        Copies of inputs of the run, and of lists, which lie in the folder before it is saved.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._properties: dict[str, dict[str, Any]] = {}
        self._paths: dict[str, str] = {}
        self.root: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.copies: list[InputCopy] = []
        self._main: tuple[str, str, str | None] | None = None

    @property
    def roles(self) -> list[str]:
        """The roles of the files that were copied."""
        return sorted(self._paths)

    def reference(self, role: str) -> Reference:
        """Refer to the file that was copied for a role."""
        return {"@id": quote(self._paths[role])}

    def digest(self, role: str) -> str:
        """Return the sha256 (hex) of the file that was copied for a role."""
        digest: str = self._properties[self._paths[role]]["sha256"]
        return digest

    def describe(self, role: str, **properties: Any) -> None:
        """Say more of the file that was copied for a role; empty lists say nothing."""
        known = self._properties[self._paths[role]]
        for name, value in properties.items():
            if value not in (None, []):
                known[name] = compact(value) if isinstance(value, list) else value

    def copy(self, role: str, path: Path) -> None:
        """Take in a text file, without what may be secrets.

        Raises
        ------
        InputError
            If it cannot be read or is not UTF-8.
        """
        self._paths[role] = f"{role}/{path.name}"
        self.add(self._paths[role], self._clean(role, path))

    def copy_rules(self, place: str, path: Path) -> None:
        """Take in a file of rules of the main workflow, without what may be secrets."""
        text = self._clean("rule", path)
        told = {"description": "Rules that the workflow takes in."}
        self.add(place, text, **told, isPartOf=self.reference("workflow"))

    def copy_locks(self, paths: Sequence[Path]) -> None:
        """Take in the lock files of the environments that the main workflow was run in."""
        required = []
        for path in paths:
            place = f"{LOCK}{path.name}"
            told = "Names, versions and hashes of the packages that the steps were run with."
            self.add(place, self._clean("lock", path), description=told)
            required.append({"@id": quote(place)})
        self.describe("workflow", softwareRequirements=required)

    def add(self, path: str, text: str, **properties: Any) -> None:
        """Take in a text under a path of the crate."""
        content = text.encode()
        name = path.rpartition("/")[2]
        self._texts[path] = text
        self._properties[path] = {
            "name": name,
            "encodingFormat": media_type(name) if "." in name else "text/plain",
            "contentSize": str(len(content)),
            "sha256": hashlib.sha256(content).hexdigest(),
            **properties,
        }

    def _clean(self, role: str, path: Path) -> str:
        """Return a text file without what may be secrets, and warn of them."""
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            what = f"The {role} file cannot be read as text"
            remedy = "Name an existing file in UTF-8."
            raise InputError(what, where=path, found=error, remedy=remedy) from error
        clean = redact(text)
        if clean != text:
            self.warnings.append(
                f"What may be secrets in addresses is left out of the crate's copy of {path.name}"
            )
        return clean

    def make_main(self, role: str, language: str, version: str | None) -> None:
        """Say that the file of a role is the main workflow, in a language of this version."""
        self._main = (self._paths[role], language, version)

    def save(self, folder: Path, graph: Graph, web: Mapping[str, dict[str, Any]]) -> None:
        """Write the crate.

        Parameters
        ----------
        graph : Graph
            The contextual entities.
        web : mapping of str to dict
            Data on the web by their addresses.
        """
        from rocrate.model.contextentity import ContextEntity
        from rocrate.rocrate import ROCrate

        crate = ROCrate(version="1.1")
        crate.metadata.extra_contexts.append(_RUN_TERMS)
        for path in sorted(self._texts):
            self._add_file(crate, path)
        for copy in self.copies:
            crate.add_file(folder / copy.path, copy.path, properties=copy.properties)
        for address, properties in web.items():
            add = crate.add_dataset if properties["@type"] == "Dataset" else crate.add_file
            add(address, properties=properties)
        for identifier, properties in graph.entities.items():
            crate.add(ContextEntity(crate, identifier, properties=properties))
        for name, value in self.root.items():
            crate.root_dataset[name] = value
        folder.mkdir(parents=True, exist_ok=True)
        for entity in crate.data_entities:
            entity.write(folder)
        _write_metadata(crate.metadata.generate(), folder / crate.metadata.id)

    def _add_file(self, crate: ROCrate, path: str) -> None:
        source, properties = StringIO(self._texts[path], newline=""), self._properties[path]
        if self._main is None or self._main[0] != path:
            crate.add_file(source, path, properties=properties)
            return
        _, language, version = self._main
        crate.add_workflow(
            source,
            path,
            main=True,
            lang=language,
            lang_version=version,
            properties=properties | {"@type": _WORKFLOW_TYPES},
        )


def _write_metadata(document: Mapping[str, Any], path: Path) -> None:
    # One entity at a time: the library makes one text of all, five times the size of the file.
    with path.open("w", encoding="utf-8") as stream:
        stream.write(f'{{"@context": {json.dumps(document["@context"])},\n"@graph": [')
        for number, entity in enumerate(document["@graph"]):
            stream.write(",\n" if number else "\n")
            json.dump(entity, stream, indent=1, sort_keys=True, ensure_ascii=False)
        stream.write("\n]}\n")
