"""What tiles are for: a defect smaller than a pixel of the graph that would see the whole frame at once."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.geometry import Geometry
from dtgd_edge.pictures import write_picture
from dtgd_edge.train import loop
from dtgd_edge.train.data import DataSet, read_data
from dtgd_edge.train.evaluate import evaluate
from dtgd_edge.train.graph import distil
from dtgd_edge.train.loop import train
from dtgd_edge.train.metrics import Metrics
from dtgd_edge.train.recipe import (
    AugmentRecipe,
    OptimiserRecipe,
    Recipe,
    StudentRecipe,
    SynthRecipe,
    TeacherRecipe,
)

SIDE, DOT = 192, 4
TILED = Geometry((SIDE, SIDE), tiles=(3, 3), overlap=0.0)  # of 64 px each
SMALL = Geometry((32, 32))


def _blotchy(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Soft blotches, about as large as a pixel of the small graph: they hide a dot there, and only there."""
    soft = cv2.GaussianBlur(rng.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 6)
    return np.clip(128 + 18 * soft / soft.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    root, rng = tmp_path_factory.mktemp("dots"), np.random.default_rng(0)
    for split, kind, count in (("train", "good", 24), ("test", "good", 12), ("test", "dot", 12)):
        folder = root / split / kind
        folder.mkdir(parents=True)
        for i in range(count):
            picture, mask = _blotchy(rng), np.zeros((SIDE, SIDE), np.uint8)
            if kind == "dot":
                y, x = rng.integers(DOT, SIDE - DOT, 2)
                mask[y - DOT // 2 : y + DOT // 2, x - DOT // 2 : x + DOT // 2] = 255
                picture[mask > 0] -= 60
                (root / "ground_truth" / kind).mkdir(parents=True, exist_ok=True)
                write_picture(root / "ground_truth" / kind / f"{i:03}_mask.png", mask)
            write_picture(folder / f"{i:03}.png", picture)
    return read_data(root)


def _reached(data: DataSet, recipe: Recipe, folder: Path) -> Metrics:
    checkpoint = train(data, recipe, folder, device="cpu")
    return evaluate(distil(checkpoint).score, data.test, recipe.geometry).native


def test_a_defect_smaller_than_a_pixel_is_found_with_tiles_and_lost_without(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_DEFECTS", 4)
    monkeypatch.setattr(loop, "MOST_FITTED", 4)
    recipe = Recipe(
        teacher=TeacherRecipe(weights="shipped"),
        student=StudentRecipe("resnet18_quarter"),
        optimiser=OptimiserRecipe(steps=60),
        synth=SynthRecipe(families=("spots",)),
        augment=AugmentRecipe(shift=0, light=0),
    )
    without = _reached(data, replace(recipe, geometry=SMALL), tmp_path / "small")
    tiled = _reached(data, replace(recipe, geometry=TILED), tmp_path / "tiled")
    assert tiled.image_auroc is not None and tiled.image_auroc > 0.95
    assert tiled.pixel_auroc is not None and tiled.pixel_auroc > 0.95
    assert without.image_auroc is not None and without.image_auroc < 0.85
    assert without.pixel_auroc is not None and without.pixel_auroc < 0.75
