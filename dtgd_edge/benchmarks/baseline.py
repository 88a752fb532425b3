"""Compare a run of the benchmark with an earlier one: is anything slower than chance can explain?

Medians are compared, stage by stage. Every run says itself how far its medians wander: its times, in their
order, are cut into ten blocks, and the standard deviation of the blocks' medians is what a change of load or
of clocks does to a median within that run. A stage is slower if its median grew by more than three times
what both runs' wandering makes of a difference, and by more than a floor besides; and on top of it by more
than other programs can have added, which is what the median frames of both runs waited for a core.
"""

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dtgd_edge.benchmarks.machine import Machine
from dtgd_edge.benchmarks.pace import Pace
from dtgd_edge.benchmarks.timing import NO_CORE, Measurement
from dtgd_edge.benchmarks.timings import Timings
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import DataError
from dtgd_edge.percentiles import Percentiles

BLOCKS = 10
FEWEST = 5 * BLOCKS
TIMES = 3.0
# What two runs of the same differ by although neither wanders: other addresses in memory, and the clock's
# grain.
FLOOR_SHARE = 0.05
FLOOR_MS = 0.02


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one stage's median.

    Attributes:
        bundle: path, as it was given now.
        gap_ms: the idle gap before the frames; None without gaps.
        stage: its name.
        then_ms, now_ms: medians.
        noise_ms: a difference up to this may be chance.
    """

    bundle: str
    gap_ms: float | None
    stage: str
    then_ms: float
    now_ms: float
    noise_ms: float

    @property
    def is_slower(self) -> bool:
        """A regression: slower than chance can explain."""
        return self.now_ms - self.then_ms > self.noise_ms

    @property
    def is_faster(self) -> bool:
        """Faster than chance can explain."""
        return self.then_ms - self.now_ms > self.noise_ms


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run beside its baseline.

    Attributes:
        changes: of every stage of every bundle.
        versions: libraries and drivers that are not the baseline's: name to (then, now); "" for none.
    """

    changes: tuple[Change, ...]
    versions: dict[str, tuple[str, str]]

    @property
    def is_slower(self) -> bool:
        """Whether any stage is."""
        return any(change.is_slower for change in self.changes)

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        changes = [
            {**mapping_from_record(change), "is_slower": change.is_slower, "is_faster": change.is_faster}
            for change in self.changes
        ]
        return {"is_slower": self.is_slower, "changes": changes, "versions": self.versions}


def require_comparable(
    then: Timings,
    origin: str,
    *,
    graphs: Mapping[str, str],
    machine: Machine,
    frame_hw: tuple[int, int],
    threads: int | None,
    pace: Pace,
) -> None:
    """Refuse a baseline that a run cannot be compared with; before the run, if possible.

    Args:
        then: the baseline.
        origin: its file, for errors.
        graphs: SHA-256 of the graph of each bundle of the run, by path.
        machine, frame_hw, threads, pace: of the run.

    Raises:
        DataError: other machine, graph, frames, threads or pace.
    """
    known = {measured.graph_sha256 for _, measured in then.of_bundles}
    for path, graph in graphs.items():
        if graph not in known:
            there = ", ".join(bundle.path for bundle in then.bundles)
            raise DataError(
                f"{origin} was measured with other graphs ({there}) than the one in {path}; expected the "
                "same graph; measure a baseline of it with --out"
            )
    first = then.measurements[0]
    before = _conditions(first.machine, first.frame_hw, then.threads, then.pace)
    here = _conditions(machine, frame_hw, threads, pace)
    others = [
        f"{name} {before[name]!r} there, {here[name]!r} here" for name in here if here[name] != before[name]
    ]
    if others:
        raise DataError(
            f"{origin} was measured under other conditions ({'; '.join(others)}); expected the same, "
            "without which times prove nothing; measure a baseline here with --out"
        )


def compare(now: Timings, then: Timings, origin: str) -> Comparison:
    """Compare a run with its baseline.

    Args:
        now: the run.
        then: the baseline.
        origin: the baseline's file, for errors.

    Raises:
        DataError: as require_comparable, another backend, or too few frames to tell.
    """
    first = now.measurements[0]
    require_comparable(
        then,
        origin,
        graphs={path: measured.graph_sha256 for path, measured in now.of_bundles},
        machine=first.machine,
        frame_hw=first.frame_hw,
        threads=now.threads,
        pace=now.pace,
    )
    changes: list[Change] = []
    for path, measured in now.of_bundles:
        changes += _changes(path, measured, _same(measured, then, origin))
    return Comparison(tuple(changes), _versions(then.measurements[0].machine, first.machine))


def _conditions(
    machine: Machine, frame_hw: tuple[int, int], threads: int | None, pace: Pace
) -> dict[str, str]:
    return {
        **machine.identity(),
        "frames": f"{frame_hw[1]}x{frame_hw[0]}",
        "threads": str(threads or "all"),
        "pace": str(pace),
    }


def _same(measured: Measurement, then: Timings, origin: str) -> Measurement:
    """The baseline's measurement of the same graph by the same backend."""
    found = [other for _, other in then.of_bundles if other.graph_sha256 == measured.graph_sha256]
    for other in found:
        if other.backend == measured.backend:
            return other
    raise DataError(
        f"{origin} was measured with backend {found[0].backend!r}; expected {measured.backend!r}, as here; "
        "choose the same with --backend, or measure a baseline here with --out"
    )


def _versions(then: Machine, now: Machine) -> dict[str, tuple[str, str]]:
    before, here = ({"Python": m.python, "system": m.system, **m.packages} for m in (then, now))
    names = [name for name in before | here if before.get(name) != here.get(name)]
    return {name: (before.get(name, ""), here.get(name, "")) for name in names}


def _changes(path: str, now: Measurement, then: Measurement) -> Iterator[Change]:
    before = then.samples_by_gap()
    for gap, samples in now.samples_by_gap().items():
        taken = sum(_median(each[NO_CORE]) for each in (before[gap], samples) if NO_CORE in each)
        for stage, own in samples.items():
            if stage == NO_CORE:
                continue
            other = before[gap].get(stage, ())
            fewest = min(len(own), len(other))
            if fewest < FEWEST:
                raise DataError(
                    f"stage {stage!r} was timed {fewest} times"
                    + ("" if gap is None else f" after {gap:g} ms")
                    + f"; expected at least {FEWEST}, to tell a change from chance; raise --frames"
                )
            medians = _median(other), _median(own)
            noise = TIMES * math.hypot(_wandering(other), _wandering(own))
            floor = max(FLOOR_SHARE * medians[0], FLOOR_MS)
            # A load that stays the same makes a run slower without wandering.
            yield Change(path, gap, stage, *medians, noise_ms=max(noise, floor) + taken)


def _wandering(samples: Sequence[float]) -> float:
    """Standard deviation of the medians of ten blocks of the samples, in their order."""
    edges = [len(samples) * index // BLOCKS for index in range(BLOCKS + 1)]
    return statistics.stdev(_median(samples[start:end]) for start, end in itertools.pairwise(edges))


def _median(samples: Sequence[float]) -> float:
    median = Percentiles.of(samples).p50
    assert median is not None, "samples"
    return median
