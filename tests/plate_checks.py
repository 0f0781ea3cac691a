"""What holds for a plate of any microscope that `plate_files` writes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.images import list_images, open_image, other_files
from plate_files import FIELDS, WELLS, name_of, pixels_of, save

__all__ = ["assert_damage_is_told", "assert_fails", "assert_pixels", "assert_problems_are_told"]


def assert_pixels(index: Path, plate: str) -> None:
    """Check that each field of each well has its own pixels, plane by plane."""
    entries = {entry.series: entry for entry in list_images(index)}
    assert list(entries) == [f"{name_of(*well)}/{field}" for well in WELLS for field in FIELDS]
    for (row, column), field in ((well, field) for well in WELLS for field in FIELDS):
        entry = entries[f"{name_of(row, column)}/{field}"]
        assert (entry.plate, entry.well, entry.field) == (plate, name_of(row, column), str(field))
        assert entry.warnings == ()
        with open_image(index, entry.series) as image:
            assert image.shape5 == entry.metadata.shape5
            assert image.metadata.name == entry.metadata.name
            assert image.warnings == ()
            pixels = image.read(whole(image.shape5))
            assert image.plane_file is not None
            for t, c, z in np.ndindex(*image.shape5[:3]):
                expected = pixels_of(row, column, field, t + 1, c + 1, z + 1)
                np.testing.assert_array_equal(pixels[t, c, z], expected)
                file, page = image.plane_file(t, c, z)
                assert (file in other_files(index), page) == (True, 0)
            part = image.read(
                (slice(0, 1), slice(1, 2), slice(0, 1), slice(2, 5), slice(1, 4)),
            )
            np.testing.assert_array_equal(part[0, 0, 0], pixels[0, 1, 0, 2:5, 1:4])


def assert_fails(index: Path, series: str, *words: str) -> InputError:
    """Check that an image cannot be opened or read, that the error names `words`."""
    with pytest.raises(InputError) as caught, open_image(index, series) as image:
        image.read(whole(image.shape5))
    assert caught.value.exit_code == 2
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    return caught.value


def assert_problems_are_told(index: Path, file: Path, *place: str) -> None:
    """Spoil one file of the field B03/2, in all ways; `place` is what errors must name."""
    good = file.read_bytes()
    sound = "B02/1"

    file.unlink()
    assert_fails(index, "B03/2", "missing", str(file), *place)
    told = {entry.series: entry.warnings for entry in list_images(index)}
    assert "will fail" in told["B03/2"][0]
    assert not told[sound]
    assert file in other_files(index)

    file.write_bytes(good[: len(good) // 2])
    assert_fails(index, "B03/2", str(file), *place)
    file.write_bytes(b"")
    assert_fails(index, "B03/2", "empty", str(file), *place)
    for pixels in (np.zeros((6, 9), np.uint16), np.zeros((6, 8), np.uint8)):
        save(file, pixels)
        assert_fails(index, "B03/2", "differ in size or data type", str(file), *place)
    save(file, np.zeros((2, 6, 8), np.uint16))
    assert_fails(index, "B03/2", str(file), *place)
    with open_image(index, sound) as image:
        image.read(whole(image.shape5))
    file.write_bytes(good)
    with open_image(index, "B03/2") as image:
        image.read(whole(image.shape5))
    with pytest.raises(InputError, match="no such image"):
        open_image(index, "B09/1")
    with pytest.raises(InputError, match="several images"):
        open_image(index)


def assert_damage_is_told(index: Path, damaged: bytes) -> None:
    """Check that whatever stands in an index, images open and are read, or an error is told."""
    index.write_bytes(damaged)
    with suppress(InputError):
        for entry in list_images(index):
            with suppress(InputError), open_image(index, entry.series) as image:
                image.read(whole(image.shape5))
        other_files(index)
