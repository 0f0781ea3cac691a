"""The words of run crates."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.provenance.crate_terms import (
    compact,
    flatten,
    fragment,
    is_web,
    media_type,
    redact,
    value_text,
    value_type,
)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_fragment_is_valid_in_an_iri_and_loses_nothing(parts):
    identifier = fragment(*parts)
    assert re.fullmatch(r"#[A-Za-z0-9._~/:@+,%-]*", identifier)
    assert unquote(identifier[1:]) == "/".join(parts)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("s3://user:pw@host/a.tif", "s3://host/a.tif"),
        ("omero://me@host:4064/image/1", "omero://host:4064/image/1"),
        ("https://h/a b?X-Amz-Security-Token=A%2B/=&x=1", None),
        ("https://h/a?sig=abc#frag", "https://h/a?sig=REDACTED#frag"),
        ("https://h/a?api_key=abc&apikey=def", "https://h/a?api_key=REDACTED&apikey=REDACTED"),
        ('see "https://h/a?token=abc" now', 'see "https://h/a?token=REDACTED" now'),
        ("https://h/user@example.org", "https://h/user@example.org"),
        ("https://h/a?monkey=abc", "https://h/a?monkey=abc"),
        ("me@example.org and a.tif?key=1", "me@example.org and a.tif?key=1"),
    ],
)
def test_redact(text, clean):
    assert redact(text) == (clean or "https://h/a b?X-Amz-Security-Token=REDACTED&x=1")


@given(st.text())
def test_redact_twice_is_redact_once(text):
    once = redact(f"https://{text}")
    assert redact(once) == once


def test_flatten_names_nested_parameters_with_dots():
    nested = {"a": 1, "threshold": {"method": "local", "window_um": 2.5}, "none": {}}
    assert list(flatten(nested)) == [
        ("a", 1),
        ("threshold.method", "local"),
        ("threshold.window_um", 2.5),
        ("none", {}),
    ]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, False], "Boolean"),
        ([1, None], "Integer"),
        ([0.5], "Float"),
        ([1, 0.5], "Number"),
        (["x"], "Text"),
        (["x", 1], "PropertyValue"),
        ([None], "PropertyValue"),
        ([[1, 2]], "Text"),
    ],
)
def test_value_type(values, kind):
    assert value_type(values) == kind


def test_value_text_is_json_but_for_text():
    assert [value_text(v) for v in ("ü", True, None, 0.1, ["ü"])] == [
        "ü",
        "true",
        "null",
        "0.1",
        '["ü"]',
    ]


@pytest.mark.parametrize(
    ("uri", "kind", "media"),
    [
        ("a/b.TIFF", "file", "image/tiff"),
        ("https://h/a.json?x=.tif", "file", "application/json"),
        ("report", "html", "text/html"),
        ("preview", "png", "image/png"),
        ("unknown.xyz", "file", "application/octet-stream"),
    ],
)
def test_media_type(uri, kind, media):
    assert media_type(uri, kind) == media


def test_only_http_addresses_are_on_the_web():
    assert [is_web(u) for u in ("https://h/a", "HTTP://h/a", "s3://b/a", "/a", "idr:image/1")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_compact_unpacks_lists_of_one():
    assert (compact([1]), compact([1, 2]), compact([])) == (1, [1, 2], [])
