"""What the form of a Galaxy tool was filled in with becomes the step's parameters, exactly."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from pydantic import Field

from parfocal.cli.galaxy_params import read_galaxy_params, read_image_id
from parfocal.cli.params import check_params
from parfocal.core.step import Port, Step, exact
from parfocal.engine.galaxy_differences import data_inputs
from parfocal.errors import ConfigurationError
from parfocal.models.base import Model, Parameters
from parfocal.models.image_part import PixelRegion
from parfocal.models.naming import image_id_of
from parfocal.steps import STEPS, load_step
from parfocal.steps.filter_image import FilterImageParams, TopHatFilter

FILTER = load_step("filter-image")
ODD = [
    *("it's", '"q"', "$HOME `id`; rm -rf *", "<a>&amp;", "__sq__"),
    *("a\nb", "\\n", "ü\u2028\U0001f52c"),
]


class Tag(Model):
    """A tag."""

    name: str = Field(description="Its name.")
    note: str | None = Field(default=None, description="More about it.")


class Plain(Model):
    """Nothing else."""

    method: Literal["plain", "simple"] = Field(default="plain", description="How.")


class Sized(Model):
    """With a size."""

    method: Literal["sized"] = "sized"
    size_px: int = Field(default=3, ge=1, description="The size.")


class EveryParams(Parameters):
    """One parameter of each kind."""

    flag: bool = Field(default=True, description="A switch.")
    number: float = Field(default=1.5, gt=0, le=9, description="A number.")
    least: float | None = Field(default=0.5, description="A number; null for none.")
    needed: int = Field(description="One without a default.")
    text: str = Field(default="x", description="A text.")
    maybe: str | None = Field(default=None, min_length=1, description="A text or none.")
    channel: int | str = Field(default=0, description="A channel.")
    channels: tuple[int | str, ...] | None = Field(
        default=None, min_length=1, description="Some channels; null for all."
    )
    names: tuple[str, ...] = Field(default=(), description="Some names.")
    kind: Literal["a", "b"] = Field(default="a", description="A choice.")
    axes: Literal[2, 3] = Field(default=2, description="A choice of numbers.")
    kinds: tuple[Literal["a", "b"], ...] = Field(default=("a",), description="Some choices.")
    pairs: tuple[tuple[str, str], ...] = Field(default=(), description="Keys and values.")
    entries: dict[str, str] = Field(default={}, description="A mapping.")
    tags: tuple[Tag, ...] = Field(default=(), description="Models.")
    tag: Tag = Field(default=Tag(name="t"), description="A model.")
    other: Tag | None = Field(default=None, description="A model or none.")
    region: PixelRegion | None = Field(default=None, description="Ranges.")
    variant: Annotated[Plain | Sized, Field(discriminator="method")] = Field(
        default=Sized(size_px=5), description="A variant."
    )
    option: Annotated[Plain | Sized, Field(discriminator="method")] | None = Field(
        default=None, description="A variant or none."
    )


def _nothing(inputs, outputs, params, context):
    """Do nothing."""


EVERY = Step(
    name="try-everything",
    version="1",
    summary="Try everything",
    params=EveryParams,
    inputs=(Port("image", "ome-zarr", "image", "An image."),),
    outputs=(Port("result", "json", "result", "A result."),),
    run=_nothing,
    exactness=exact(),
)


def read(tmp_path, values, step=EVERY):
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps(values))
    return check_params(step, read_galaxy_params(step, path), [])


def refused(tmp_path, values, step=EVERY):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, values, step)
    return str(caught.value)


def test_what_is_left_out_has_its_default(tmp_path):
    assert read(tmp_path, {"needed": 1}) == EveryParams(needed=1)
    assert read(tmp_path, {}, FILTER) == FilterImageParams()


def test_an_untouched_form_gives_the_defaults(tmp_path):
    """As Galaxy 26.1 writes it, with all that was left as it was."""
    untouched = {
        "image": "/galaxy/files/dataset_1.dat",
        "flag": True,
        "number": 1.5,
        "least": 0.5,
        "needed": 1,
        "text": "x",
        "maybe": None,
        "channel": "0",
        "channels": [],
        "names": [],
        "kind": "a",
        "axes": "2",
        "kinds": ["a"],
        "pairs": [],
        "entries": [],
        "tags": [],
        "tag": {"name": "t", "note": None},
        "other": {"choice": "none", "__current_case__": 0},
        "region": {"choice": "none", "__current_case__": 0},
        "variant": {"method": "sized", "size_px": 5, "__current_case__": 2},
        "option": {"method": "none", "__current_case__": 0},
    }
    assert read(tmp_path, untouched) == EveryParams(needed=1)


def test_a_form_that_is_filled_in_gives_what_was_chosen(tmp_path):
    given = {"start": None, "stop": None}
    filled = {
        "flag": False,
        "number": 2,
        "least": None,
        "needed": 7,
        "text": "",
        "maybe": "y",
        "channel": "DAPI",
        "channels": [{"__index__": 0, "value": "1"}, {"__index__": 1, "value": "GFP"}],
        "names": [{"value": "12"}, {"value": "b"}],
        "kind": "b",
        "axes": "3",
        "kinds": ["a", "b"],
        "pairs": [{"key": "k", "value": "v"}, {"key": "k", "value": "w"}],
        "entries": [{"key": "k", "value": "v"}],
        "tags": [{"name": "n", "note": ""}, {"name": "m", "note": "o"}],
        "tag": {"name": "u", "note": "v"},
        "other": {"choice": "given", "__current_case__": 1, "name": "w", "note": None},
        "region": {
            "choice": "given",
            "t": given,
            "c": given,
            "z": given,
            "y": {"start": 2, "stop": 9},
            "x": given,
        },
        "variant": {"method": "simple", "__current_case__": 1},
        "option": {"method": "sized", "size_px": 4, "__current_case__": 3},
    }
    assert read(tmp_path, filled) == EveryParams(
        flag=False,
        number=2,
        least=None,
        needed=7,
        text="",
        maybe="y",
        channel="DAPI",
        channels=(1, "GFP"),
        names=("12", "b"),
        kind="b",
        axes=3,
        kinds=("a", "b"),
        pairs=(("k", "v"), ("k", "w")),
        entries={"k": "v"},
        tags=(Tag(name="n"), Tag(name="m", note="o")),
        tag=Tag(name="u", note="v"),
        other=Tag(name="w"),
        region=PixelRegion(y=(2, 9)),
        variant=Plain(method="simple"),
        option=Sized(size_px=4),
    )


@pytest.mark.parametrize("text", ODD)
def test_text_is_exact(tmp_path, text):
    params = read(tmp_path, {"needed": 1, "text": text, "names": [{"value": text}]})
    assert (params.text, params.names) == (text, (text,))
    filtered = read(tmp_path, {"channels": [{"value": text}]}, FILTER)
    assert filtered.channels == (text,)


@pytest.mark.parametrize("text", ["²", "٣", "-1", "1.0", " 1", ""])
def test_only_plain_digits_are_an_index(tmp_path, text):
    assert read(tmp_path, {"channels": [{"value": text}]}, FILTER).channels == (text,)
    assert read(tmp_path, {"channels": [{"value": "01"}]}, FILTER).channels == (1,)


def test_a_filter_with_its_sizes(tmp_path):
    chosen = {"method": "top_hat", "radius_px": 3, "radius_um": None, "__current_case__": 4}
    params = read(tmp_path, {"image": "/x.dat", "filter": chosen, "mode": "plane"}, FILTER)
    assert params == FilterImageParams(filter=TopHatFilter(radius_px=3), mode="plane")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"images": "/x.dat"}, "the parameters; found images"),
        ({"filter": {"method": "gaussian", "sgma": 1}}, "filter; found sgma"),
        ({"filter": {"method": "sobel"}}, "filter.method; found sobel"),
        ({"filter": "gaussian"}, "filter.method; found None"),
        ({"filter": None}, "filter.method; found None"),
        ({"channels": [{"value": "a", "extra": 1}]}, "channels.0; found extra"),
        ({"channels": ["a"]}, "channels.0; found a"),
        ({"channels": "a"}, "channels; found a"),
        ([], "the parameters; found []"),
    ],
)
def test_what_is_not_known_is_an_error_and_never_dropped(tmp_path, values, told):
    text = refused(tmp_path, values, FILTER)
    assert told in text
    assert "different versions" in text


def test_values_out_of_bounds_are_told_as_anywhere(tmp_path):
    sized = {"method": "gaussian", "sigma_px": 0}
    assert "filter.sigma_px: must be greater than 0" in refused(tmp_path, {"filter": sized}, FILTER)
    assert "mode" in refused(tmp_path, {"mode": "cube"}, FILTER)
    assert "needed: is required" in refused(tmp_path, {"needed": None})
    half = {"choice": "given", "y": {"start": 2, "stop": None}}
    assert "region.y" in refused(tmp_path, {"needed": 1, "region": half})


def test_a_key_that_is_given_twice_is_refused(tmp_path):
    entries = [{"key": "k", "value": "v"}, {"key": "k", "value": "w"}]
    assert "A key is given twice" in refused(tmp_path, {"needed": 1, "entries": entries})


def test_a_file_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / "inputs.json"
    for content in (b"", b"{", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"inputs\.json"):
            read_galaxy_params(FILTER, path)
    with pytest.raises(ConfigurationError, match=r"none\.json"):
        read_galaxy_params(FILTER, tmp_path / "none.json")


@pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
def test_data_of_every_step_are_left_out(tmp_path, step):
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps({name: f"/{name}.dat" for name in data_inputs(step)}))
    assert read_galaxy_params(step, path) == {}


@pytest.mark.parametrize(
    ("content", "image_id"),
    [
        ("a.tif", "a"),
        ("cells-1_b.ome.zarr\n", "cells-1_b.ome.zarr"),
        ("plain", "plain"),
        ("Filter image on 3", image_id_of("Filter image on 3", "Filter image on 3")),
        ("first\nsecond\n", "first"),
    ],
)
def test_the_image_id_is_that_of_a_listed_file_of_this_name(tmp_path, content, image_id):
    path = tmp_path / "name"
    path.write_text(content)
    assert read_image_id(path) == image_id


@pytest.mark.parametrize("name", [*ODD, "../../etc/passwd", "a b", "-x", "..", "/"])
def test_odd_names_give_ids_that_are_safe_and_their_own(tmp_path, name):
    path = tmp_path / "name"
    path.write_text(name)
    first = read_image_id(path)
    assert first.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert first.isascii()
    assert first[0] not in ".-"
    path.write_text("2" + name)
    assert read_image_id(path) != first


@pytest.mark.parametrize("content", ["", "\n", "  \nsecond"])
def test_no_name_is_refused(tmp_path, content):
    path = tmp_path / "name"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="holds no name"):
        read_image_id(path)
