"""Workflows that a user imports and runs in a history."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tests.galaxy.history import ENDED, REQUEST_TIMEOUT_S, History

__all__ = ["Invocation", "logged_in", "run_workflow"]

RUN_TIMEOUT_S = 900


@dataclass(frozen=True)
class Invocation:
    """A workflow that has ended.

    Attributes
    ----------
    outputs : dict of str to str
        The dataset of each output that is one, by its label.
    collections : dict of str to str
        The collection of each other output.
    states : dict of str to int
        How many jobs ended how.
    """

    outputs: dict[str, str]
    collections: dict[str, str]
    states: dict[str, int]


def run_workflow(history: History, path: Path, inputs: Mapping[str, Any]) -> Invocation:
    """Import a workflow, run it, and wait until all its jobs have ended.

    Parameters
    ----------
    history : History
        Where.
    path : Path
        The workflow in Format 2.
    inputs : mapping
        What goes into it, by labels: ``{"src": "hda" or "hdca", "id": ID}``, or a text.

    Raises
    ------
    RuntimeError
        Galaxy could not schedule it.
    TimeoutError
        It has not ended in time.
    """
    api = history.api
    text = path.read_text(encoding="utf-8")
    document = {"class": "GalaxyWorkflow", "yaml_content": text}
    imported = api.make_post_request(f"{api.url}/workflows", payload={"workflow": document})
    begun = api.workflows.invoke_workflow(
        imported["id"],
        inputs=dict(inputs),
        inputs_by="name",
        history_id=history.id,
    )
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while True:
        shown = api.invocations.show_invocation(begun["id"])
        if shown["state"] in ("failed", "cancelled"):
            raise RuntimeError(f"{path.name} is {shown['state']}: {shown.get('messages')}")
        states = api.invocations.get_invocation_summary(begun["id"])["states"]
        if shown["state"] in ("scheduled", "completed") and set(states) <= ENDED:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path.name} is {shown['state']} with jobs {states}")
        time.sleep(1)
    return Invocation(
        {label: str(each["id"]) for label, each in shown["outputs"].items()},
        {label: str(each["id"]) for label, each in shown["output_collections"].items()},
        dict(states),
    )


@contextmanager
def logged_in(
    history: History, tools: Mapping[str, str], **login: str
) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Keep a login of the user to OMERO, chosen in the forms of tools, while this lasts.

    It yields for each tool what its form sends of that; a workflow needs no more than the choice.

    Parameters
    ----------
    history : History
        Whose user.
    tools : mapping of str to str
        The versions of the tools by their ids.
    **login
        ``host``, ``user`` and ``password``.
    """
    api = history.api
    url = f"{api.url}/users/{api.users.get_current_user()['id']}/credentials"
    values = [{"name": name, "value": value} for name, value in login.items()]
    group = {
        "name": "omero",
        "variables": [each for each in values if each["name"] != "password"],
        "secrets": [each for each in values if each["name"] == "password"],
    }
    sent: dict[str, list[dict[str, Any]]] = {}
    try:
        for tool, version in tools.items():
            service = {"name": "omero", "version": "1.0", "group": group}
            source = {"source_type": "tool", "source_id": tool, "source_version": version}
            made = api.make_post_request(url, payload={**source, "service_credential": service})
            (known,) = _of_tools(history, url, [tool])
            chosen = {"user_credentials_id": known["id"], "current_group_id": made["id"]}
            # Not by bioblend, which takes an answer without content for an error.
            answer = requests.put(
                url,
                json={**source, "service_credentials": [chosen]},
                headers={"x-api-key": str(api.key)},
                timeout=REQUEST_TIMEOUT_S,
            )
            answer.raise_for_status()
            selected = {"id": made["id"], "name": made["name"]}
            user_credentials = {"user_credentials_id": known["id"], "selected_group": selected}
            sent[tool] = [{"name": "omero", "version": "1.0", **user_credentials}]
        yield sent
    finally:
        for each in _of_tools(history, url, tools):
            api.make_delete_request(f"{url}/{each['id']}")


def _of_tools(history: History, url: str, tools: Collection[str]) -> list[dict[str, Any]]:
    every = history.api.make_get_request(url).json()
    return [each for each in every if each["source_id"] in tools]
