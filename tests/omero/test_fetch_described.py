"""What the server knows of an image comes along: microscope, ids, permalink, owner and group."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import omero.model
import pytest
from omero.model.enums import UnitsLength, UnitsTemperature
from omero.rtypes import rdouble, rstring

from omero_objects import annotated, dataset, key_values, reference, save
from parfocal.core.digest import digest_path
from parfocal.engine import run_step
from parfocal.errors import InputError
from parfocal.images import open_image
from parfocal.models.manifest import read_manifest
from parfocal.models.record import Record
from parfocal.models.sheet import read_sheet
from parfocal.steps import load_step

PLANES = "é ☃ 漢字 🧫 \U0001d518 \U00020000 \U00030000 \U000e0041 \U000f0000 \U0010fffd"
"""Text from each of the planes of Unicode that have characters: 0, 1, 2, 3, 14, 15 and 16."""

LARGEST = 64 << 10


@pytest.fixture
def image(alice: Any) -> Any:
    """An image by an instrument and an objective, named in all planes; as omero-py has it."""
    within = alice.getObject("Dataset", save(alice, dataset(f"set {PLANES}")).id.val)
    planes = iter([np.full((24, 32), 7, np.uint16)])
    made = alice.createImageFromNumpySeq(planes, f"cells {PLANES}", dataset=within)
    instrument = save(alice, _instrument(alice))
    loaded = alice.getMetadataService().loadInstrument(instrument.id.val)
    settings = omero.model.ObjectiveSettingsI()
    settings.objective = reference(loaded.copyObjective()[0])
    settings.refractiveIndex = rdouble(1.518)
    environment = omero.model.ImagingEnvironmentI()
    environment.temperature = omero.model.TemperatureI(37.0, UnitsTemperature.CELSIUS)
    stage = omero.model.StageLabelI()
    stage.name = rstring("A1")
    stage.positionX = omero.model.LengthI(2.5, UnitsLength.MILLIMETER)
    query = "select i from Image i where i.id = :id"
    entity = alice.getQueryService().findByQuery(query, omero.sys.ParametersI().addId(made.id))
    entity.instrument = reference(instrument)
    entity.objectiveSettings = save(alice, settings)
    entity.imagingEnvironment = save(alice, environment)
    entity.stageLabel = save(alice, stage)
    entity.description = rstring(f"seen {PLANES}")
    save(alice, entity)
    return alice.getObject("Image", made.id)


def _instrument(gateway: Any) -> Any:
    query = gateway.getQueryService()
    instrument, objective = omero.model.InstrumentI(), omero.model.ObjectiveI()
    microscope = omero.model.MicroscopeI()
    microscope.manufacturer, microscope.model = rstring("Some maker"), rstring("Scope 1")
    microscope.type = query.findByString("MicroscopeType", "value", "Inverted")
    instrument.microscope = microscope
    objective.model = rstring("63x oil")
    objective.nominalMagnification, objective.lensNA = rdouble(63), rdouble(1.4)
    objective.immersion = query.findByString("Immersion", "value", "Oil")
    objective.correction = query.findByString("Correction", "value", "PlanApo")
    instrument.addObjective(objective)
    return instrument


@pytest.fixture
def fetched(image: Any, logged_in: str, tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """Fetch the image into ``original`` with ``record.json``; return what ``omero.json`` says."""

    def run() -> dict[str, Any]:
        run_step(
            load_step("fetch-image"),
            {},
            {"original": tmp_path / "original"},
            {"source": f"{logged_in}/image/{image.getId()}"},
            record=tmp_path / "record.json",
        )
        told: dict[str, Any] = json.loads((tmp_path / "original/omero.json").read_text("utf-8"))
        return told

    return run


def test_the_microscope_comes_along(fetched: Callable[[], dict[str, Any]]) -> None:
    told = fetched()
    assert told["microscope"] == {
        "manufacturer": "Some maker",
        "model": "Scope 1",
        "type": "Inverted",
    }
    assert told["objective"] == {
        "model": "63x oil",
        "nominalMagnification": 63.0,
        "lensNA": 1.4,
        "immersion": "Oil",
        "correction": "PlanApo",
    }
    assert told["objective_settings"]["refractiveIndex"] == 1.518
    assert told["environment"]["temperature"] == {"value": 37.0, "unit": "CELSIUS"}
    assert told["stage"]["name"] == "A1"
    assert told["stage"]["positionX"] == {"value": 2.5, "unit": "MILLIMETER"}


def test_an_image_without_a_microscope_has_none(alice: Any, logged_in: str, tmp_path: Path) -> None:
    made = alice.createImageFromNumpySeq(iter([np.zeros((4, 4), np.uint8)]), "plain")
    source = {"source": f"{logged_in}/image/{made.getId()}"}
    run_step(load_step("fetch-image"), {}, {"original": tmp_path / "original"}, source)
    told = json.loads((tmp_path / "original/omero.json").read_text("utf-8"))
    names = ("microscope", "objective", "objective_settings", "environment", "stage")
    assert [told[name] for name in names] == [None] * len(names)


def test_ids_permalink_owner_and_group_come_along(
    fetched: Callable[[], dict[str, Any]], image: Any, alice: Any, logged_in: str, tmp_path: Path
) -> None:
    told = fetched()
    host = logged_in.removeprefix("omero://").partition(":")[0]
    expected = {
        "id": image.getId(),
        "permalink": f"https://{host}/webclient/?show=image-{image.getId()}",
        "owner": "alice",
        "group": {"id": alice.getGroupFromContext().getId(), "name": "annotate"},
    }
    assert {name: told[name] for name in expected} == expected
    assert told["uri"] == f"{logged_in}/image/{image.getId()}"
    assert told["pixels_id"] == image.getPixelsId()
    (parent,) = image.listParents()
    assert told["datasets"] == [{"id": parent.getId(), "name": f"set {PLANES}"}]
    # The record tells of the image, and holds the digest of all that came of it.
    record = Record.model_validate_json((tmp_path / "record.json").read_text("utf-8"))
    assert {name: record.details["omero"][name] for name in expected} == expected
    (output,) = record.outputs
    assert output.digest == digest_path(tmp_path / "original")
    files = {file.path for file in read_manifest(tmp_path / "original").files}
    assert files == {f"image-{image.getId()}.ome.zarr", "omero.json"}


def test_text_of_all_planes_comes_as_it_is(
    fetched: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    told = fetched()
    assert (told["name"], told["description"]) == (f"cells {PLANES}", f"seen {PLANES}")
    folder = tmp_path / "original"
    with open_image(folder / read_manifest(folder).primary) as found:
        assert found.metadata.name == f"cells {PLANES}"
        assert found.metadata.stage_x_um == 2500.0


def test_pairs_of_64_kb_come_as_they_are(
    fetched: Callable[[], dict[str, Any]],
    image: Any,
    alice: Any,
    logged_in: str,
    tmp_path: Path,
) -> None:
    long = (PLANES + "\t\"'\n") * (LARGEST // len((PLANES + "\t\"'\n").encode()) + 1)
    pairs = save(alice, key_values("some.where", long=long, **{PLANES: "key"}))
    save(alice, annotated(reference(image._obj), reference(pairs)))
    (annotation,) = fetched()["annotations"]
    assert annotation["pairs"] == [["long", long], [PLANES, "key"]]
    source = {"source": f"{logged_in}/image/{image.getId()}"}
    run_step(load_step("list-images"), {}, {"sheet": tmp_path / "s.tsv"}, source)
    (row,) = read_sheet(tmp_path / "s.tsv")
    assert row.name == f"cells {PLANES}"
    assert dict(row.model_extra or {})["long"].split() == long.split()


@pytest.mark.parametrize("after", ["steps.sources.omero.fetch_whole", "omero.description._rois"])
def test_an_image_that_is_deleted_meanwhile_is_told(
    image: Any,
    alice: Any,
    fetched: Callable[[], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: str,
) -> None:
    number = image.getId()
    name = f"parfocal.{after}"
    work = pkgutil.resolve_name(name)

    def then_delete(*args: Any) -> Any:
        done = work(*args)
        done = list(done) if after.endswith("_rois") else done
        alice.deleteObjects("Image", [number], wait=True)
        return done

    monkeypatch.setattr(name, then_delete)
    with pytest.raises(InputError, match="is gone from the OMERO server") as caught:
        fetched()
    assert str(caught.value.where).endswith(f"/image/{number}")
    assert caught.value.remedy
    assert not (tmp_path / "original").exists()
