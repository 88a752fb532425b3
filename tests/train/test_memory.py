from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dtgd_edge.errors import ConfigError
from dtgd_edge.train.memory import Change, memory_of
from dtgd_edge.train.recipe import MemoryRecipe, Recipe, read_recipe

RECIPE = MemoryRecipe(size=40, components=5)


def _parts(count: int, seed: int = 0, shift: float = 0.0) -> list[list[Tensor]]:
    """Teacher features of three levels, 32 x 32 pixels; the second level has 4 x 4 places."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, 4, 8, 8), (1, 8, 4, 4), (1, 16, 2, 2)]
    return [[torch.rand(shape, generator=generator) + shift for shape in shapes] for _ in range(count)]


def _patches(levels: list[Tensor]) -> Tensor:
    _, middle, deep = (F.avg_pool2d(level, 3, 1, 1) for level in levels)
    deep = F.interpolate(deep, size=(4, 4), mode="bilinear", align_corners=False)
    return torch.cat([middle, deep], 1)[0].flatten(1).T  # [16, 24]


def test_distances_are_those_to_the_nearest_prototype_in_principal_components() -> None:
    parts, new = _parts(6), _parts(1, seed=1)[0]
    memory = memory_of(parts, [], RECIPE, len(parts), 0)
    known = torch.cat([_patches(part) for part in parts]).double()
    mean = known.mean(0)
    _, _, axes = torch.linalg.svd(known - mean, full_matrices=False)
    # Distances do not depend on the signs that two decompositions may give the axes.
    points, found = ((x.double() - mean) @ axes[:5].T for x in (known, _patches(new)))
    patches = memory.project(new)[0].flatten(1).T
    torch.testing.assert_close(patches.norm(dim=1), found.float().norm(dim=1), rtol=1e-3, atol=1e-4)
    everything = memory_of(parts, [], replace(RECIPE, size=96), len(parts), 0)
    assert everything.prototypes.shape == (96, 5)
    expected = torch.cdist(found, points).amin(1).float().view(1, 1, 4, 4)
    torch.testing.assert_close(everything(new), expected, rtol=1e-2, atol=1e-3)
    by_hand = torch.cdist(patches, memory.prototypes).amin(1).view(1, 1, 4, 4)
    torch.testing.assert_close(memory(new), by_hand, rtol=1e-3, atol=1e-3)


def _change(parts: list[list[Tensor]], channel: int, by: float) -> Change:
    """Parts whose left half is corrupted: one channel of the third level has moved there."""
    clean = [torch.cat(levels) for levels in zip(*parts, strict=True)]
    corrupted = [level.clone() for level in clean]
    corrupted[2][:, channel, :, :1] += by
    mask = torch.zeros(len(parts), 1, 32, 32)
    mask[..., :16] = 1
    return Change(clean, corrupted, mask)


def test_distances_are_taken_along_what_anomalies_change() -> None:
    parts = _parts(6)
    memory = memory_of(parts, [_change(parts, 3, 0.2)], replace(RECIPE, size=96, components=1), 6, 0)
    direction = torch.cat([memory.middle, memory.deep], 1)[0, :, 0, 0]
    assert direction.norm().item() == pytest.approx(1, abs=1e-4)
    assert direction[8 + 3].abs() > 0.99
    new = _parts(1, seed=1)[0]
    aside, along = ([level.clone() for level in new] for _ in range(2))
    aside[2][:, 4] += 2
    along[2][:, 3] += 2
    torch.testing.assert_close(memory(aside), memory(new), rtol=0, atol=0.1)
    assert (memory(along) - memory(new)).min() > 0.4


def test_what_lies_outside_of_the_mask_does_not_count_as_changed() -> None:
    parts = _parts(6)
    change = _change(parts, 3, 0.2)
    nowhere = replace(change, mask=torch.zeros_like(change.mask))
    memories = [memory_of(parts, changes, RECIPE, 6, 0) for changes in ([], [nowhere])]
    torch.testing.assert_close(memories[0].state_dict(), memories[1].state_dict())


def test_what_was_shown_is_near_and_what_was_not_is_far() -> None:
    parts = _parts(6)
    memory = memory_of(parts, [], replace(RECIPE, size=96), len(parts), 0)
    shown = torch.cat([memory(part) for part in parts])
    strange = torch.cat([memory(part) for part in _parts(2, seed=5, shift=1.0)])
    assert shown.max() < 0.02
    assert strange.min() > 10 * shown.max()


def test_prototypes_are_spread_out_and_none_is_kept_twice() -> None:
    parts = _parts(6)
    prototypes = memory_of(parts, [], RECIPE, len(parts), 0).prototypes
    points = memory_of(parts, [], replace(RECIPE, size=96), len(parts), 0).prototypes
    assert len(prototypes.unique(dim=0)) == 40
    covered = torch.cdist(points, prototypes).amin(1).max()
    chosen = torch.randperm(96, generator=torch.Generator().manual_seed(0))[:40]
    assert covered < torch.cdist(points, points[chosen]).amin(1).max()


def test_equal_parts_leave_few_prototypes_and_finite_distances() -> None:
    flat = [[torch.full_like(level, 0.5) for level in part] for part in _parts(4)]
    memory = memory_of(flat, [], RECIPE, 4, 0)
    assert 1 <= len(memory.prototypes) <= 16  # what zero padding makes of the rims is all that differs
    assert bool(memory(flat[0]).isfinite().all())
    assert memory(flat[0]).max() < 1e-2


def test_a_memory_of_any_number_of_tiles_and_of_a_batch() -> None:
    parts = _parts(4)
    batch = [torch.cat(levels) for levels in zip(*parts, strict=True)]
    one_by_one = memory_of(parts, [], RECIPE, 4, 0)
    together = one_by_one(batch)
    assert together.shape == (4, 1, 4, 4)
    for part, distances in zip(parts, together, strict=True):
        torch.testing.assert_close(one_by_one(part)[0], distances, rtol=1e-3, atol=1e-3)
    tiles = memory_of([batch], [], RECIPE, 1, 0)
    assert tiles.prototypes.shape == (40, 5)


@pytest.mark.parametrize("wrong", [{"size": -1}, {"components": 0}, {"weight": 0.0}])
def test_a_memory_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="for no memory set size to 0"):
        MemoryRecipe(**wrong)  # type: ignore[arg-type]


def test_a_recipe_can_leave_the_memory_out(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[memory]\nsize = 0\n")
    assert read_recipe(path) == Recipe(memory=MemoryRecipe(size=0))
