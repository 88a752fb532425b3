"""When INT8 loses verdicts: find the modules to blame and keep the worst of them in float."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import onnx
from onnx import ModelProto

from dtgd_edge.export.onnx import node_scopes
from dtgd_edge.export.placement import MEMORY, is_within
from dtgd_edge.export.target import SensitivityTarget

Attempt = TypeVar("Attempt")
# Deep enough to tell stages apart, shallow enough that one is worth a graph: network.teacher.layer1,
# network.student.encoder.layer1, network.student.tnr.0, network.student.decoder.blocks.0.
_DEPTHS = {"network.teacher": 3, "network.student.decoder.blocks": 5}
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Suspect:
    """A module that could stay float.

    Attributes:
        module: its name in the scoring graph.
        share: its share of all convolutions' multiplications.
        error: what is left of the score error when this one alone stays float.
    """

    module: str
    share: float
    error: float


def module_shares(model: ModelProto) -> dict[str, float]:
    """Modules that can be kept in float, with their share of the convolutions' multiplications."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*inferred.value_info, *inferred.output)
    }
    weights = {i.name: list(i.dims) for i in model.graph.initializer}
    scopes = node_scopes(model)
    work: dict[str, float] = {}
    for node in model.graph.node:
        scope = scopes[node.name]
        if node.op_type == "Conv" and scope.split(".")[0] in ("network", MEMORY):
            cost = prod(shapes[node.output[0]]) * prod(weights[node.input[1]][1:])
            module = _module_of(scope)
            work[module] = work.get(module, 0.0) + cost
    total = sum(work.values())
    return {module: cost / total for module, cost in work.items()}


def ranked(
    shares: dict[str, float], error_without: Callable[[str], float], base_error: float
) -> list[Suspect]:
    """Measure every module and put the one whose rounding does most damage first.

    Args:
        shares: from `module_shares`.
        error_without: score error of the graph when this module alone stays float.
        base_error: score error of the graph with all of them quantised.
    """
    suspects = [Suspect(module, share, error_without(module)) for module, share in shares.items()]
    return sorted((s for s in suspects if s.error < base_error), key=lambda s: s.error)


def growing_choices(suspects: list[Suspect], target: SensitivityTarget) -> Iterator[tuple[str, ...]]:
    """Sets of modules to keep in float, each one larger than the last, within the target's budget."""
    kept: list[Suspect] = []
    attempts = 0
    for suspect in suspects:
        if attempts == target.attempts:
            return
        if sum(s.share for s in kept) + suspect.share > target.float_share:
            continue  # a cheaper one may still fit
        kept.append(suspect)
        attempts += 1
        yield tuple(s.module for s in kept)


def share_of(modules: tuple[str, ...], shares: dict[str, float]) -> float:
    """Share of the multiplications inside these modules."""
    return sum(share for module, share in shares.items() if is_within(module, modules))


def _module_of(scope: str) -> str:
    depth = next((d for prefix, d in _DEPTHS.items() if scope.startswith(prefix)), _DEPTH)
    return ".".join(scope.split(".")[:depth])
