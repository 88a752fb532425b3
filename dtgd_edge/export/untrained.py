"""Graphs with random weights: what they say is worth nothing, what they take is what trained ones take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import nn

from dtgd_edge.bundle import Bundle, Golden, Placement, Precision, Threshold
from dtgd_edge.export.draft import draft_bundle
from dtgd_edge.export.int8 import Quantiser
from dtgd_edge.export.onnx import onnx_from_graph
from dtgd_edge.export.precision import fp16_graph
from dtgd_edge.export.target import CalibrationTarget, Target
from dtgd_edge.geometry import Geometry
from dtgd_edge.train.backbones import BackboneSpec
from dtgd_edge.train.checkpoint import SCHEMA, Checkpoint, CheckpointRecord, JudgingFrames
from dtgd_edge.train.compact import compact_recipe
from dtgd_edge.train.graph import distil
from dtgd_edge.train.memory import Memory
from dtgd_edge.train.networks import DTGD
from dtgd_edge.train.recipe import MemoryRecipe, Recipe
from dtgd_edge.train.teacher import Teacher, load_teacher, resolved

# Kinds of graph by name, each as the change that it is of a full checkpoint's recipe; the first is nearest to
# the method.
RECIPES: dict[str, Callable[[Recipe], Recipe]] = {"full": lambda recipe: recipe, "compact": compact_recipe}
FRAMES, BLOCK_PX = 3, 16
# All parts are good: outlining a frame that is anomalous all over takes longer than scoring it.
NEVER = Threshold(1e9, "never reached, for timing only", 0)


class UntrainedGraphs:
    """Bundles of one untrained network, in any size and precision.

    Args:
        recipe: decides the networks; weights that would have to be downloaded are made random.
        target: what INT8 is made for.
        graph: a key of RECIPES.

    Raises:
        ConfigError, DataError: the recipe's networks cannot be made.
    """

    def __init__(self, recipe: Recipe, target: Target, graph: str = "full") -> None:
        # One frame sets the ranges: they decide what is rounded, not how long that takes.
        self._target = replace(target, calibration=CalibrationTarget("minmax", 1))
        self._checkpoint = _untrained(recipe, RECIPES[graph])

    def bundles(self, geometry: Geometry, precisions: Sequence[Precision]) -> Mapping[Precision, Bundle]:
        """Make bundles without parity that call every frame good; their golden frames are coloured blocks.

        Raises:
            BackendError: the graph cannot be converted.
        """
        record = self._checkpoint.record
        recipe = replace(record.recipe, geometry=geometry)
        checkpoint = replace(self._checkpoint, record=replace(record, recipe=recipe))
        frames = _frames(geometry.size_hw)
        none = np.zeros((0, *geometry.size_hw), np.bool_)
        graph = distil(checkpoint, JudgingFrames(frames[:1], frames[:0], none, frames))
        float32 = onnx_from_graph(graph)
        half = onnx_from_graph(fp16_graph(graph)) if self._needs_half(precisions) else None
        made: dict[Precision, Bundle] = {}
        for precision in precisions:
            model: ModelProto = float32
            placement: Placement = "float"
            if precision == "int8":
                model = Quantiser(
                    float32, self._target, frames[:1], half=half, rule=graph.level_rule
                ).quantised()
                placement = self._target.placement
            elif precision == "fp16":
                assert half is not None, "made where it is needed"
                model = half
            draft = draft_bundle(checkpoint, model.SerializeToString(), precision, placement)
            manifest = replace(draft.manifest, threshold=NEVER)
            made[precision] = replace(
                draft, manifest=manifest, golden=Golden(frames, np.zeros(len(frames), np.float32))
            )
        return made

    def _needs_half(self, precisions: Sequence[Precision]) -> bool:
        return "fp16" in precisions or ("int8" in precisions and self._target.rest == "fp16")


def _untrained(recipe: Recipe, change: Callable[[Recipe], Recipe]) -> Checkpoint:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        recipe = change(resolved(recipe, _teacher(recipe).backbone))
        teacher = _teacher(recipe)
        recipe = resolved(recipe, teacher.backbone)
        network = DTGD(teacher.network, recipe.student)
        memory = _memory(teacher.network.spec, recipe.memory)
    recipe = replace(recipe, teacher=replace(recipe.teacher, variant="frozen"))
    parts: dict[str, nn.Module] = {"teacher.": teacher.network, "average.": network.student}
    if memory is not None:
        parts["memory."] = memory
    tensors = {f"{prefix}{k}": v for prefix, part in parts.items() for k, v in part.state_dict().items()}
    record = CheckpointRecord(SCHEMA, recipe, 0, "", "", teacher.origin, "untrained", None, 0.0)
    return Checkpoint(record, tensors, Path())


def _memory(spec: BackboneSpec, recipe: MemoryRecipe) -> Memory | None:
    """A memory of nothing; its prototypes lie so close that its search is rounded, as a trained one's is."""
    if not recipe.size:
        return None
    memory = Memory((spec.channels(2), spec.channels(3)), recipe.components, recipe.size, recipe.weight)
    for tensor in (memory.middle, memory.deep, memory.prototypes):
        tensor.normal_(std=0.01)
    return memory


def _teacher(recipe: Recipe) -> Teacher:
    weights = recipe.teacher.weights
    if weights in ("auto", "imagenet"):
        weights = "random"
    return load_teacher(replace(recipe.teacher, weights=weights), lambda text: None)


def _frames(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Pictures that the health gate takes for pictures: uint8 [FRAMES, *size_hw, 3], coloured blocks."""
    blocks = np.random.default_rng(0).integers(
        0, 256, (FRAMES, size_hw[0] // BLOCK_PX, size_hw[1] // BLOCK_PX, 3), np.uint8
    )
    return blocks.repeat(BLOCK_PX, 1).repeat(BLOCK_PX, 2)
