"""Float16 in the graph: half-precision convolutions around float32 cosines, and their rounding shown."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dtgd_edge.train.graph import ScoringGraph


def fp16_graph(graph: ScoringGraph) -> ScoringGraph:
    """Copy a graph with its convolutions in float16; cosines and tail stay float32."""
    return copy.deepcopy(graph).half()


def fp16_rounded_graph(graph: ScoringGraph) -> ScoringGraph:
    """Copy a graph that computes in float32 but rounds as float16 hardware does.

    Each convolution's weights, inputs and outputs are rounded to float16, and overflow to infinity
    there; sums are kept in float32, as tensor cores keep them. ONNX Runtime's CPU shows neither
    (it computes float16 graphs in float32), and true float16 convolutions on a CPU take 20 times as long.
    """
    rounded = copy.deepcopy(graph)
    for module in rounded.network.modules():
        if isinstance(module, nn.Conv2d):
            module.half().float()
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].half().float(),))
            module.register_forward_hook(lambda _, __, output: output.half().float())
    return rounded


def first_overflow(graph: ScoringGraph, frames: NDArray[np.uint8]) -> str | None:
    """Name the first convolution, in the order of computing, whose output overflows in float16.

    Args:
        graph: float32.
        frames: uint8 [N, H, W, 3]; looked at until one overflows.

    Returns:
        The module's name in the scoring graph ("network.teacher.conv1"); None: nothing overflows.
    """
    rounded = fp16_rounded_graph(graph)
    culprits: list[str] = []

    def watch(name: str) -> None:
        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not culprits and not bool(output.isfinite().all()):
                culprits.append(name)

        rounded.get_submodule(name).register_forward_hook(look)

    for name, module in rounded.named_modules():
        if isinstance(module, nn.Conv2d):
            watch(name)
    with torch.inference_mode():
        for frame in frames:
            rounded(torch.from_numpy(np.ascontiguousarray(frame))[None])
            if culprits:
                return culprits[0]
    return None
