"""What viewers do not find in an assembled OME-Zarr is an error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from memory_images import save
from parfocal.errors import VerificationError
from parfocal.images.writers.assemble import assemble
from parfocal.images.writers.delivery import check_opens


@pytest.fixture
def assembled(tmp_path: Path) -> Path:
    pixels = np.arange(2 * 600 * 500).reshape(2, 600, 500).astype(np.uint16)
    save(tmp_path / "image.ome.zarr", pixels, "CYX")
    save(tmp_path / "labels.ome.zarr", (pixels[0] > 9).astype(np.uint32), "YX", labels=True)
    target = tmp_path / "assembled.ome.zarr"
    inputs = (tmp_path / "image.ome.zarr", tmp_path / "labels.ome.zarr")
    assemble(*inputs, "nuclei", target, lambda done, total: None)
    return target


def test_a_whole_one_opens(assembled: Path) -> None:
    assert check_opens(assembled, "nuclei").startswith("ome-zarr-py 0.")


def test_a_label_image_that_is_not_listed_is_missed(assembled: Path) -> None:
    path = assembled / "labels/zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["ome"]["labels"] = []
    path.write_text(json.dumps(document))
    with pytest.raises(VerificationError, match="0 label images"):
        check_opens(assembled, "nuclei")


def test_levels_that_do_not_fit_are_told(assembled: Path) -> None:
    path = assembled / "labels/nuclei/zarr.json"
    document = json.loads(path.read_text())
    datasets = document["attributes"]["ome"]["multiscales"][0]["datasets"]
    assert len(datasets) > 1
    del datasets[1:]
    path.write_text(json.dumps(document))
    with pytest.raises(VerificationError, match="levels of other sizes"):
        check_opens(assembled, "nuclei")
