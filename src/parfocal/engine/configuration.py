"""The configuration of a workflow, checked before anything is planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, create_model

from parfocal.core.step import Step
from parfocal.errors import ConfigurationError
from parfocal.models.annotation_options import AnnotateConfig
from parfocal.models.base import Model, Parameters, problems_by_key
from parfocal.models.compute import ComputeConfig, LocalThreads
from parfocal.models.transfer import TransferLimits

__all__ = ["WorkflowConfig", "check_results", "config_model", "read_config"]


def _plain_path(text: str) -> str:
    if not text.strip():
        msg = "must not be empty"
        raise ValueError(msg)
    if any(mark in text for mark in "{}<>\n\r\t"):
        msg = "must not hold braces, angle brackets, tabs or line breaks"
        raise ValueError(msg)
    return str(Path(text))


PathText = Annotated[str, AfterValidator(_plain_path)]
"""A path that engines take as it stands: braces and angle brackets are wildcards to Snakemake."""

IN_SHEET = ("source", "series", "plate")
"""Parameters for a step by itself; in a workflow the sheet says them for each image."""

OWN_FOLDERS = (
    *("config", "docs", "envs", "galaxy_tools", "rules", "src", "tests", "workflows"),
    *(".git", ".venv", ".snakemake"),
)
"""Folders of the repository that no results may go into."""


class WorkflowConfig(Model):
    """What every workflow is told, besides the parameters of its steps."""

    sheet: PathText = Field(description="Sample sheet, one row an image.")
    results: PathText = Field(
        default="results", description="Results folder; made if it is not there."
    )
    batch_size: int = Field(
        default=64,
        strict=True,
        ge=1,
        le=10_000,
        description="Images that share a job and a process, at most.",
    )
    resource_model: PathText | None = Field(
        default=None,
        description="What 'parfocal calibrate' wrote; by default the model that comes along.",
    )
    label_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=64)] = (
        Field(
            default="nuclei",
            description="Name of the label image, for all steps: letters, digits, '_', '-', and "
            "'.' behind the first.",
        )
    )
    compute: ComputeConfig = Field(
        default=LocalThreads(), description="Where the blocks of an image are worked on."
    )
    transfer: TransferLimits = Field(
        default_factory=TransferLimits,
        description="What a job takes of the network at most while it fetches.",
    )
    annotate: AnnotateConfig = Field(
        default=AnnotateConfig(), description="What becomes of images on an OMERO server."
    )


def config_model(steps: Sequence[Step], optional: Sequence[Step] = ()) -> type[WorkflowConfig]:
    """Return the model of a workflow's configuration: a key for each step, with its own model.

    Parameters
    ----------
    steps : sequence of Step
        Steps that always run; without their key they have their defaults.
    optional : sequence of Step
        Steps that run only when their key is there and not null.
    """
    fields: dict[str, Any] = {}
    for step in steps:
        fields[step.folder] = (step.params, Field(default_factory=step.params))
    for step in optional:
        fields[step.folder] = (step.params | None, None)
    return create_model("Configuration", __base__=WorkflowConfig, **fields)


def read_config(
    model: type[WorkflowConfig], values: Mapping[str, Any], where: str
) -> WorkflowConfig:
    """Check a configuration.

    Parameters
    ----------
    where : str
        The configuration files, for messages.

    Raises
    ------
    ConfigurationError
        It names the file, the key, and the nearest known one to an unknown key.
    """
    shared = values.get("label_name", model.model_fields["label_name"].default)
    always = [key for key, field in model.model_fields.items() if field.default_factory]
    # A section whose lines are all commented out changes nothing.
    given = dict(values) | {key: {} for key in always if values.get(key) is None}
    complete = {
        key: _with_label_name(model, key, value, shared, where) for key, value in given.items()
    }
    _refuse_keys_of_the_sheet(model, given, where)
    try:
        return model.model_validate(complete)
    except ValidationError as error:
        what = "The configuration is not valid"
        problems = problems_by_key(error, model)
        if "label_name" in problems:  # the steps only got it from there
            problems = {k: v for k, v in problems.items() if not k.endswith(".label_name")}
        found = "; ".join(f"{key}: {why}" for key, why in problems.items())
        steps = {key for key in model.model_fields if _params_model(model, key)}
        remedy = "config/analyse_images.yaml names the keys."
        if any(key.partition(".")[0] in steps for key in problems):
            remedy = "'parfocal schema STEP' describes the parameters of a step."
        raise ConfigurationError(
            what, where=f"{where}, key {', '.join(problems)}", found=found, remedy=remedy
        ) from error


def _params_model(model: type[Model], key: str) -> type[Parameters] | None:
    field = model.model_fields.get(key)
    kinds = getattr(field.annotation, "__args__", (field.annotation,)) if field else ()
    found = [k for k in kinds if isinstance(k, type) and issubclass(k, Parameters)]
    return found[0] if found else None


def _with_label_name(
    model: type[WorkflowConfig], key: str, value: Any, shared: Any, where: str
) -> Any:
    params = _params_model(model, key)
    if params is None or "label_name" not in params.model_fields or not isinstance(value, dict):
        return value
    if value.get("label_name", shared) != shared:
        what = "The name of the label image differs between steps"
        remedy = "Set 'label_name' at the top, and in no step."
        raise ConfigurationError(
            what,
            where=f"{where}, key {key}.label_name",
            expected=shared,
            found=value["label_name"],
            remedy=remedy,
        )
    return value | {"label_name": shared}


def _refuse_keys_of_the_sheet(
    model: type[WorkflowConfig], values: Mapping[str, Any], where: str
) -> None:
    for key, value in values.items():
        params = _params_model(model, key)
        known = params.model_fields if params and isinstance(value, dict) else {}
        for name in IN_SHEET:
            if name in known and value.get(name) is not None:
                what = f"The {name} of each image is said by the sample sheet"
                place = f"{where}, key {key}.{name}"
                remedy = f"Remove the key, and fill the column '{name}' of the sheet."
                raise ConfigurationError(what, where=place, found=repr(value[name]), remedy=remedy)


def check_results(results: str, where: str, repository: Path | None) -> None:
    """Refuse a results folder that holds, or is part of, what is not results.

    Parameters
    ----------
    where : str
        The configuration files, for messages.
    repository : Path, optional
        Folder of the workflow's repository.

    Raises
    ------
    ConfigurationError
        If it is the folder that one runs in, one around that, or one of the repository's own.
    """
    place, here = Path(results).resolve(), Path.cwd().resolve()
    own = [repository.resolve() / name for name in OWN_FOLDERS] if repository else []
    if here.is_relative_to(place) or any(place.is_relative_to(one) for one in own):
        what = "Results may not be mixed with the project's own files"
        remedy = "Name a folder of its own, such as 'results'."
        raise ConfigurationError(what, where=f"{where}, key results", found=results, remedy=remedy)
