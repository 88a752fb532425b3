"""Quantisation-aware fine-tuning: teach the student to give its float distances through INT8 rounding.

The last resort when INT8 loses verdicts: a few hundred steps on the checkpoint's stored frames, corrupted
afresh at each step. What is learnt is not the task but the trained graph's own distances: with a dozen
stored frames, the training losses would move the verdicts that are to be kept.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dtgd_edge.export.calibration import Ranges
from dtgd_edge.export.onnx import node_scopes
from dtgd_edge.train.batches import BatchMaker
from dtgd_edge.train.checkpoint import JudgingFrames
from dtgd_edge.train.graph import ScoringGraph, calibrate_levels
from dtgd_edge.train.losses import distance_difference
from dtgd_edge.train.networks import cosine
from dtgd_edge.train.recipe import Recipe

LEARNING_RATE = 2e-5  # the weights are trained; more would undo it before it helps
BATCH = 4
MOST_STEPS = 500


def conv_input_ranges(model: ModelProto, ranges: Ranges) -> Ranges:
    """Range of each convolution's input, by the name of its module in the scoring graph."""
    scopes = node_scopes(model)
    return {
        scopes[node.name]: ranges[node.input[0]]
        for node in model.graph.node
        if node.op_type == "Conv" and scopes[node.name].startswith("network.") and node.input[0] in ranges
    }


def fine_tuned(
    graph: ScoringGraph,
    inputs: Ranges,
    recipe: Recipe,
    frames: JudgingFrames,
    steps: int,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> ScoringGraph:
    """Copy a scoring graph and fine-tune its student for INT8.

    Args:
        graph: trained, batch norms folded; it is what is imitated.
        inputs: from `conv_input_ranges`; these convolutions are rounded as INT8 will.
        recipe: of the training run; decides corruptions and the seed.
        frames: of the checkpoint; the good ones of `fitted` are trained on.
        steps: number of steps, at most MOST_STEPS.
        report: is given each step and its loss.
    """
    student, recipe = copy.deepcopy(graph), replace(recipe, optimiser=replace(recipe.optimiser, batch=BATCH))
    hooks = _round_convolutions(student, inputs)
    student.requires_grad_(False)
    parameters = [p.requires_grad_(True) for p in student.network.student.parameters()]
    optimiser = torch.optim.Adam(parameters, LEARNING_RATE)
    maker = BatchMaker(frames.fitted[: (len(frames.fitted) + 1) // 2], recipe)
    for step in range(min(steps, MOST_STEPS)):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        pictures = torch.from_numpy(maker.batch(step).corrupted)
        with torch.no_grad():
            wanted = _distances(graph, pictures)
        loss = distance_difference(_distances(student, pictures), wanted, graph.tail.scale)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        report(step + 1, loss.item())
    _remove_rounding(student, hooks)
    student.requires_grad_(False)
    calibrate_levels(student, frames.normals)
    return student


class _RoundedWeight(nn.Module):
    """A weight as symmetric int8 per output channel; gradients pass straight through."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().flatten(1).abs().amax(1).clamp_min(1e-12) / 127
        zero = torch.zeros(len(scale), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)


def _round_convolutions(graph: ScoringGraph, inputs: Ranges) -> list[torch.utils.hooks.RemovableHandle]:
    """Round inputs and weights of these convolutions, the teacher's too: the student sees its rounding."""
    hooks = []
    for name, (low, high) in inputs.items():
        module = graph.get_submodule(name)
        assert isinstance(module, nn.Conv2d), name
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, 1e-12) / 255
        zero = round(-low / scale)

        def rounded(
            _: nn.Module, given: tuple[Tensor, ...], scale: float = scale, zero: int = zero
        ) -> tuple[Tensor]:
            return (torch.fake_quantize_per_tensor_affine(given[0], scale, zero, 0, 255),)

        hooks.append(module.register_forward_pre_hook(rounded))
        parametrize.register_parametrization(module, "weight", _RoundedWeight())
    return hooks


def _remove_rounding(graph: ScoringGraph, hooks: list[torch.utils.hooks.RemovableHandle]) -> None:
    for hook in hooks:
        hook.remove()
    for module in graph.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


def _distances(graph: ScoringGraph, pictures: Tensor) -> list[Tensor]:
    """1 - cosine of teacher and decoder, one [B, H_k, W_k] per level."""
    teacher, decoded = graph.tile_features(pictures)
    return [1 - cosine(a, d) for a, d in zip(teacher, decoded, strict=True)]
