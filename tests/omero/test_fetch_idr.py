"""What the IDR publishes nowhere comes from its OMERO server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parfocal.core.step import Context
from parfocal.errors import RemoteError
from parfocal.images import open_image
from parfocal.models.manifest import read_manifest
from parfocal.omero.connection import PATIENCE_VARIABLE
from parfocal.remote import idr, idr_places
from parfocal.steps import fetch_image
from parfocal.steps.sources.archives import OMERO_VARIABLE
from webserver import serve

Fetch = Callable[..., tuple[Path, Context]]


@pytest.fixture
def fetch(logged_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetch]:
    """Fetch an image of an IDR whose web site knows no file of it, without a login."""
    monkeypatch.delenv("OMERO_USER")
    monkeypatch.delenv("OMERO_PASSWORD")
    monkeypatch.setenv(OMERO_VARIABLE, logged_in)
    (tmp_path / "site").mkdir()
    with serve(tmp_path / "site") as web:
        monkeypatch.setenv(idr.URL_VARIABLE, web.url)
        monkeypatch.setenv(idr_places.STORE_VARIABLE, f"{web.url}/store/idr")

        def run(number: int, **params: Any) -> tuple[Path, Context]:
            answers: dict[str, Any] = {
                f"/api/v0/m/images/{number}/": {"data": {"@id": number, "Name": "a"}},
                f"/webgateway/original_file_paths/{number}/": {"repo": [], "client": []},
                "/webclient/api/paths_to_object/": {"paths": [[{"type": "image", "id": number}]]},
            }
            web.answer = lambda path, _: (
                json.dumps(answers[path]).encode() if path in answers else None
            )
            context = Context(scratch=tmp_path)
            folder = tmp_path / "original"
            given = {"source": f"idr:image/{number}", **params}
            chosen = fetch_image.FetchImageParams.model_validate(given)
            fetch_image.STEP.run({}, {"original": folder}, chosen, context)
            return folder, context

        yield run


@pytest.fixture
def image_of_all(root: Any) -> Any:
    """An image that the user ``public`` may see, whose password all know."""
    from omero.model import ExperimenterGroupI, ExperimenterI, PermissionsI
    from omero.rtypes import rbool, rstring

    admin = root.getAdminService()
    group, user = ExperimenterGroupI(), ExperimenterI()
    group.name, group.ldap = rstring("published"), rbool(False)
    group.details.permissions = PermissionsI("rwr---")
    names = {user.omeName.val for user in admin.lookupExperimenters()}
    if "public" not in names:
        group = admin.getGroup(admin.createGroup(group))
        user.omeName, user.ldap = rstring("public"), rbool(False)
        user.firstName, user.lastName = rstring("Public"), rstring("User")
        others = [admin.lookupGroup("user")]
        admin.createExperimenterWithPassword(user, rstring("public"), group, others)
    root.SERVICE_OPTS.setOmeroGroup(admin.lookupGroup("published").id.val)
    planes = iter(np.full((2, 30, 40), 7, np.uint16) + np.arange(2, dtype=np.uint16)[:, None, None])
    return root.createImageFromNumpySeq(planes, "published", sizeC=2)


def test_pixels_come_with_the_login_that_all_know(fetch: Fetch, image_of_all: Any) -> None:
    folder, context = fetch(image_of_all.getId())
    manifest = read_manifest(folder)
    assert manifest.source == f"idr:image/{image_of_all.getId()}"
    with open_image(manifest.primary_path(folder)) as image:
        assert image.shape5 == (1, 2, 1, 30, 40)
        found = image.read(tuple(slice(0, size) for size in image.shape5))
    assert [plane.max() for plane in found[0]] == [7, 8]
    assert context.details["resolved"].endswith(f"/image/{image_of_all.getId()}")
    assert any("published nowhere" in warning for warning in context.warnings)


def test_a_part_comes_from_there_too(fetch: Fetch, image_of_all: Any) -> None:
    region = {"c": [1, 2], "y": [0, 20], "x": [10, 40]}
    folder, context = fetch(image_of_all.getId(), region=region)
    manifest = read_manifest(folder)
    with open_image(manifest.primary_path(folder)) as image:
        assert image.shape5 == (1, 1, 1, 20, 30)
        found = image.read(tuple(slice(0, size) for size in image.shape5))
    assert found.min() == found.max() == 8
    assert manifest.part is not None
    assert context.details["part"]["region"] == region
    assert any("published nowhere" in warning for warning in context.warnings)


def test_a_server_that_does_not_answer_is_told(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OMERO_VARIABLE, "omero+tcp://localhost:1")
    monkeypatch.setenv(PATIENCE_VARIABLE, "0")
    with pytest.raises(RemoteError):
        fetch(5)
