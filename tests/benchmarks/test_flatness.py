"""The slope of a run's memory."""

import numpy as np
import pytest

from dtgd_edge.benchmarks.flatness import held_bytes, slope_of
from dtgd_edge.errors import DataError


def test_a_leak_is_found_in_the_noise_and_a_flat_run_is_flat() -> None:
    rng = np.random.default_rng(0)
    frames = range(50_000, 100_000, 500)
    noise = rng.normal(0, 200_000, len(frames))
    leaking = slope_of([(frame, int(1e8 + 64 * frame + n)) for frame, n in zip(frames, noise, strict=True)])
    assert leaking.lowest < 64 < leaking.highest and leaking.lowest > 32
    flat = slope_of([(frame, int(1e8 + n)) for frame, n in zip(frames, noise, strict=True)])
    assert flat.lowest < 0 < flat.highest < 16
    assert slope_of([(frame, 10) for frame in frames]).highest == 0


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(DataError, match="9 samples"):
        slope_of([(frame, 1) for frame in range(9)])


def test_this_process_has_memory() -> None:
    before = held_bytes()
    held = np.ones(8_000_000)
    assert held_bytes() - before > 0.5 * held.nbytes
