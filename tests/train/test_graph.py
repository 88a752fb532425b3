"""The scoring graph against brute force: nothing is lost on the way from the trained network."""

import copy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dtgd_edge.train import batches
from dtgd_edge.train.backbones import ResNet, backbone_spec
from dtgd_edge.train.checkpoint import Checkpoint, JudgingFrames
from dtgd_edge.train.graph import (
    ScoringGraph,
    Tail,
    calibrate_levels,
    distil,
    fold_batch_norms,
    gaussian_kernel,
)
from dtgd_edge.train.loop import tensor_from_frames
from dtgd_edge.train.metrics import pixel_auroc
from dtgd_edge.train.networks import DTGD, LEVELS, cosine
from dtgd_edge.train.recipe import Fusion, ScoringRecipe, StudentRecipe, TNRForm

Grid = NDArray[np.float32]


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoint)


@pytest.fixture(scope="module")
def frames(checkpoint: Checkpoint) -> JudgingFrames:
    return checkpoint.frames()


@pytest.fixture(scope="module")
def graph(checkpoint: Checkpoint) -> ScoringGraph:
    return distil(checkpoint)


def _blurred(grid: Grid, sigma: float) -> Grid:
    """By OpenCV: zeros outside, then made up for."""
    reach = int(np.ceil(3 * sigma))
    line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    line /= line.sum()
    inside, ones = (
        cv2.sepFilter2D(g, cv2.CV_32F, line, line, borderType=cv2.BORDER_CONSTANT)
        for g in (grid.astype(np.float32), np.ones_like(grid, np.float32))
    )
    return np.asarray(inside / ones, np.float32)


def _brute_force(graph: ScoringGraph, frame: NDArray[np.uint8], sigma: float) -> tuple[float, Grid]:
    """Score and map from features, one level and one frame at a time, in numpy and OpenCV."""
    with torch.inference_mode():
        teacher, decoded = graph.features(torch.from_numpy(frame)[None])
    quarter = (frame.shape[1] // 4, frame.shape[0] // 4)
    total = np.zeros(quarter[::-1], np.float32)
    for level, (a, d) in enumerate(zip(teacher, decoded, strict=True)):
        u, v = a[0].double().numpy(), d[0].double().numpy()
        similarity = (u * v).sum(0) / np.sqrt(((u * u).sum(0) + 1e-6) * ((v * v).sum(0) + 1e-6))
        distance = (1 - similarity - graph.tail.centre[level].item()) / graph.tail.scale[level].item()
        total += cv2.resize(distance.astype(np.float32), quarter, interpolation=cv2.INTER_LINEAR)
    assert graph.memory is not None
    with torch.inference_mode():
        remembered = graph.memory(teacher)[0, 0].numpy()
    remembered = (remembered - graph.tail.centre[3].item()) / graph.tail.scale[3].item()
    total += cv2.resize(remembered, quarter, interpolation=cv2.INTER_LINEAR)
    total /= 3 + graph.memory.weight
    smooth = _blurred(total, sigma)
    large = cv2.resize(smooth, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return float(smooth.max()), np.asarray(large, np.float32)


def test_map_and_score_are_the_brute_force_values(graph: ScoringGraph, frames: JudgingFrames) -> None:
    chosen = np.concatenate([frames.normals[:2], frames.defects[:4]])
    scores = graph.score(chosen)
    assert scores.score.shape == (6,) and scores.map.shape == (6, 64, 64)
    assert scores.score.dtype == scores.map.dtype == np.float32
    for row, frame in enumerate(chosen):
        score, anomaly_map = _brute_force(graph, frame, 1.0)
        assert scores.score[row] == pytest.approx(score, abs=2e-4 * max(1, abs(score)))
        np.testing.assert_allclose(scores.map[row], anomaly_map, rtol=0, atol=2e-4 * max(1, abs(score)))


def test_defects_score_higher_and_lie_where_they_are(graph: ScoringGraph, frames: JudgingFrames) -> None:
    good, bad = graph.score(frames.normals), graph.score(frames.defects)
    assert np.mean(good.score[:, None] < bad.score[None]) > 0.6
    area = pixel_auroc(list(bad.map), list(frames.masks))
    assert area is not None and area > 0.65


def test_folded_batch_norms_give_the_same_features(
    checkpoint: Checkpoint, graph: ScoringGraph, frames: JudgingFrames
) -> None:
    network = checkpoint.network()
    with torch.inference_mode():
        teacher, student = network(tensor_from_frames(frames.normals, torch.device("cpu")))
        folded, decoded = graph.features(torch.from_numpy(frames.normals))
    for expected, found in zip((*teacher, *student.decoded), (*folded, *decoded), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tnr", ["subtract", "inject", "off"])
def test_no_batch_norm_is_left(tnr: TNRForm) -> None:
    student = StudentRecipe("resnet18_quarter", tnr, skips=True)
    network = DTGD(ResNet(backbone_spec("resnet50")), student).eval()
    folded = fold_batch_norms(copy.deepcopy(network))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def test_making_a_graph_leaves_the_network_alone(checkpoint: Checkpoint) -> None:
    network = checkpoint.network()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    ScoringGraph(network, (64, 64), ScoringRecipe()).half()
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.fixture(scope="module")
def untrained() -> Callable[[StudentRecipe, Fusion], ScoringGraph]:
    """Makes a tiny calibrated graph without training."""

    def make(student: StudentRecipe, fusion: Fusion) -> ScoringGraph:
        torch.manual_seed(0)
        network = DTGD(ResNet(backbone_spec("resnet18_quarter")), student)
        graph = ScoringGraph(network, (64, 64), ScoringRecipe(fusion=fusion)).eval()
        calibrate_levels(graph, np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8))
        return graph

    return make


@pytest.mark.parametrize("tnr", ["subtract", "inject", "off"])
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("fusion", ["calibrated", "sum", "product"])
def test_scoring_uses_only_the_frame(
    untrained: Callable[[StudentRecipe, Fusion], ScoringGraph],
    frames: JudgingFrames,
    monkeypatch: pytest.MonkeyPatch,
    tnr: TNRForm,
    skips: bool,
    fusion: Fusion,
) -> None:
    graph = untrained(StudentRecipe("resnet18_quarter", tnr, skips), fusion)
    before = graph.score(frames.defects[:2])

    def refuse(*args: object) -> None:
        raise AssertionError("scoring asked for a synthetic anomaly")

    monkeypatch.setattr(batches, "corrupt", refuse)
    monkeypatch.setattr("dtgd_edge.train.synth.corrupt", refuse)
    after = graph.score(frames.defects[:2])
    np.testing.assert_array_equal(before.map, after.map)
    np.testing.assert_array_equal(before.score, after.score)


def test_a_frame_scores_the_same_in_any_company(graph: ScoringGraph, frames: JudgingFrames) -> None:
    with torch.inference_mode():
        together, _ = graph(torch.from_numpy(frames.defects[:3]))
    np.testing.assert_allclose(together.numpy(), graph.score(frames.defects[:3]).score, rtol=1e-4, atol=1e-4)


def test_levels_are_calibrated_on_good_frames(graph: ScoringGraph, frames: JudgingFrames) -> None:
    with torch.inference_mode():
        teacher, decoded = graph.features(torch.from_numpy(frames.normals))
    for level, (a, d) in enumerate(zip(teacher, decoded, strict=True)):
        distance = 1 - torch.nn.functional.cosine_similarity(a, d).numpy()
        scaled = (distance - graph.tail.centre[level].item()) / graph.tail.scale[level].item()
        assert np.median(scaled) == pytest.approx(0, abs=1e-2)
        assert np.quantile(scaled, 0.995) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("fusion", ["sum", "product"])
def test_uncalibrated_fusions_rank_pixels_as_plain_distances_do(
    untrained: Callable[[StudentRecipe, Fusion], ScoringGraph], frames: JudgingFrames, fusion: Fusion
) -> None:
    graph = untrained(StudentRecipe("resnet18_quarter"), fusion)
    tail = Tail((64, 64), LEVELS, ScoringRecipe(fusion=fusion, blur_sigma=0))
    tail.load_state_dict({**tail.state_dict(), "centre": graph.tail.centre, "scale": graph.tail.scale})
    with torch.inference_mode():
        teacher, decoded = graph.features(torch.from_numpy(frames.defects[:3]))
        _, found = tail(teacher, decoded)
        plain = [
            nn.functional.interpolate(1 - cosine(a, d)[:, None], (16, 16), mode="bilinear")
            for a, d in zip(teacher, decoded, strict=True)
        ]
        fused = plain[0] * plain[1] * plain[2] if fusion == "product" else plain[0] + plain[1] + plain[2]
        expected = nn.functional.interpolate(fused, (64, 64), mode="bilinear")[:, 0]
    factor = (found / expected).mean()
    assert factor > 0
    torch.testing.assert_close(found, factor * expected, rtol=1e-3, atol=1e-5)


def _tail(recipe: ScoringRecipe, size_hw: tuple[int, int] = (64, 96)) -> Tail:
    return Tail(size_hw, 1, recipe)


def _features(distance: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """One level whose 1 - cosine is the given [N, H, W]."""
    a = torch.stack([torch.ones_like(distance), torch.zeros_like(distance)], 1) * 10
    cosine = 1 - distance
    return [a], [torch.stack([cosine, (1 - cosine**2).clamp_min(0).sqrt()], 1) * 10]


def test_an_even_distance_gives_an_even_map_up_to_the_rim() -> None:
    score, anomaly_map = _tail(ScoringRecipe(blur_sigma=2.0))(*_features(torch.full((1, 16, 24), 0.4)))
    assert anomaly_map.shape == (1, 64, 96)
    torch.testing.assert_close(anomaly_map, torch.full((1, 64, 96), 0.4), rtol=0, atol=1e-4)
    assert score.item() == pytest.approx(0.4, abs=1e-4)


@pytest.mark.parametrize("top", [1, 4, 50])
def test_score_is_the_mean_of_the_largest_pixels_of_the_quarter_map(top: int) -> None:
    torch.manual_seed(0)
    distance = torch.rand(2, 16, 24)
    score, _ = _tail(ScoringRecipe(blur_sigma=0.0, top=top))(*_features(distance))
    expected = distance.flatten(1).sort(1, descending=True).values[:, :top].mean(1)
    torch.testing.assert_close(score, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0, 2.5])
def test_the_blur_kernel_is_a_normalised_gaussian(sigma: float) -> None:
    kernel = gaussian_kernel(sigma)
    side = 2 * int(np.ceil(3 * sigma)) + 1
    assert kernel.shape == (1, 1, side, side) and kernel.dtype == torch.float32
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(kernel, kernel.flip(2).flip(3))
    torch.testing.assert_close(kernel, kernel.transpose(2, 3))
    if sigma:
        ratio = kernel[0, 0, side // 2, side // 2 + 1] / kernel[0, 0, side // 2, side // 2]
        assert ratio.item() == pytest.approx(np.exp(-1 / (2 * sigma**2)), rel=1e-4)


def _hard_frames() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    even = [np.full((64, 64, 3), grey, np.uint8) for grey in (0, 1, 128, 255)]
    checks = np.uint8(255) * (np.indices((64, 64)).sum(0) % 2).astype(np.uint8)[..., None].repeat(3, 2)
    return np.stack([*even, noise, checks, np.where(noise > 127, 255, 0).astype(np.uint8)])


@pytest.mark.parametrize("is_half", [False, True])
def test_hard_frames_never_give_nan(graph: ScoringGraph, is_half: bool) -> None:
    subject = copy.deepcopy(graph).half() if is_half else graph
    scores = subject.score(_hard_frames())
    assert np.isfinite(scores.score).all() and np.isfinite(scores.map).all()
    assert scores.score.dtype == scores.map.dtype == np.float32


def test_half_precision_keeps_the_tail_in_float32(graph: ScoringGraph, frames: JudgingFrames) -> None:
    half = copy.deepcopy(graph).half()
    assert {p.dtype for p in half.network.parameters()} == {torch.float16}
    assert {b.dtype for b in (*half.tail.buffers(), half.gain, half.offset)} == {torch.float32}
    chosen = frames.defects[:8]
    full, rounded = graph.score(chosen).score, half.score(chosen).score
    np.testing.assert_allclose(rounded, full, rtol=0.02, atol=0.02)


def test_frames_need_not_be_contiguous(graph: ScoringGraph, frames: JudgingFrames) -> None:
    mirrored = frames.normals[:1, :, ::-1]
    np.testing.assert_array_equal(graph.score(mirrored).score, graph.score(mirrored.copy()).score)
