from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dtgd_edge.train import loop
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.data import DataSet, read_data
from dtgd_edge.train.loop import Progress, train
from dtgd_edge.train.recipe import LossRecipe, Recipe

STEPS = 6


@pytest.fixture(scope="module")
def few_judging_frames() -> Iterator[None]:
    """Drawing and packing 64 defects would take longer than a handful of steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "MOST_DEFECTS", 4)
        patch.setattr(loop, "MOST_FITTED", 4)
        yield


@pytest.fixture(scope="module")
def data(pretend_data: Path) -> DataSet:
    return read_data(pretend_data)


@pytest.fixture(scope="module")
def recipe(tiny_recipe: Recipe) -> Recipe:
    """Six steps of two pictures."""
    return replace(tiny_recipe, optimiser=replace(tiny_recipe.optimiser, steps=STEPS, batch=2))


@pytest.fixture(scope="module")
def uninterrupted(data: DataSet, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return train(data, recipe, tmp_path_factory.mktemp("runs") / "whole", device="cpu")


@pytest.fixture(scope="module")
def tuned_recipe(recipe: Recipe) -> Recipe:
    """The same with the anomaly teacher tuned (variant U)."""
    return replace(
        recipe,
        teacher=replace(recipe.teacher, variant="tuned"),
        loss=LossRecipe(dissimilarity_form="mask"),
    )


@pytest.fixture(scope="module")
def tuned(data: DataSet, tuned_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return train(data, tuned_recipe, tmp_path_factory.mktemp("runs") / "tuned", device="cpu")


def same(a: Checkpoint, b: Checkpoint) -> bool:
    """Bit for bit, the optimiser's moments and the record included."""
    return (
        a.record == b.record
        and a.tensors.keys() == b.tensors.keys()
        and all(torch.equal(v, b.tensors[k]) for k, v in a.tensors.items())
    )


def at(step: int, act: Callable[[], object]) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step == step:
            act()

    return report
