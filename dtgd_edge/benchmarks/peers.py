"""Our bundles and other programs' graphs in one run, on the same threads, and their distance to the limit."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dtgd_edge.benchmarks.breakdown import breakdown, nodes_on_gpu
from dtgd_edge.benchmarks.comparison import Comparison, Peak, Row
from dtgd_edge.benchmarks.contestant import (
    CUDA,
    LEFT_ALONE,
    ON_GPU,
    OPENVINO,
    ORT,
    RUNTIMES,
    Contestant,
    Opened,
    device_of,
    interleaved,
    open_contestant,
)
from dtgd_edge.benchmarks.machine import PACKAGES, this_machine
from dtgd_edge.benchmarks.roofline import roofline, weights_limits
from dtgd_edge.benchmarks.tables import Outcome, lines_from_outcomes
from dtgd_edge.benchmarks.timing import Ratio
from dtgd_edge.errors import BackendError, BackendUnavailable, ConfigError
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.cuda_driver import driver_fault
from dtgd_edge.runtime.session import usable_cores

Milliseconds = Sequence[float]
Timed = Sequence[tuple[Opened, Milliseconds]]
_Arithmetic = tuple[str, str]  # device and name


def compare(
    contestants: Sequence[Contestant],
    reference: str,
    *,
    frames: int = 40,
    warm_up: int = 5,
    threads: int | None = None,
    accuracy: Sequence[Outcome] = (),
    left_out: Mapping[str, str] = {},
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Time every contestant in every runtime, one frame each in turn, then profile them in ONNX Runtime.

    What a runtime refuses, and a runtime that is not installed, is left out and named; of the GPU's runtime
    nothing is said where no NVIDIA GPU answers.

    Args:
        contestants: bundles, peers and ideal graphs; names of bundles and peers are unique.
        reference: name of the one that ratios are relative to.
        frames: counted calls of each.
        warm_up: calls of each before that.
        threads: as open_session takes them.
        accuracy: outcomes of methods called as the contestants.
        left_out: what could not become a contestant, and why.
        command: what the user typed, for the record.
        say: is told what is being done.
        progress: called with the number of rounds done and of all.

    Raises:
        ConfigError: no such reference, a name that stands twice, or a result that does.
        BackendError: a graph fails while it is timed.
    """
    names = [c.name for c in contestants if c.is_measured]
    _check_names(names, reference)
    threads = threads or usable_cores()
    lines = [line for line in lines_from_outcomes(accuracy) if line.method in names]
    for method in dict.fromkeys(outcome.method for outcome in accuracy):
        if method not in names:
            say(f"note: accuracy of {method!r} belongs to none of {', '.join(names)}")
    missing = dict(left_out)
    runtimes = [runtime for runtime in RUNTIMES if runtime not in ON_GPU or not driver_fault()]
    with contextlib.ExitStack() as stack:
        opened = []
        for contestant in contestants:
            for each in _opened(contestant, runtimes, threads, missing):
                stack.callback(each.close)
                opened.append(each)
        say(f"timing {len(opened)} graphs, {frames} frames each in turn after {warm_up} to warm up")
        samples = interleaved(opened, frames, warm_up, progress)
        if len(samples[0]) < frames:
            say(f"stopped after {len(samples[0])} of {frames} frames")
    timed = list(zip(opened, samples, strict=True))
    say("profiling in ONNX Runtime")
    profiled = [each.contestant for each, _ in timed if each.runtime == ORT and each.contestant.is_measured]
    on_gpu = [each.contestant for each, _ in timed if each.runtime == CUDA and each.contestant.is_measured]
    peaks = _fastest(timed)
    macs_ms = {(each.contestant.name, each.runtime): _median(_macs_limits(each, peaks)) for each, _ in timed}
    has_openvino = any(each.runtime == OPENVINO for each in opened)
    return Comparison(
        reference=reference,
        rows=tuple(_rows(timed, reference)),
        peaks=tuple(_peaks(timed)),
        breakdowns=tuple(breakdown(contestant, threads) for contestant in profiled),
        roofline=roofline(timed, macs_ms, {each.name: nodes_on_gpu(each, threads) for each in on_gpu}),
        accuracy=tuple(lines),
        left_out=missing,
        frames=len(samples[0]),
        warm_up=warm_up,
        threads=threads,
        machine=this_machine((*PACKAGES, "openvino") if has_openvino else PACKAGES),
        command=command,
    )


def _check_names(names: Sequence[str], reference: str) -> None:
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(
            f"two graphs are called {twice.pop()!r}; expected different names; give a bundle one as NAME=PATH"
        )
    if reference not in names:
        raise ConfigError(
            f"the reference {reference!r} is not there; expected one of {', '.join(names)}; choose one"
        )


def _opened(
    contestant: Contestant, runtimes: Sequence[str], threads: int, missing: dict[str, str]
) -> list[Opened]:
    """A contestant in every runtime; what cannot be opened goes to `missing`."""
    found: list[Opened] = []
    for runtime in runtimes:
        if contestant.device not in (None, device_of(runtime)):
            continue
        if runtime in LEFT_ALONE and (
            contestant.kind not in ("peer", "ideal") or contestant.precision != "fp32"
        ):
            continue  # the line never leaves it alone, and other arithmetic is what it is
        try:
            each = open_contestant(contestant, runtime, threads)
        except BackendUnavailable as exc:
            missing[RUNTIMES[runtime]] = str(exc)
        except BackendError as exc:
            missing[f"{contestant.name} in {RUNTIMES[runtime]}"] = str(exc)
        else:
            if runtime not in LEFT_ALONE or each.floats != "fp32":
                found.append(each)
    return found


def _rows(timed: Timed, reference: str) -> list[Row]:
    references = {each.runtime: times for each, times in timed if each.contestant.name == reference}
    peaks = _fastest(timed)
    rows = []
    for each, times in sorted(timed, key=lambda pair: [*RUNTIMES].index(pair[0].runtime)):
        contestant = each.contestant
        if not contestant.is_measured:
            continue
        beside = references.get(LEFT_ALONE.get(each.runtime, each.runtime))
        limits = _limits(each, peaks, timed)
        rows.append(
            Row(
                name=contestant.name,
                kind=contestant.kind,
                precision=each.precision,
                runtime=each.runtime,
                ms=Percentiles.of(times),
                speed=None if beside is None else Ratio.of(beside, times),
                float_macs=contestant.float_macs,
                integer_macs=contestant.integer_macs,
                size_bytes=contestant.size_bytes,
                limit_ms=_median(limits),
                above_limit=None if limits is None else Ratio.of(times, limits),
            )
        )
    return rows


def _limits(
    each: Opened, peaks: Mapping[_Arithmetic, tuple[Opened, Milliseconds]], timed: Timed
) -> Milliseconds | None:
    """Milliseconds that a contestant takes at least, round by round: on a GPU its weights are read, too."""
    limits = _macs_limits(each, peaks)
    weights = weights_limits(each, timed) if each.device == "GPU" else None
    if limits is None or weights is None:
        return limits
    return [float(ms) for ms in np.maximum(limits, weights)]


def _macs_limits(
    each: Opened, peaks: Mapping[_Arithmetic, tuple[Opened, Milliseconds]]
) -> Milliseconds | None:
    """Milliseconds that the contestant's multiplications take at the peaks, round by round."""
    parts = []
    for arithmetic, macs in each.macs.items():
        if not macs:
            continue
        if (each.device, arithmetic) not in peaks:
            return None
        ideal, times = peaks[each.device, arithmetic]
        parts.append(np.multiply(times, macs / _macs(ideal)))
    return [float(ms) for ms in np.sum(parts, axis=0)] if parts else None


def _median(times: Milliseconds | None) -> float | None:
    return None if times is None else float(np.median(times))


def _peaks(timed: Timed) -> list[Peak]:
    limits = [each for each, _ in _fastest(timed).values()]
    found = [
        Peak(
            _arithmetic(each)[1],
            each.runtime,
            each.contestant.name,
            _gmacs_per_s(each, times),
            each in limits,
        )
        for each, times in timed
        if each.contestant.kind == "ideal"
    ]
    return sorted(found, key=lambda peak: -peak.gmacs_per_s)


def _fastest(timed: Timed) -> dict[_Arithmetic, tuple[Opened, Milliseconds]]:
    """The fastest ideal graph by device and arithmetic."""
    found: dict[_Arithmetic, tuple[Opened, Milliseconds]] = {}
    for each, times in timed:
        if each.contestant.kind == "ideal":
            best = found.get(_arithmetic(each))
            if best is None or _gmacs_per_s(*best) < _gmacs_per_s(each, times):
                found[_arithmetic(each)] = each, times
    return found


def _arithmetic(each: Opened) -> _Arithmetic:
    return each.device, next(arithmetic for arithmetic, macs in each.macs.items() if macs)


def _gmacs_per_s(each: Opened, times: Milliseconds) -> float:
    return _macs(each) / float(np.median(times)) / 1e6


def _macs(each: Opened) -> int:
    return each.contestant.float_macs + each.contestant.integer_macs
