"""Levels on one scale."""

from typing import cast, get_args

import numpy as np
import pytest

from dtgd_edge.train.levels import LevelRule
from dtgd_edge.train.recipe import Fusion


def test_the_edge_of_normal_is_one() -> None:
    rng = np.random.default_rng(0)
    levels = [scale * rng.random(100_000).astype(np.float32) for scale in (0.1, 0.2, 0.6)]
    edges = [np.quantile(level, 0.995) for level in levels]
    for (centre, scale), level in zip(LevelRule("calibrated").constants(levels), levels, strict=True):
        scaled = (level - centre) / scale
        assert np.median(scaled) == pytest.approx(0, abs=1e-6)
        assert np.quantile(scaled, 0.995) == pytest.approx(1, abs=1e-6)
    assert LevelRule("product").constants(levels) == [(0.0, pytest.approx(edge)) for edge in edges]
    assert LevelRule("sum").constants(levels) == [(0.0, pytest.approx(np.mean(edges)))] * 3


def test_a_level_without_any_spread_still_has_a_scale() -> None:
    for fusion in get_args(Fusion):
        constants = LevelRule(fusion).constants([np.zeros(10, np.float32)] * 3)
        assert all(scale > 0 for _, scale in constants)


def test_the_weight_is_in_the_scale_of_the_memory_alone() -> None:
    rng = np.random.default_rng(0)
    levels = [rng.random(500, np.float32) for _ in range(3)] + [30 * rng.random(500, np.float32)]
    for fusion in cast("tuple[Fusion, ...]", ("calibrated", "sum")):
        plain = LevelRule(fusion).constants(levels[:3])
        once, twice = (LevelRule(fusion, weight).constants(levels) for weight in (1.0, 2.0))
        assert once[:3] == twice[:3] == plain
        assert once[3][1] == pytest.approx(2 * twice[3][1])
    assert LevelRule("product", 1.0).constants(levels) == LevelRule("product", 2.0).constants(levels)
