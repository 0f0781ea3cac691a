"""What is no certificate is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from parfocal.errors import InputError
from parfocal.images.proof.certificate import read_certificate


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"format": "parfocal-record-1", "verdict": 1}', "format: must be 'parfocal-certificate"),
        (b'{"format": "parfocal-certificates-1", "series": 1}', "series: "),
        (b"no JSON", "Invalid JSON"),
    ],
)
def test_what_is_no_certificate_is_told_in_one_line(
    tmp_path: Path, content: bytes, found: str
) -> None:
    path = tmp_path / "image.certificate.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="The certificate cannot be read") as raised:
        read_certificate(path)
    told = str(raised.value)
    assert found in told
    assert "\n" not in told
    assert told.endswith("Give a certificate as its job wrote it.")
