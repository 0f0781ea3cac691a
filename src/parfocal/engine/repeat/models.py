"""The learned models of a run that is repeated: they are the ones of then, or nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from parfocal.errors import InputError
from parfocal.provenance.read_crate import Action, Crate
from parfocal.provenance.read_crate_newest import model_of
from parfocal.provenance.verify_files import strange_file

__all__ = ["check_models"]


def check_models(crate: Crate, actions: Sequence[Action], paths: Iterable[Path]) -> None:
    """Refuse learned models that are not there, or are others than attempts were made with.

    What a crate names is not opened where it is neither a file nor a folder, or the system's own.

    Crates from before models had a fact of their own tell nothing to compare with.

    Parameters
    ----------
    actions : sequence of Action
        The attempts that are made again.
    paths : iterable of Path
        Where models lie now.

    Raises
    ------
    InputError
        If a model is missing, none that may be read, or none of the recorded ones.
    """
    from parfocal.analysis.models.weights import digest_model

    recorded = {model for one in actions if (model := model_of(crate, one))}
    for path in paths:
        _refuse_strange(path)
        if not recorded:
            continue
        if not path.exists():
            what = "The learned model of the run is not there"
            remedy = "Name where it lies now with --map OLD=NEW."
            raise InputError(what, where=path, remedy=remedy)
        found = digest_model(path)
        if found not in recorded:
            what = "The learned model is another one than that of the run"
            expected = ", ".join(sorted(recorded))
            raise InputError(what, where=path, expected=expected, found=found)


def _refuse_strange(path: Path) -> None:
    try:
        found = strange_file(path) if path.exists() else None
    except (OSError, RuntimeError) as error:  # a link to itself, or in a folder that is not open
        found = str(error)
    if found:
        what = "The learned model of the run cannot be read"
        remedy = "Name where it lies with --map OLD=NEW."
        raise InputError(what, where=path, expected="a file or folder", found=found, remedy=remedy)
