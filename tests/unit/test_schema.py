import json

from parfocal.engine.schema import step_schema
from unit.toy_steps import MAKE, MEASURE


def test_the_schema_tells_parameters_with_bounds_and_descriptions() -> None:
    schema = step_schema(MAKE)
    repeat = schema["properties"]["repeat"]
    assert (repeat["minimum"], repeat["maximum"], repeat["default"]) == (1, 1000, 1)
    assert repeat["description"]
    assert schema["additionalProperties"] is False
    assert schema["title"] == "make-image"
    assert schema["properties"]["threshold"]["discriminator"]["propertyName"] == "method"
    json.dumps(schema, allow_nan=False)


def test_the_schema_tells_inputs_and_outputs() -> None:
    ports = step_schema(MEASURE)["x-parfocal"]
    assert [(p["name"], p["kind"], p["required"]) for p in ports["inputs"]] == [
        ("image", "ome-zarr", True),
        ("extra", "file", False),
    ]
    assert [p["path"] for p in ports["outputs"]] == ["images/{image_id}/table.json"]
    assert (ports["scope"], ports["exact"], ports["tolerance"]) == ("image", True, 0.0)
