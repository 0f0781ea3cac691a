"""Packages of the BioImage Model Zoo are run as they describe themselves."""

from __future__ import annotations

import zipfile
from hashlib import sha256

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper

from memory_images import MemoryImage, five
from model_fakes import install_torch, save_script
from onnx_networks import blur, save_network
from parfocal.analysis.models.loading import open_model
from parfocal.analysis.models.segment import ModelRun, prepare
from parfocal.core.blocks import whole
from parfocal.core.scheduler import Threads
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.image import ImageMetadata
from parfocal.models.model_options import BioimageioModel, OnnxModel


class Volume(MemoryImage):
    """Scratch storage in memory."""

    def write(self, region, block):
        self.pixels[region] = block


RANGE = {"min_percentile": 1.0, "max_percentile": 99.8, "eps": 0.0}
VERSIONS = {
    "0.4": {
        "format_version": "0.4.10",
        "inputs": [
            {
                "name": "input",
                "axes": "bcyx",
                "shape": {"min": [1, 1, 32, 32], "step": [0, 0, 16, 16]},
                "preprocessing": [{"name": "scale_range", "kwargs": RANGE | {"axes": "yx"}}],
            }
        ],
        "outputs": [
            {
                "name": "output",
                "axes": "bcyx",
                "halo": [0, 0, 8, 8],
                "postprocessing": [{"name": "sigmoid"}],
            }
        ],
    },
    "0.5": {
        "format_version": "0.5.3",
        "inputs": [
            {
                "id": "input",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["nuclei"]},
                    {"type": "space", "id": "y", "size": {"min": 32, "step": 16}},
                    {
                        "type": "space",
                        "id": "x",
                        "size": {"min": 32, "step": 16},
                        "scale": 500,
                        "unit": "nanometer",
                    },
                ],
                "preprocessing": [{"id": "scale_range", "kwargs": RANGE | {"axes": ["y", "x"]}}],
            }
        ],
        "outputs": [
            {
                "id": "output",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["probability"]},
                    {"type": "space", "id": "y", "halo": 8},
                    {"type": "space", "id": "x", "halo": 8},
                ],
                "postprocessing": [{"id": "sigmoid"}],
            }
        ],
    },
}


def package(folder, version="0.5", *, kind="onnx", archive=False, **changes):
    """Write a package, and return its path; `changes` are of its description."""
    folder.mkdir()
    path = folder / f"weights.{kind}"
    if kind == "onnx":
        blur(path, logits=True)
    else:
        save_script(path, "blur", logits=True)
    entry = {"source": path.name, "sha256": sha256(path.read_bytes()).hexdigest()}
    described = VERSIONS[version] | {"weights": {kind: entry}} | changes
    name = "rdf.yaml" if version == "0.4" else "bioimageio.yaml"
    (folder / name).write_text(yaml.safe_dump(described))
    if not archive:
        return folder
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for one in folder.iterdir():
            file.write(one, one.name)
    return path


IMAGE = np.random.default_rng(0).poisson(30, (50, 60)).astype(np.uint16)


def prepared(options, *, channels=(0,), **sizes):
    source = five(IMAGE)
    shape = source.shape5
    metadata = ImageMetadata(name="a", axes="TCZYX", shape=shape, dtype="uint16", **sizes)
    handle = open_model(options, len(channels))
    given = {"block5": (1, 1, 1, 32, 32), "mode": "auto", "scheduler": Threads(1)}
    return prepare(handle, source, metadata, channels, **given)


def probability(fitted):
    run = ModelRun(
        lambda shape, dtype, block: Volume(np.zeros(shape, dtype)), Threads(1), lambda a, b: None
    )
    volume, _ = fitted.probability(run)
    return volume.read(whole(volume.shape5))


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("kind", "runtime"), [("onnx", "onnxruntime 1."), ("torchscript", "torch 2.0")]
)
def test_a_package_does_what_its_network_does_with_its_processing(
    tmp_path, monkeypatch, kind, runtime, version, archive
):
    install_torch(monkeypatch)
    path = package(tmp_path / "model", version, kind=kind, archive=archive)
    fitted = prepared(BioimageioModel(path=str(path)), x_um=0.5)
    assert fitted.tiles.halo == (0, 8, 8)
    assert fitted.tiles.tile == (1, 80, 80)
    assert fitted.warnings == []
    plain = blur(tmp_path / "plain.onnx")
    expected = probability(prepared(OnnxModel(path=str(plain), halo_px=8)))
    np.testing.assert_allclose(probability(fitted), expected, rtol=0, atol=1e-6)
    assert fitted.details["digest"].startswith("sha256:" if archive else "tree-sha256:")
    assert fitted.details["runtime"].startswith(runtime)


def test_a_network_may_do_without_axes_for_batch_and_channel(tmp_path):
    path = tmp_path / "model"
    tensor = {"axes": "yx", "shape": {"min": [32, 32], "step": [16, 16]}}
    package(path, "0.4", inputs=[tensor], outputs=[tensor])
    nodes = [helper.make_node("Greater", ["i", "least"], ["above"])]
    nodes.append(helper.make_node("Cast", ["above"], ["o"], to=TensorProto.FLOAT))
    save_network(path / "above.onnx", nodes, {"least": np.float32(30)}, ["y", "x"], ["y", "x"])
    described = yaml.safe_load((path / "rdf.yaml").read_text())
    described["weights"] = {"onnx": {"source": "above.onnx"}}
    (path / "rdf.yaml").write_text(yaml.safe_dump(described))
    options = BioimageioModel(path=str(path), normalisation="none")
    np.testing.assert_array_equal(probability(prepared(options))[0, 0, 0], IMAGE > 30)
    with pytest.raises(ConfigurationError, match=r"number of channels.*expected 1; found 2"):
        prepared(options, channels=(0, 0))


def test_outputs_that_are_not_taken_are_told(tmp_path, monkeypatch):
    install_torch(monkeypatch)
    outputs = [VERSIONS["0.5"]["outputs"][0] | {"id": name} for name in ("inside", "border")]
    path = package(tmp_path / "model", kind="torchscript", outputs=outputs)
    (warning,) = prepared(BioimageioModel(path=str(path)), x_um=0.5).warnings
    assert warning == "Of the model's outputs inside is taken, and not border"


def test_the_user_may_overrule_the_package(tmp_path):
    path = str(package(tmp_path / "model"))
    fitted = prepared(BioimageioModel(path=path, normalisation="none", halo_px=4), x_um=0.5)
    assert fitted.details["scales"] == [1.0]
    assert fitted.tiles.halo == (0, 4, 4)


def test_sizes_and_pixels_of_the_package_are_kept_to(tmp_path):
    path = str(package(tmp_path / "model"))
    with pytest.raises(
        ConfigurationError, match=r"32 plus a multiple of 16; found 72.*Set tile_px"
    ):
        prepared(BioimageioModel(path=path, tile_px=72))
    (warning,) = prepared(BioimageioModel(path=path), x_um=0.6).warnings
    assert "pixels of 0.5 um" in warning
    with pytest.raises(InputError, match="pixels of another size"):
        prepared(BioimageioModel(path=path), x_um=5.0)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format_version": "0.3.2"}, r"another version.*0\.4 or 0\.5; found 0\.3\.2"),
        ({"weights": {"keras_hdf5": {"source": "a.h5"}}}, "no weights that can be run.*keras_hdf5"),
        ({"weights": {"onnx": {"source": "https://example.org/a.onnx"}}}, "not hold its weights"),
        ({"weights": {"onnx": {"source": "../weights.onnx"}}}, "not hold its weights"),
        ({"weights": {"onnx": {"source": "other.onnx"}}}, "lacks other.onnx"),
        ({"inputs": VERSIONS["0.5"]["inputs"] * 2}, "not one input"),
        (
            {"weights": {"onnx": {"source": "weights.onnx", "sha256": "0" * 64}}},
            "differ from what the package says",
        ),
        (
            {"outputs": [VERSIONS["0.5"]["outputs"][0] | {"postprocessing": [{"id": "binarize"}]}]},
            "postprocessing that is not done here.*binarize",
        ),
        (
            {"inputs": [VERSIONS["0.4"]["inputs"][0] | {"axes": "btcyx"}]},
            "axes of the model are not those of an image",
        ),
    ],
)
@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
def test_what_cannot_be_used_is_told(tmp_path, changes, match, archive):
    path = package(tmp_path / "model", archive=archive, **changes)
    with pytest.raises(InputError, match=match):
        prepared(BioimageioModel(path=str(path)))


def test_what_is_no_package_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("nonsense")
    cut = package(tmp_path / "model", archive=True)
    cut.write_bytes(cut.read_bytes()[:200])
    (tmp_path / "model/bioimageio.yaml").write_text("inputs: [")
    for name, match in (
        ("none.zip", r"no such model.*https://bioimage\.io"),
        ("empty", "no description"),
        ("text.zip", "no zip archive"),
        ("model.zip", "no zip archive"),
        ("model", "cannot be read"),
        ("model/bioimageio.yaml", "given by its description"),
    ):
        with pytest.raises(InputError, match=match):
            prepared(BioimageioModel(path=str(tmp_path / name)))
