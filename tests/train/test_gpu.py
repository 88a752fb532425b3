"""Training on an NVIDIA GPU: the same runs as on the CPU, up to its rounding. Skipped without one."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dtgd_edge.runtime.cuda_driver import driver_fault
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.compact import train_compact
from dtgd_edge.train.data import DataSet
from dtgd_edge.train.graph import distil
from dtgd_edge.train.loop import Progress, train
from dtgd_edge.train.recipe import Recipe
from tests.train.conftest import STEPS, at

WHY_NOT = driver_fault() or ("" if torch.cuda.is_available() else "this PyTorch was built without CUDA")
pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.usefixtures("few_judging_frames"),
]


def _losses(data: DataSet, recipe: Recipe, folder: Path, device: str) -> list[float]:
    seen: list[Progress] = []
    train(data, recipe, folder, device=device, report=seen.append)
    return [progress.loss for progress in seen]


@pytest.mark.parametrize("variant", ["frozen", "tuned"])
def test_it_learns_what_a_cpu_learns(
    data: DataSet, recipe: Recipe, tuned_recipe: Recipe, variant: str, tmp_path: Path
) -> None:
    chosen = recipe if variant == "frozen" else tuned_recipe
    losses = [_losses(data, chosen, tmp_path / device, device) for device in ("cpu", "cuda")]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_its_graph_scores_as_on_a_cpu(
    data: DataSet, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With 10 bits of 23, which a GPU convolves float32 with unasked, good parts that lie as close to each
    # other as those of this tiny graph blur into one.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    checkpoint = train(data, recipe, tmp_path, device="cuda")
    frames = checkpoint.frames()
    on_cpu, on_gpu = (distil(checkpoint, frames).to(d).score(frames.normals[:4]) for d in ("cpu", "cuda"))
    torch.testing.assert_close(
        torch.from_numpy(on_gpu.map), torch.from_numpy(on_cpu.map), rtol=1e-3, atol=1e-3
    )


def test_a_stopped_run_goes_on(data: DataSet, recipe: Recipe, tmp_path: Path) -> None:
    stop = at(3, lambda: signal.raise_signal(signal.SIGINT))
    assert train(data, recipe, tmp_path, device="cuda", report=stop).record.step == 3
    seen: list[Progress] = []
    assert train(data, recipe, tmp_path, device="cuda", resume=True, report=seen.append).record.step == STEPS
    assert [progress.step for progress in seen] == [4, 5, 6]


def test_a_compact_graph_is_distilled(data: DataSet, tiny_recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(tiny_recipe, optimiser=replace(tiny_recipe.optimiser, steps=4, batch=2))
    full = train(data, recipe, tmp_path / "full", device="cuda")
    compact, _ = train_compact(full, data, tmp_path / "compact", device="cuda")
    assert compact.record.graph == "compact"
    assert Checkpoint.open(tmp_path / "compact").memory() is not None


def test_a_compiled_network_learns_the_same(data: DataSet, recipe: Recipe, tmp_path: Path) -> None:
    plain = _losses(data, recipe, tmp_path / "plain", "cuda")
    seen: list[Progress] = []
    train(data, recipe, tmp_path / "compiled", device="cuda", compiled=True, report=seen.append)
    assert [progress.loss for progress in seen] == pytest.approx(plain, rel=0.05)
