"""The test server has imports and plates to fetch, and keeps everything over a restart."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ezomero
import numpy as np
import omero
import pytest
import tifffile
from tests.omero.server.control import Control, ControlError

from omero_process import OwnServer


@pytest.fixture
def imported(alice: Any, faults: Control, tmp_path: Path) -> dict[str, Any]:
    """Two images that came with two files."""
    arrays = [np.arange(96 * (n + 1), dtype="u2").reshape(1, 2, n + 1, 6, 8) for n in range(2)]
    for number, array in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", array)
        (tmp_path / f"{number}.raw").write_bytes(array.tobytes())
    series = [
        {
            "npy": str(tmp_path / f"{number}.npy"),
            "name": f"series {number}",
            "channels": ["DAPI", "GFP"],
            "emission_nm": [460.0, 509.0],
            "colors": [[0, 0, 255, 255], [0, 255, 0, 255]],
            "pixel_size_um": {"x": 0.25, "y": 0.25, "z": 1.5},
        }
        for number in range(2)
    ]
    files = [str(tmp_path / f"{number}.raw") for number in range(2)]
    dataset = ezomero.post_dataset(alice, "imports")
    made = faults.seed("import", files=files, series=series, dataset=dataset)
    return {**made, "arrays": arrays, "dataset": dataset}


def test_imports_have_original_files(alice: Any, imported: dict[str, Any]) -> None:
    image = alice.getObject("Image", imported["images"][1])
    assert image.getName() == "series 1"
    assert image.countImportedImageFiles() == 2
    assert image.getFileset().getId() == imported["fileset"]
    files = list(image.getImportedImageFiles())
    assert [file.getName() for file in files] == ["0.raw", "1.raw"]
    assert image.canDownload()
    for file, array in zip(files, imported["arrays"], strict=True):
        assert b"".join(file.getFileInChunks()) == array.tobytes()
    assert image.getImportedFilesInfo()["count"] == 2
    assert ezomero.get_original_filepaths(alice, image.getId(), fpath="client")[0].endswith("0.raw")


def test_imports_have_pixels_and_metadata(alice: Any, imported: dict[str, Any]) -> None:
    image = alice.getObject("Image", imported["images"][1])
    plane = image.getPrimaryPixels().getPlane(1, 1, 0)
    np.testing.assert_array_equal(plane, imported["arrays"][1][0, 1, 1])
    assert [channel.getName() for channel in image.getChannels(noRE=True)] == ["DAPI", "GFP"]
    assert [channel.getEmissionWave() for channel in image.getChannels(noRE=True)] == [460, 509]
    assert image.getChannels()[1].getColor().getHtml() == "00FF00"
    size = image.getPixelSizeZ(units=True)
    assert (size.getValue(), size.getSymbol()) == (1.5, "µm")
    assert ezomero.get_image_ids(alice, dataset=imported["dataset"]) == imported["images"]


def test_one_image_of_an_import_cannot_be_deleted(alice: Any, imported: dict[str, Any]) -> None:
    first, second = imported["images"]
    with pytest.raises(omero.CmdError, match="within Fileset"):
        alice.deleteObjects("Image", [first], wait=True)
    alice.deleteObjects("Image", [first, second], wait=True)
    assert alice.getObject("Fileset", imported["fileset"]) is None
    assert alice.getObject("OriginalFile", imported["files"][0]) is None


def test_downloads_are_kept_from_whom_the_policy_says(
    gateway: Any, faults: Control, imported: dict[str, Any]
) -> None:
    faults.restrict_download("+write", "+image")
    try:
        bob, alice = gateway("bob"), gateway("alice")
        number = imported["images"][0]
        assert not bob.getObject("Image", number).canDownload()
        assert alice.getObject("Image", number).canDownload()
        file = next(iter(bob.getObject("Image", number).getImportedImageFiles()))
        with pytest.raises(omero.SecurityViolation, match="Download is restricted"):
            next(file.getFileInChunks())
        bob.getObject("Image", number).getPrimaryPixels().getPlane()
    finally:
        faults.restrict_download("+read", "+write", "+image")


def test_the_repository_is_listed(alice: Any, imported: dict[str, Any]) -> None:
    found = alice.c.sf.sharedResources().repositories()
    assert [one.name.val for one in found.descriptions] == ["ManagedRepository"]
    repository = omero.grid.ManagedRepositoryPrx.uncheckedCast(found.proxies[0])
    folder = alice.getObject("OriginalFile", imported["files"][0]).getPath()
    names = [path.rpartition("/")[2] for path in repository.list(folder)]
    assert names == ["0.raw", "1.raw"]
    assert [file.id.val for file in repository.listFiles(folder)] == imported["files"]
    assert repository.fileExists(f"{folder}0.raw")
    store = repository.file(f"{folder}0.raw", "r")
    assert store.size() == imported["arrays"][0].nbytes
    store.close()
    assert repository.verifyChecksums(imported["files"]) == []


def test_a_plate_has_wells_fields_and_runs(alice: Any, faults: Control) -> None:
    made = faults.seed("plate", name="a plate", fields=2, runs=2, screen="a screen", gaps=["B02"])
    plate = alice.getObject("Plate", made["plate"])
    assert plate.getName() == "a plate"
    assert plate.getGridSize() == {"rows": 2, "columns": 3}
    assert plate.getNumberOfFields() == (0, 3)
    assert len(list(plate.listPlateAcquisitions())) == 2
    assert [parent.getName() for parent in plate.listParents()] == ["a screen"]

    wells = {well.getWellPos(): well for well in plate.listChildren()}
    assert sorted(wells) == ["A1", "A2", "A3", "B1", "B3"]
    samples = list(wells["B3"].listChildren())
    assert [sample.getImage().getId() for sample in samples] == made["images"]["B03"]
    assert ezomero.get_image_ids(alice, well=made["wells"]["A02"]) == made["images"]["A02"]
    assert ezomero.get_well_id(alice, made["plate"], 1, 2) == made["wells"]["B03"]


def test_files_of_plates_can_be_had_when_the_policy_says(alice: Any, faults: Control) -> None:
    made = faults.seed("plate", name="files")
    image = alice.getObject("Image", made["images"]["A01"][0])
    assert not image.canDownload()
    faults.restrict_download("+read", "+write", "+image", "+plate")
    try:
        image = alice.getObject("Image", made["images"]["A01"][0])
        assert image.canDownload()
        file = next(iter(image.getImportedImageFiles()))
        stored = tifffile.imread(io.BytesIO(b"".join(file.getFileInChunks())))
        np.testing.assert_array_equal(
            stored[0].squeeze(), image.getPrimaryPixels().getPlane().squeeze()
        )
    finally:
        faults.restrict_download("+read", "+write", "+image")


def test_what_cannot_be_made_is_refused(faults: Control) -> None:
    with pytest.raises(ControlError, match="cannot make"):
        faults.seed("teapot")
    with pytest.raises(ControlError, match="no Experimenter"):
        faults.seed("plate", name="x", user="nobody")


@pytest.fixture
def restartable(server: Any, tmp_path: Path) -> Iterator[OwnServer]:
    if not isinstance(server, OwnServer):
        pytest.skip("needs the test server's own controls")
    own = OwnServer(tmp_path / "server")
    own.start()
    yield own
    own.stop()


def test_everything_is_there_after_a_restart(restartable: OwnServer, tmp_path: Path) -> None:
    from tests.omero.conftest import connect

    alice = connect(restartable, "alice")
    plane = np.arange(20, dtype="u2").reshape(4, 5)
    image = alice.createImageFromNumpySeq(iter([plane]), "kept").id
    (tmp_path / "kept.txt").write_text("kept")
    file = ezomero.post_file_annotation(
        alice, str(tmp_path / "kept.txt"), ns="ns", object_type="Image", object_id=image
    )
    key = alice.c.getSessionId()
    alice.close()
    restartable.restart()

    alice = connect(restartable, "alice")
    np.testing.assert_array_equal(
        alice.getObject("Image", image).getPrimaryPixels().getPlane(), plane
    )
    found = alice.getObject("FileAnnotation", file)
    assert b"".join(found.getFileInChunks()) == b"kept"
    other = alice.createImageFromNumpySeq(iter([plane]), "new").id
    assert other > image
    assert alice.c.getSessionId() != key
    alice.close()


def test_what_was_saved_survives_a_crash(restartable: OwnServer) -> None:
    from tests.omero.conftest import connect

    alice = connect(restartable, "alice")
    saved = ezomero.post_dataset(alice, "saved")
    Control(restartable.faults).save()
    ezomero.post_dataset(alice, "not saved")
    restartable.stop(signal.SIGKILL)
    restartable.start()
    alice = connect(restartable, "alice")
    assert [d.getId() for d in alice.getObjects("Dataset")] == [saved]
    alice.close()
