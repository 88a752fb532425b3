"""A faint score must stay, a high one need not."""

import numpy as np
import pytest

from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.hysteresis import Hysteresis
from dtgd_edge.runtime.policy import HysteresisConfig, PolicyConfig, VoteConfig


def ng(frames: int, scores: str) -> str:
    """Scores as letters: . below, l above, h far above the threshold; N and . as the answer."""
    hysteresis = Hysteresis(HysteresisConfig(1.5, frames))
    return "".join(".N"[hysteresis.is_ng(score != ".", score == "h")] for score in scores)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ("....", "...."),
        (".h..", ".N.."),
        ("ll.ll.", "......"),
        ("lll.", "..N."),
        ("llll.l", "..NN.."),
        ("hll.l", "NNN.."),
    ],
)
def test_at_once_after_a_while_and_until_it_falls(scores: str, expected: str) -> None:
    assert ng(3, scores) == expected


def test_one_frame_is_no_hysteresis() -> None:
    scores = "".join(np.random.default_rng(0).choice(list(".lh"), 200))
    assert ng(1, scores) == scores.replace("l", "N").replace("h", "N")


@pytest.mark.parametrize("keys", [{"at_once_factor": 0.9}, {"at_once_factor": float("nan")}, {"frames": 0}])
def test_impossible(keys: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="hysteresis"):
        HysteresisConfig(**keys)  # type: ignore[arg-type]


def test_not_together_with_a_vote() -> None:
    with pytest.raises(ConfigError, match="remove one"):
        PolicyConfig(vote=VoteConfig(2), hysteresis=HysteresisConfig())
