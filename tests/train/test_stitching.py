"""Cutting and stitching: exact where tiles agree, no seam where they do not, brute force for the rest."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtgd_edge.geometry import Geometry, TileGrid
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import ScoringGraph, Tail, calibrate_levels, distil
from dtgd_edge.train.networks import StudentFeatures, cosine
from dtgd_edge.train.recipe import ScoringRecipe
from dtgd_edge.train.stitching import Stitch, blending_weights, cut

GRIDS = {
    "apart": Geometry((64, 96), tiles=(2, 3), overlap=0.0).tile_grid,
    "overlapping": Geometry((96, 128), tiles=(2, 3)).tile_grid,
    "three at once": Geometry((160, 64), tiles=(3, 1)).tile_grid,
}


@pytest.fixture(params=GRIDS)
def grid(request: pytest.FixtureRequest) -> TileGrid:
    chosen = GRIDS[request.param]
    assert chosen is not None
    return chosen


def _size(grid: TileGrid) -> tuple[int, int]:
    return grid.tops[-1] + grid.tile_hw[0], grid.lefts[-1] + grid.tile_hw[1]


def test_weights_sum_to_one_and_fall_towards_a_shared_rim() -> None:
    weights = blending_weights([0, 6, 14], 10)
    assert weights.shape == (3, 10) and weights.dtype == torch.float32
    total = sum(F.pad(w, (start, 14 - start)) for w, start in zip(weights, (0, 6, 14), strict=True))
    torch.testing.assert_close(total, torch.ones(24), rtol=0, atol=1e-6)
    assert (weights[0, :6] == 1).all() and (weights[2, 2:] == 1).all()
    torch.testing.assert_close(weights[0, 6:], torch.tensor([0.875, 0.625, 0.375, 0.125]))
    torch.testing.assert_close(weights[1, :4], weights[0, 6:].flip(0))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_what_was_cut_is_stitched_to_what_it_was(grid: TileGrid, stride: int, count: int) -> None:
    height, width = (side // stride for side in _size(grid))
    torch.manual_seed(0)
    ramp = torch.linspace(-1, 2, height)[:, None] + torch.linspace(0, 5, width)
    maps = torch.stack([torch.full((height, width), 0.7), ramp, torch.randn(height, width)])[-count:]
    large = maps.repeat_interleave(stride, 1).repeat_interleave(stride, 2)[..., None]
    tiles = cut(large, grid)[:, ::stride, ::stride, 0].unsqueeze(1)
    assert len(tiles) == len(grid.areas) * count
    torch.testing.assert_close(Stitch(grid, stride)(tiles)[:, 0], maps, rtol=0, atol=2e-6)


class _Stand(nn.Module):
    """Stands for DTGD: the same at every place; with `rim`, zeros from beyond the picture get in."""

    def __init__(self, rim: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rim = rim
        strides = [4, 8, 16, 4, 8, 16]
        self.kernels = [torch.randn(4, 3, s * (1 + rim), s * (1 + rim)) for s in strides]

    def forward(self, x: Tensor) -> tuple[list[Tensor], StudentFeatures]:
        levels = []
        for kernel in self.kernels:
            side = kernel.shape[-1]
            stride, padding = (side // 2, side // 4) if self.rim else (side, 0)
            levels.append(F.conv2d(x, kernel, stride=stride, padding=padding))
        return levels[:3], StudentFeatures([], levels[3:], [])


@pytest.mark.parametrize("rim", [False, True])
def test_there_is_no_seam(tiny_checkpoint: Path, rim: bool) -> None:
    geometry = Geometry((256, 256), tiles=(2, 2))
    network = Checkpoint.open(tiny_checkpoint).network()
    tiled = ScoringGraph(network, geometry.size_hw, ScoringRecipe(), geometry.tile_grid)
    whole = ScoringGraph(network, geometry.size_hw, ScoringRecipe())
    for graph in (tiled, whole):
        graph.network = _Stand(rim)  # type: ignore[assignment]
        graph.tail.centre.copy_(torch.tensor([0.1, 0.2, 0.3]))
        graph.tail.scale.copy_(torch.tensor([0.5, 1.0, 2.0]))
    frames = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    found, wanted = tiled.score(frames), whole.score(frames)
    assert geometry.tile_grid is not None and geometry.tile_grid.lefts == (0, 96)
    # A rim at 96 or 160 px, 16 px of it in the coarsest level, as much by enlarging it, and the blur's 16 px.
    near = np.zeros(256, bool) if not rim else (np.arange(256) >= 96 - 48) & (np.arange(256) < 160 + 48)
    far = ~(near[:, None] | near[None, :])
    np.testing.assert_allclose(found.map[:, far], wanted.map[:, far], rtol=0, atol=1e-5)
    assert np.abs(found.map - wanted.map).max() == pytest.approx(0, abs=0.5 if rim else 1e-5)
    if not rim:
        np.testing.assert_allclose(found.score, wanted.score, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def pair(tiny_checkpoint: Path) -> tuple[ScoringGraph, ScoringGraph]:
    """The same network for overlapping tiles, and for one tile of them as its whole frame."""
    checkpoint, grid = Checkpoint.open(tiny_checkpoint), GRIDS["overlapping"]
    assert grid is not None
    network, recipe = checkpoint.network(), checkpoint.record.recipe.scoring
    return ScoringGraph(network, _size(grid), recipe, grid), ScoringGraph(network, grid.tile_hw, recipe)


def _frames(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 96, 128, 3), np.uint8)


def test_each_tile_has_the_features_it_has_alone(pair: tuple[ScoringGraph, ScoringGraph]) -> None:
    tiled, alone = pair
    frame = _frames(1)
    with torch.inference_mode():
        teacher, decoded = tiled.features(torch.from_numpy(frame))
        columns = [(y, x) for x in (0, 32, 64) for y in (0, 32)]
        for row, (y, x) in enumerate(columns):
            single = alone.features(torch.from_numpy(frame[:, y : y + 64, x : x + 64]))
            for found, wanted in zip((*teacher, *decoded), (*single[0], *single[1]), strict=True):
                torch.testing.assert_close(found[row], wanted[0], rtol=1e-3, atol=1e-4)


def test_levels_are_calibrated_on_the_tiles(pair: tuple[ScoringGraph, ScoringGraph]) -> None:
    graph, frames = copy.deepcopy(pair[0]), _frames(3)
    calibrate_levels(graph, frames)
    with torch.inference_mode():
        teacher, decoded = graph.features(torch.from_numpy(frames))
        for level, (a, d) in enumerate(zip(teacher, decoded, strict=True)):
            scaled = (1 - cosine(a, d) - graph.tail.centre[level]) / graph.tail.scale[level]
            assert np.median(scaled.numpy()) == pytest.approx(0, abs=1e-3)
            assert np.quantile(scaled.numpy(), 0.995) == pytest.approx(1, abs=1e-3)


def test_frames_score_the_same_in_any_company(pair: tuple[ScoringGraph, ScoringGraph]) -> None:
    frames = _frames(3)
    with torch.inference_mode():
        score, anomaly_map = pair[0](torch.from_numpy(frames))
    one_by_one = pair[0].score(frames)
    np.testing.assert_allclose(score.numpy(), one_by_one.score, rtol=0, atol=1e-5)
    np.testing.assert_allclose(anomaly_map.numpy(), one_by_one.map, rtol=0, atol=1e-5)


def test_one_tile_is_no_tile(tiny_checkpoint: Path) -> None:
    """Nothing is added to the graph: not a buffer, not an operation."""
    assert Geometry((64, 64), tiles=(1, 1), overlap=0.4).tile_grid is None
    graph = distil(Checkpoint.open(tiny_checkpoint))
    assert not [name for name in graph.state_dict() if "stitch" in name]
    assert not list(Tail((64, 64), 3, ScoringRecipe()).stitches)
