"""Messages to a stream that is no longer there."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from parfocal.cli.log import set_up_logging

KEY = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of the library; what the command line sets up is taken back."""
    root, ours = logging.getLogger(), logging.getLogger("parfocal")
    before = list(root.handlers), root.level, ours.level
    yield logging.getLogger("parfocal.test_log")
    root.handlers, root.level = before[:2]
    ours.setLevel(before[2])
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize("stream", [io.StringIO(), Broken()], ids=["closed", "broken"])
def test_a_stream_that_is_gone_puts_no_message_elsewhere(
    stream: io.StringIO, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    set_up_logging()
    if not isinstance(stream, Broken):
        stream.close()
    elsewhere = io.StringIO()
    monkeypatch.setattr(sys, "stderr", elsewhere)
    logger.warning("the session %s", KEY)
    assert elsewhere.getvalue() == ""


def test_a_message_that_is_wrong_is_told(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up_logging()
    logger.warning("%d images", "three")
    assert "Logging error" in stream.getvalue()
