"""Measure what candidates take: those that answer the question first, none that clearly cannot hold."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from dtgd_edge.benchmarks.pictures import bench_pictures
from dtgd_edge.benchmarks.takt import Candidate, Requirement, Timing, rows, timing_of
from dtgd_edge.benchmarks.takt_store import FILE, TimingStore
from dtgd_edge.benchmarks.timing import LOOP, TOTAL, measure
from dtgd_edge.bundle import Bundle
from dtgd_edge.geometry import size_text
from dtgd_edge.runtime.choice import choose_backend
from dtgd_edge.runtime.plans import PlanCache
from dtgd_edge.runtime.session import SESSIONS, open_session

FRAMES, FEWEST_FRAMES, WARM_UP = 30, 8, 3
SUBJECT_S = 8.0  # for the counted frames of one candidate, about
HOPELESS = 2.0  # a guess may be wrong, but not by this factor
Make = Callable[[Sequence[Candidate]], Mapping[Candidate, Bundle]]


def measured(
    requirement: Requirement,
    candidates: Sequence[Candidate],
    make: Make,
    store: TimingStore,
    *,
    backend: str = "auto",
    threads: int | None = None,
    frames: int = FRAMES,
    budget_s: float = 90.0,
    say: Callable[[str], None] = lambda text: None,
) -> list[Timing]:
    """Measure candidates until the budget is spent.

    What the store has is not measured again, but counts against the budget with the seconds that it took: the
    same call gives the same rows, at once, and one with a larger budget goes on.

    The smallest graph goes first, because the others are guessed from it; then those that see the smallest
    defect, coarse to fine; then what is too coarse, fine to coarse, to know what could be seen in time. A
    candidate whose guessed median is more than HOPELESS times the available time is not measured.

    Args:
        requirement: decides the order, and what is hopeless.
        candidates: all that may be measured.
        make: graphs of candidates that differ in precision only.
        store: receives what was measured.
        backend, threads: as open_session takes them.
        frames: counted per candidate, at most; fewer of slow ones.
        budget_s: no measurement begins later; the smallest graph is always measured.
        say: is told what is being done.

    Raises:
        BackendError: a graph cannot be made, opened or timed, or the store's disk refused.
    """
    known = [kept for candidate in candidates if (kept := store[candidate]) is not None]
    timings = [kept.timing for kept in known]
    spent_s = sum(kept.seconds for kept in known)
    if known:
        say(f"{len(known)} times were measured here before ({FILE}; --fresh measures again)")
    for group in _ordered(requirement, candidates):
        wanted = [c for c in group if store[c] is None and _is_promising(requirement, c, timings)]
        if not wanted:
            continue
        began = time.monotonic()
        if spent_s >= budget_s and all(timing_of(candidate, timings) is not None for candidate in wanted):
            say(f"the {budget_s:g} s for measuring are spent; other sizes are guessed (--budget allows more)")
            break
        say(f"making and timing {_text(wanted)} ({spent_s:.0f} of {budget_s:g} s spent)")
        pairs = [(candidate, bundle) for candidate, bundle in make(wanted).items()]
        with _engines(pairs, backend, say):
            guesses = [guess.p50_ms for c in wanted if (guess := timing_of(c, timings)) is not None]
            counted = frames_within(max(guesses, default=0.0), frames)
            found = time_bundles(
                pairs, requirement.frame_hw, backend=backend, threads=threads, frames=counted
            )
        seconds = time.monotonic() - began
        for timing in found:
            store.keep(timing, seconds / len(found))
        timings += found
        spent_s += seconds
    return timings


def time_bundles(
    pairs: Sequence[tuple[Candidate, Bundle]],
    frame_hw: tuple[int, int],
    *,
    backend: str = "auto",
    threads: int | None = None,
    frames: int = FRAMES,
) -> list[Timing]:
    """Time bundles as the line uses them, on the same camera frames in turn.

    Raises:
        BackendError: as measure.
    """
    found = measure(
        [(bundle, backend) for _, bundle in pairs],
        bench_pictures(pairs[0][1], frame_hw),
        frames=frames,
        warm_up=WARM_UP,
        threads=threads,
    )
    timings = []
    for (candidate, _), measurement in zip(pairs, found, strict=True):
        total, loop = (measurement.stages_ms[stage] for stage in (TOTAL, LOOP))
        assert total.p50 is not None and total.p99 is not None and loop.p50 is not None, "frames were counted"
        timings.append(Timing(candidate, total.p50, total.p99, loop.p50, total.count, measurement.device))
    return timings


def frames_within(guess_ms: float, most: int = FRAMES) -> int:
    """How many frames to count, if one takes so long."""
    if guess_ms <= 0:
        return most
    return min(most, max(FEWEST_FRAMES, int(SUBJECT_S * 1e3 / guess_ms)))


def _ordered(requirement: Requirement, candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates that differ in precision only, put together, in the order of `measured`."""
    groups: dict[tuple[str, object], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.graph, candidate.geometry), []).append(candidate)
    ascending = sorted(groups.values(), key=lambda group: group[0].work_px)
    first: dict[str, list[Candidate]] = {}
    for group in ascending:
        first.setdefault(group[0].graph, group)
    rest = [group for group in ascending if group not in first.values()]
    seen = {id(group): _sees(requirement, group[0]) for group in rest}
    seeing = [group for group in rest if seen[id(group)]]
    coarse = [group for group in rest if not seen[id(group)]]
    return [*first.values(), *seeing, *reversed(coarse)]


def _sees(requirement: Requirement, candidate: Candidate) -> bool:
    return rows(requirement, [candidate], [Timing(candidate, 0.0, 0.0, 0.0, 1, "")])[0].sees


def _is_promising(requirement: Requirement, candidate: Candidate, timings: Sequence[Timing]) -> bool:
    guess = timing_of(candidate, timings)
    return guess is None or guess.p50_ms <= HOPELESS * requirement.available_ms


def _text(group: Sequence[Candidate]) -> str:
    geometry = group[0].geometry
    tiles = "" if geometry.tiles == (1, 1) else f" in {geometry.tiles[0]}x{geometry.tiles[1]} tiles"
    return f"{group[0].graph} {size_text(geometry.size_hw)}{tiles}, {', '.join(c.precision for c in group)}"


@contextlib.contextmanager
def _engines(
    pairs: Sequence[tuple[Candidate, Bundle]], backend: str, say: Callable[[str], None]
) -> Iterator[None]:
    """Build the engines that a backend runs, and throw them away afterwards: nobody will run these graphs."""
    cache, built = PlanCache(), set()
    try:
        for _, bundle in pairs:
            chosen = choose_backend(bundle.manifest).backend if backend == "auto" else backend
            if chosen in SESSIONS and SESSIONS[chosen].has_plans:
                built.add(bundle.manifest.graph_sha256)
                open_session(bundle, chosen, build=True, say=say).close()
        yield
    finally:
        for record in [*cache.records()] if built else ():
            if record.key.graph_sha256 in built:
                cache.discard(record.key)
