"""VSI: Bio-Formats reads it, and pixels in its folder are not forgotten.

The files are made so far that Bio-Formats knows the folder; it shows the overview only, which is
what must not pass in silence.
"""

import struct

import numpy as np
import tifffile

from parfocal.images.opening import list_images, open_image, other_files


def write_vsi(path, frames=1):
    """Write a VSI: an overview, and files of pixels in its folder."""
    overview = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    tifffile.imwrite(path, overview, photometric="rgb")
    written = []
    for number in range(1, frames + 1):
        folder = path.parent / f"_{path.stem}_" / f"stack{number}"
        folder.mkdir(parents=True)
        head = struct.pack("<4siiiqiiqii", b"SIS\0", 64, 2, 4, 64, 228, 0, 804, 1, 0)
        tiles = struct.pack("<4s9i", b"ETS\0", 0x30001, 3, 1, 1, 0, 100, 16, 16, 1)
        entry = struct.pack("<5iq2i", 0, 0, 0, 0, 0, 292, 512, 0)
        content = head.ljust(64, b"\0") + tiles.ljust(228, b"\0") + bytes(512) + entry
        (folder / "frame_t.ets").write_bytes(content)
        written.append(folder / "frame_t.ets")
    return overview, written


def test_the_files_of_its_folder_belong_to_it(tmp_path):
    path = tmp_path / "a.vsi"
    _, frames = write_vsi(path, frames=2)
    extra = frames[0].with_name("notes.txt")
    extra.write_text("x")
    assert other_files(path) == sorted([*frames, extra])


def test_an_overview_does_not_pass_for_the_image(tmp_path):
    path = tmp_path / "a.vsi"
    write_vsi(path)
    (entry,) = list_images(path)
    with open_image(path, entry.series) as image:
        assert image.reader.startswith("Bio-Formats")
        assert "1 files of pixels in _a_ and Bio-Formats shows 1" in " ".join(image.warnings)


def test_a_missing_folder_is_told(tmp_path):
    path = tmp_path / "a.vsi"
    overview, _ = write_vsi(path, frames=0)
    with open_image(path) as image:
        assert "has no folder _a_ with pixels beside it" in " ".join(image.warnings)
        region = tuple(slice(0, size) for size in image.shape5)
        np.testing.assert_array_equal(image.read(region)[0, :, 0], np.moveaxis(overview, -1, 0))
