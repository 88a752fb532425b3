"""`--precision auto`: the fastest whose verdicts hold is kept, and the others are said why not."""

from pathlib import Path

import pytest

from dtgd_edge.bundle import Bundle, Precision
from dtgd_edge.errors import ParityError
from dtgd_edge.export.auto import export_fastest, fastest, interleaved
from dtgd_edge.export.pipeline import Exported, Exporter
from dtgd_edge.percentiles import Percentiles

Bundles = dict[Precision, Exported]


def _times(**ms: float) -> dict[Precision, Percentiles]:
    return {p: Percentiles.of([value]) for p, value in ms.items()}  # type: ignore[misc]


class _Ready:
    """Stands in for an Exporter: its bundles are made already; some are refused."""

    name = "pretend"

    def __init__(self, bundles: Bundles, *refused: str) -> None:
        self._bundles = bundles
        self._refused = refused

    def export(self, precision: Precision, out: Path) -> Exported:
        if precision in self._refused:
            raise ParityError("3 of 128 verdicts differ")
        bundle = self._bundles[precision].bundle
        bundle.save(out)
        return Exported(bundle, out)


@pytest.mark.parametrize(
    ("times", "winner"),
    [
        (_times(fp32=40.0, fp16=41.0, int8=15.0), "int8"),
        (_times(fp32=40.0, fp16=39.0, int8=38.5), "fp32"),  # gains below 5 % do not pay
        (_times(fp32=40.0, fp16=20.0, int8=19.5), "fp16"),
        (_times(fp16=20.0, int8=30.0), "fp16"),
    ],
)
def test_a_coarser_precision_must_pay(times: dict[Precision, Percentiles], winner: str) -> None:
    assert fastest(times) == winner


@pytest.mark.parametrize("keep_all", [False, True])
def test_the_fastest_is_kept(tiny_bundles: Bundles, tmp_path: Path, keep_all: bool) -> None:
    exporter: Exporter = _Ready(tiny_bundles)  # type: ignore[assignment]
    measured = lambda bundles: _times(fp32=40.0, fp16=41.0, int8=15.0)  # noqa: E731
    contenders = export_fastest(exporter, None, tmp_path, keep_all, measured)
    assert [c.is_kept for c in contenders] == [False, False, True]
    assert (
        contenders[1].reason.startswith("fp16: 41.0 ms")
        and "2.7 times the time of int8" in contenders[1].reason
    )
    names = {path.name for path in (tmp_path / "bundles").iterdir()}
    every = {f"pretend-{p}.dtgd" for p in ("fp32", "fp16", "int8")}
    assert names == (every if keep_all else {"pretend-int8.dtgd"})
    assert Bundle.open(tmp_path / "bundles" / "pretend-int8.dtgd").manifest.precision == "int8"


def test_a_refused_precision_says_why_and_earlier_bundles_stay(tiny_bundles: Bundles, tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    earlier = tmp_path / "bundles" / "pretend-fp16.dtgd"
    earlier.write_bytes(b"from before")
    exporter: Exporter = _Ready(tiny_bundles, "int8")  # type: ignore[assignment]
    contenders = export_fastest(
        exporter, tmp_path / "bundles" / "mine.dtgd", measure=lambda b: _times(fp32=40.0, fp16=41.0)
    )
    assert contenders[2].reason == "int8: refused: 3 of 128 verdicts differ"
    assert "no faster than fp32 here" in contenders[1].reason
    assert earlier.read_bytes() == b"from before"
    assert sorted(p.name for p in earlier.parent.iterdir()) == ["mine.dtgd", "pretend-fp16.dtgd"]


def test_when_nothing_holds_nothing_is_written(tiny_bundles: Bundles, tmp_path: Path) -> None:
    exporter: Exporter = _Ready(tiny_bundles, "fp32", "fp16", "int8")  # type: ignore[assignment]
    with pytest.raises(ParityError):
        export_fastest(exporter, None, tmp_path)
    assert list((tmp_path / "bundles").iterdir()) == []


def test_sessions_are_timed_in_turn(tiny_bundles: Bundles) -> None:
    times = interleaved({p: e.bundle for p, e in tiny_bundles.items()})
    assert {t.count for t in times.values()} == {40}
    assert all(t.p50 is not None and 0 < t.p50 <= (t.p95 or 0) for t in times.values())
