"""Columns of the sheet that come from key-value pairs and tags of elsewhere."""

from __future__ import annotations

import pytest

from parfocal.models.found_image import columns_of


def test_pairs_and_tags_become_columns() -> None:
    pairs = [("drug", "taxol"), ("drug", "none"), ("drug", "taxol"), ("dose\t1", "a\nb")]
    assert columns_of(pairs, ["x", "y z"]) == {
        "drug": "taxol; none",
        "dose 1": "a b",
        "tags": "x; y z",
    }


@pytest.mark.parametrize(
    "key", ["image_id", "source", "ground_truth", "flat_field", "omero", "omero_container", "tags"]
)
def test_no_pair_takes_the_place_of_a_column_with_a_meaning(key: str) -> None:
    assert columns_of([(key, "/etc/passwd")]) == {f"key:{key}": "/etc/passwd"}
