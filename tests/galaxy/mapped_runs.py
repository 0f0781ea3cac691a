"""Collections of datasets in a history, and tools that are mapped over them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bioblend.galaxy.dataset_collections import CollectionDescription, HistoryDatasetElement
from tests.galaxy.history import ENDED, JOB_TIMEOUT_S, History

__all__ = ["Element", "elements", "list_of", "mapped", "without_failed"]


@dataclass(frozen=True)
class Element:
    """One dataset of a collection whose job has ended.

    Attributes
    ----------
    name : str
        Its element identifier.
    state : str
        ``ok``, ``error``, or ``paused`` where what it is made of is not there.
    id : str
        The dataset.
    """

    name: str
    state: str
    id: str


def list_of(history: History, datasets: Mapping[str, str]) -> str:
    """Make a list of datasets by their names in it, and return the collection."""
    members = CollectionDescription(name="images")
    members.elements = [HistoryDatasetElement(name=n, id=id_) for n, id_ in datasets.items()]
    made = history.api.histories.create_dataset_collection(history.id, members)
    return str(made["id"])


def mapped(history: History, tool: str, ports: Mapping[str, str], **inputs: Any) -> dict[str, str]:
    """Map a tool over collections, and return the collection of each output.

    Parameters
    ----------
    history : History
        Where.
    tool : str
        Its id.
    ports : mapping of str to str
        The collection for each input of data.
    **inputs
        The other inputs.
    """
    linked = {
        port: {"batch": True, "linked": True, "values": [{"src": "hdca", "id": collection}]}
        for port, collection in ports.items()
    }
    made = history.api.tools.run_tool(history.id, tool, inputs | linked)
    return {each["output_name"]: str(each["id"]) for each in made["implicit_collections"]}


def without_failed(history: History, collection: str) -> str:
    """Return a collection without its datasets in red, by Galaxy's own tool for that."""
    given = {"input": {"src": "hdca", "id": collection}}
    made = history.api.tools.run_tool(history.id, "__FILTER_FAILED_DATASETS__", given)
    return str(made["output_collections"][0]["id"])


def elements(history: History, collection: str) -> list[Element]:
    """Return what a collection holds, as soon as all jobs that make it have ended."""
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while True:
        shown = history.api.histories.show_dataset_collection(history.id, collection)
        found = [
            Element(each["element_identifier"], each["object"]["state"], each["object"]["id"])
            for each in shown["elements"]
        ]
        if shown["populated_state"] == "ok" and all(each.state in ENDED for each in found):
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{collection} is not done after {JOB_TIMEOUT_S} s: {found}")
        time.sleep(0.5)
