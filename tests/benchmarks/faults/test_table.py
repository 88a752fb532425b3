"""The fault table: when a row falls short, and who says which frames could be judged."""

import time

import numpy as np
import pytest

from dtgd_edge.benchmarks.faults.rig import parts
from dtgd_edge.benchmarks.faults.row import Fault, Row, try_all
from dtgd_edge.benchmarks.faults.suite import injections, run_faults
from dtgd_edge.benchmarks.faults.watch import Watch
from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

FAULT = Fault("the cable is cut", "with scissors", "NO_DECISION")


def test_a_row_falls_short_by_what_is_missing_and_by_one_wrong_ok() -> None:
    said: list[str] = []
    table = try_all(
        [
            lambda: FAULT.row(3, "3 cut", 0, [1.0, 2.0], ()),
            lambda: FAULT.row(3, "3 cut", 1, [1.0], ()),
            lambda: FAULT.row(3, "2 cut", 0, [], ("one was not noticed",)),
            lambda: FAULT.skipped("no scissors"),
            lambda: FAULT.died("Traceback"),
        ],
        said.append,
    )
    assert [row.is_met for row in table.rows] == [True, False, False, False, False]
    assert len(table.fell_short) == 3 and len(said) == 5
    text = table.text()
    assert "FELL SHORT, the cable is cut: one was not noticed" in text
    assert "NOT TRIED, the cable is cut: no scissors" in text
    assert "1 of 5 rows as expected" in text
    assert table.record()["rows"][0]["recovery_ms"]["max"] == 2.0


def test_names_of_faults() -> None:
    assert {"unplugged", "black", "frozen", "corrupt", "disk", "kill", "clock", "session"} <= set(
        injections()
    )
    with pytest.raises(ConfigError, match=r"fault 'cable' is not known; expected some of unplugged"):
        run_faults(["cable"])


def test_rows_of_a_line_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtgd_edge.benchmarks.faults.inside.HICCUPS", 3)
    monkeypatch.setattr("dtgd_edge.benchmarks.faults.inside.LOSSES", 2)
    row: Row = run_faults(["session"]).rows[0]
    assert row.is_met, row
    assert row.times == row.recovery_ms.count == 5


@pytest.fixture
def watch() -> Watch:
    return Watch(parts()[:2], repeats=3, oldest_ms=500.0)


def ok(watch: Watch, image: np.ndarray | None, age_ms: float = 0.0) -> int:
    """Wrong OK verdicts after one more OK."""
    fault = "lost frame: gone" if image is None else None
    frame = Frame(image, 0, time.monotonic_ns() - round(age_ms * 1e6), fault=fault)
    watch.write(Verdict(Decision.OK, 0, 1.0, 0.0), frame)
    return watch.wrong_ok


def test_only_whole_fresh_pictures_of_the_right_kind_could_be_judged(watch: Watch) -> None:
    good, other = parts()[:2]
    noisy = np.clip(good.astype(int) + np.random.default_rng(0).integers(-4, 5, good.shape), 0, 255)
    for image in (good, other, noisy.astype(np.uint8), good, good):
        assert ok(watch, image) == 0
    half = good.copy()
    half[len(half) // 2 :] = 128
    bad = (good[..., ::-1], good[:-32], np.zeros_like(good), half, None)
    for count, image in enumerate(bad, 1):
        assert ok(watch, image) == count
    assert ok(watch, other, age_ms=600.0) == 6


def test_the_third_equal_frame_is_frozen(watch: Watch) -> None:
    good = parts()[0]
    assert [ok(watch, good) for _ in range(4)] == [0, 0, 1, 2]


def test_waiting_for_a_verdict(watch: Watch) -> None:
    begun_ns = time.monotonic_ns()
    assert watch.wait_judged(begun_ns, 0.01) is None
    ok(watch, parts()[0])
    seen = watch.wait_judged(begun_ns, 1.0)
    assert seen is not None and seen.decision is Decision.OK and watch.judged == 1
    assert watch.wait_judged(seen.at_ns + 1, 0.01) is None
