"""The learned models of a run that is repeated: they are the ones of then, or nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from parfocal.errors import InputError
from parfocal.provenance.read_crate import Action, Crate
from parfocal.provenance.read_crate_newest import model_of

__all__ = ["check_models"]


def check_models(crate: Crate, actions: Sequence[Action], paths: Iterable[Path]) -> None:
    """Refuse learned models that are not there, or are others than attempts were made with.

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
        If a model is missing, or none of the recorded ones.
    """
    from parfocal.analysis.models.weights import digest_model

    recorded = {model for one in actions if (model := model_of(crate, one))}
    for path in paths if recorded else ():
        if not path.exists():
            what = "The learned model of the run is not there"
            remedy = "Name where it lies now with --map OLD=NEW."
            raise InputError(what, where=path, remedy=remedy)
        found = digest_model(path)
        if found not in recorded:
            what = "The learned model is another one than that of the run"
            expected = ", ".join(sorted(recorded))
            raise InputError(what, where=path, expected=expected, found=found)
