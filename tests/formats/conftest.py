"""What the tests of readers share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import bio_formats_agreement


@pytest.fixture(scope="session")
def assert_same_as_bio_formats() -> Callable[..., None]:
    """Compare what our reader and Bio-Formats say about a source, and every pixel."""
    return bio_formats_agreement.assert_same_as_bio_formats
