"""The description of a step that other programs read."""

from __future__ import annotations

from typing import Any

from parfocal.core.step import Port, Step

__all__ = ["step_schema"]


def step_schema(step: Step) -> dict[str, Any]:
    """Return a step's JSON Schema, with its inputs and outputs beside the parameters.

    Returns
    -------
    dict
        The schema of the parameters (JSON Schema 2020-12), and under ``x-parfocal`` the
        step's name, version, scope, exactness, inputs and outputs.
    """
    schema = step.params.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": step.name,
        "description": step.summary,
        "x-parfocal": {
            "version": step.version,
            "scope": step.scope,
            "exact": step.exactness.is_exact,
            "tolerance": step.exactness.tolerance,
            "numeric_with": step.exactness.parameter,
            "unless": step.exactness.unless,
            "inputs": [_port(port) for port in step.inputs],
            "outputs": [_port(port) for port in step.outputs],
        },
    }


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "kind": port.kind,
        "path": port.path,
        "required": port.required,
        "description": port.help,
    }
