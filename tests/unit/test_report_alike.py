"""Warnings that differ in a file only are one."""

from __future__ import annotations

import pytest

from parfocal.report.alike import Alike, group_warnings, without_files
from parfocal.report.content import Findings, ImageLine, State


def image(image_id, *texts, source="", step="convert-image"):
    warnings = tuple((step, text) for text in texts)
    return ImageLine(image_id, "", State("done"), Findings(warnings=warnings), source=source)


@pytest.mark.parametrize(
    ("text", "source", "shown"),
    [
        ("nuclei_3d.tif has 31 pages", "", "… has 31 pages"),
        ("a 1.tif has 31 pages", "data/a 1.tif", "… has 31 pages"),
        ("data/a 1.tif: cut", "data/a 1.tif", "…: cut"),
        ("cannot read '/data/x/y.ome.zarr'", "", "cannot read '…'"),
        ("https://e.org/a/b?c=1 has moved", "", "… has moved"),
        ("3 of 5 pixels in channel DAPI, 0.5 um. See axes=TYX.", "", None),
        ("sigma 1.5e3 is e.g. large", "", None),
        ("nothing", "x", None),
    ],
)
def test_paths_and_file_names_are_left_out(text, source, shown):
    assert without_files(text, source) == (text if shown is None else shown)


def test_those_that_differ_in_a_file_are_counted_by_image_and_the_first_is_told():
    images = [
        image("a", "a 1.tif is odd", "x.tif is cut", source="data/a 1.tif"),
        image("b", "b.tif is odd", "c.tif is odd", source="data/b.tif"),
        image("c", "a 1.tif is odd", source="data/a 1.tif"),
    ]
    assert group_warnings(images) == [
        Alike("convert-image", "a 1.tif is odd", others=2, images=3),
        Alike("convert-image", "x.tif is cut", others=0, images=1),
    ]


def test_other_numbers_and_other_steps_are_apart():
    images = [image("a", "3 pixels"), image("b", "4 pixels"), image("c", "3 pixels", step="s")]
    assert [group.images for group in group_warnings(images)] == [1, 1, 1]
