"""The search for modules to keep in float: who is blamed, and within which budget."""

import re
from pathlib import Path

import pytest

from dtgd_edge.errors import ParityError
from dtgd_edge.export import parity
from dtgd_edge.export.onnx import onnx_from_graph
from dtgd_edge.export.pipeline import Exporter
from dtgd_edge.export.sensitivity import Suspect, growing_choices, module_shares, ranked, share_of
from dtgd_edge.export.target import LimitsTarget, SensitivityTarget, Target
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.graph import distil

SHARES = {"a": 0.2, "b": 0.3, "c": 0.5}


def test_the_module_whose_rounding_hurts_most_comes_first() -> None:
    errors = {"a": 0.9, "b": 0.4, "c": 0.6}
    assert [s.module for s in ranked(SHARES, errors.__getitem__, 1.0)] == ["b", "c", "a"]
    # One that helps nobody by staying float is no suspect.
    assert [s.module for s in ranked(SHARES, errors.__getitem__, 0.6)] == ["b"]


def test_choices_grow_within_the_budget() -> None:
    suspects = [Suspect("c", 0.5, 0.1), Suspect("b", 0.3, 0.2), Suspect("a", 0.2, 0.3)]
    assert list(growing_choices(suspects, SensitivityTarget(float_share=1.0))) == [
        ("c",),
        ("c", "b"),
        ("c", "b", "a"),
    ]
    # b does not fit beside c any more, a does.
    assert list(growing_choices(suspects, SensitivityTarget(float_share=0.7))) == [("c",), ("c", "a")]
    assert list(growing_choices(suspects, SensitivityTarget(attempts=1, float_share=1.0))) == [("c",)]


def test_shares_cover_the_network(tiny_checkpoint: Path) -> None:
    shares = module_shares(onnx_from_graph(distil(Checkpoint.open(tiny_checkpoint))))
    assert sum(shares.values()) == pytest.approx(1)
    assert {"network.teacher.layer1", "network.student.tnr.0", "network.student.decoder.blocks.0"} <= set(
        shares
    )
    assert 0.1 < share_of(("network.teacher",), shares) < 0.5


def test_lost_verdicts_are_searched_for_and_the_budget_ends_it(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit that nothing meets, the search says what it tries, and then refuses."""
    real = parity.flips_allowed
    monkeypatch.setattr(parity, "flips_allowed", lambda limit, frames: real(limit, frames) if limit else -1)
    said: list[str] = []
    target = Target(
        limits=LimitsTarget(flip_share=0.0), sensitivity=SensitivityTarget(attempts=2, float_share=1.0)
    )
    exporter = Exporter(Checkpoint.open(tiny_checkpoint), said.append, target)
    with pytest.raises(ParityError, match=r"with (network\.|memory).* in float") as caught:
        exporter.export("int8", tmp_path / "part.dtgd")
    assert caught.value.exit_code == 3 and list(tmp_path.iterdir()) == []
    tried = [text for text in said if "keeping" in text]
    assert len(tried) == 2
    assert all(re.search(r"verdicts flip; keeping (network\.\S+|memory) in float", text) for text in tried)


def test_what_stays_float_is_written_down(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once_too_many(limit: float, frames: int) -> int:
        return frames if any("keeping" in text for text in said) else -1

    said: list[str] = []
    monkeypatch.setattr(parity, "flips_allowed", once_too_many)
    exported = Exporter(Checkpoint.open(tiny_checkpoint), said.append).export("int8", tmp_path / "p.dtgd")
    kept = exported.bundle.manifest.float_modules
    assert len(kept) == 1 and f"keeping {kept[0]} in float" in said[-1]
