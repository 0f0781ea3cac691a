"""Queries of the storage plugin: what they name, and where it lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.errors import ConfigurationError
from parfocal.models.source import parse_source
from snakemake_storage_plugin_omero import StorageProvider
from snakemake_storage_plugin_omero.queries import parse_query, reason_against


@pytest.mark.parametrize(
    ("query", "form", "name", "path"),
    [
        ("omero://host/image/12", "image", "", "host/image/12.ome.zarr"),
        ("omero://host:4070/image/12", "image", "", "host+4070/image/12.ome.zarr"),
        ("omero://host/image/12/original", "original", "", "host/image/12/original"),
        (
            "omero+wss://host/omero-ws/dataset/3/attachment/a b.tsv",
            "attachment",
            "a b.tsv",
            "wss++host+omero-ws/dataset/3/attachment/a b.tsv",
        ),
        ("omero://host/well/7/attachment/original", "attachment", "original", None),
        ("omero://host/image/{id}", "image", "", "host/image/{id}.ome.zarr"),
        (
            r"omero://host/image/{id,\d{1,3}}/attachment/{name}.{ending}",
            "attachment",
            None,
            r"host/image/{id,\d{1,3}}/attachment/{name}.{ending}",
        ),
    ],
)
def test_a_query_names_a_form_and_a_local_path(
    query: str, form: str, name: str | None, path: str | None
) -> None:
    found = parse_query(query)
    assert found.form == form
    assert name is None or found.name == name
    assert path is None or found.local_path == path
    assert StorageProvider.is_valid_query(query)


def test_the_target_is_the_source_that_steps_know() -> None:
    query = parse_query("omero://Host:4064/plate/5/attachment/x")
    assert query.target == parse_source("omero://host/plate/5")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("omero://host/dataset/3", "Only images can be fetched"),
        ("omero://host/plate/3/original", "Only images can be fetched"),
        ("omero://host/image/0", "expected"),
        ("omero://host/image/12/thumbnail", "names nothing"),
        ("omero://host/image/12/attachment/", "names nothing"),
        ("omero://host/image/12/attachment/a/b", "names nothing"),
        ("omero://host/image/12/attachment/..", "no name of a file"),
        ("omero://host/picture/12", "expected"),
        ("omero://host", "names nothing"),
        ("https://host/image/12", "names nothing"),
        ("omero:image/12", "names nothing"),
    ],
)
def test_what_is_no_query_is_told_with_the_reason(query: str, reason: str) -> None:
    assert reason in (reason_against(query) or "")
    assert not StorageProvider.is_valid_query(query)
    with pytest.raises(ConfigurationError):
        parse_query(query)


def test_a_secret_in_a_query_is_refused_and_never_told(tmp_path) -> None:
    query = "omero://alice:hunter2@host/image/12"
    result = StorageProvider.is_valid_query(query)
    assert not result
    assert "hunter2" not in (result.reason or "")
    provider = StorageProvider(local_prefix=tmp_path / "prefix", logger=None)
    assert "hunter2" not in provider.safe_print(query)


_SERVERS = st.sampled_from(["omero://a", "omero://a:4070", "omero://a_4070", "omero+ws://a"])
_OBJECTS = st.sampled_from(["image/1", "image/11", "dataset/1"])
_PARTS = st.sampled_from(["", "/original", "/attachment/original", "/attachment/1.ome.zarr"])
_NAMES = st.text(st.characters(exclude_characters="/{}", exclude_categories=["Cs", "Cc"]))


@given(st.lists(st.tuples(_SERVERS, _OBJECTS, _PARTS), min_size=2, max_size=2))
def test_different_queries_have_different_paths(parts) -> None:
    queries = {f"{server}/{thing}{part}" for server, thing, part in parts}
    valid = [parse_query(query) for query in queries if reason_against(query) is None]
    assert len({query.local_path for query in valid}) == len(valid)


@given(_NAMES)
def test_a_name_of_an_attachment_is_kept_as_it_is(name: str) -> None:
    query = f"omero://host/image/1/attachment/{name}"
    if reason_against(query) is None:
        assert parse_query(query).name == name
        assert parse_query(query).local_path == f"host/image/1/attachment/{name}"
    else:
        assert name in ("", ".", "..")
