"""A GPU is asked for by the name of ONNX Runtime's provider; here one that is made up."""

from __future__ import annotations

import onnxruntime
import pytest

from memory_images import save
from model_runs import discs, run_step
from onnx_networks import blur
from parfocal.errors import ConfigurationError

GPU, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.fixture
def asked(monkeypatch):
    """Let ONNX Runtime list a GPU, and return the providers that each session was asked for."""
    real, seen = onnxruntime.InferenceSession, []

    class Session:
        """Runs on the CPU, and says what it was asked for."""

        def __init__(self, source, options, providers):
            seen.append(list(providers))
            self._real = real(source, options, providers=[CPU])

        def get_providers(self):
            return seen[-1]

        def __getattr__(self, name):
            return getattr(self._real, name)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [GPU, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return seen


def model_of(folder, weight, **options):
    """Return the options of a network that no other test has opened."""
    path = blur(folder / "model.onnx", weights=(weight,))
    return {"method": "onnx", "path": str(path), "halo_px": 4} | options


@pytest.mark.parametrize(
    ("device", "providers", "told"),
    [("cuda", [GPU, CPU], "cuda"), ("auto", [GPU, CPU], "cuda"), ("cpu", [CPU], "cpu")],
)
def test_the_session_gets_the_provider_and_the_record_the_device(
    tmp_path, asked, device, providers, told
):
    image = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    model = model_of(tmp_path, {"cuda": 0.91, "auto": 0.92, "cpu": 0.93}[device], device=device)
    context, _ = run_step(tmp_path, image, model=model)
    assert asked == [providers]
    assert context.details["model"]["device"] == told


def test_a_gpu_that_is_listed_and_then_not_used_is_told(tmp_path, asked, monkeypatch):
    image = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda self: [CPU])
    with pytest.raises(ConfigurationError, match=r"sees no GPU.*device=cpu"):
        run_step(tmp_path, image, model=model_of(tmp_path, 0.94, device="cuda"))
    context, _ = run_step(tmp_path, image, model=model_of(tmp_path, 0.95))
    assert context.details["model"]["device"] == "cpu"  # where auto fell back to
