"""A run of the benchmark in sentences, for the terminal and the page."""

from dtgd_edge.benchmarks.baseline import Change, Comparison
from dtgd_edge.benchmarks.machine import Machine
from dtgd_edge.benchmarks.pace import Takt
from dtgd_edge.benchmarks.timing import LOOP, NO_CORE, TOTAL, Measurement
from dtgd_edge.benchmarks.timings import Timings
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.promise import percent_up

_BUSY = 0.05


def timings_words(timings: Timings) -> list[str]:
    """Whether each bundle holds the takt, how they compare, and what the loop itself costs."""
    said = []
    (first, _), *others = timings.of_bundles
    for path, measured in timings.of_bundles:
        if measured.takt is not None:
            said.append(f"{path} at {timings.pace}: {takt_words(measured.takt)}")
    for path, measured in others:
        said.append(f"{path} scores {measured.speed:.2f} times as fast as {first}")
    loop = timings.measurements[-1]
    said.append(
        f"without a session the line judges {loop.frames_per_s:.0f} frames a second at most; all but the "
        f"score takes {loop.stages_ms[LOOP].p99:.2f} ms in 99 of 100 frames"
    )
    busy = {path: busy_words(measured) for path, measured in timings.of_bundles}
    return said + [f"{path}: {words}" for path, words in busy.items() if words]


def busy_words(measured: Measurement) -> str:
    """A warning if other programs had the cores in the median frame; "" if not."""
    stages = measured.stages_ms
    waited_ms, total_ms = (stages[stage].p50 if stage in stages else None for stage in (NO_CORE, TOTAL))
    if not waited_ms or not total_ms or waited_ms < _BUSY * total_ms:
        return ""
    return (
        f"other programs were busy: {waited_ms:.1f} of the median frame's {total_ms:.1f} ms went by waiting "
        "for a core; repeat it when nothing else runs"
    )


def stage_rows(measured: Measurement) -> dict[str, Percentiles]:
    """Percentiles of each stage, by its name; with idle gaps those of a stage below each other."""
    if not measured.after_gaps:
        return measured.stages_ms
    return {
        f"{stage} after {after.gap_ms:g} ms": after.stages_ms[stage]
        for stage in measured.stages_ms
        for after in measured.after_gaps
    }


def takt_words(takt: Takt) -> str:
    """How many verdicts were late, and how far the others are from it."""
    shares = [f"{takt.missed_rate:.1%}"] if takt.missed else []
    if takt.missed < takt.parts:
        shares.append(f"with 95% confidence at most {percent_up(takt.missed_rate_at_most)}")
    distance = f"{abs(takt.margin_ms):.1f} ms {'before' if takt.margin_ms >= 0 else 'after'}"
    return (
        f"{takt.missed} of {takt.parts} verdicts late ({', '.join(shares)}); the 99th percentile comes "
        f"{distance} the next part is due"
    )


def machine_words(machine: Machine) -> dict[str, str]:
    """The fingerprint, by name; what is not known is not there."""
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    known = {
        "Processor": f"{machine.cpu}, {cores}, {machine.memory_mib} MiB",
        "Board": machine.board,
        "GPU": ", ".join(machine.gpus),
        "Power mode": machine.power_mode,
        "Sensors": ", ".join(map(str, machine.sensors)),
        "Load": "" if machine.load is None else f"{machine.load}",
        "System": f"{machine.system}, Python {machine.python}",
        "Versions": ", ".join(f"{name} {version}" for name, version in machine.packages.items()),
    }
    return {name: text for name, text in known.items() if text}


def comparison_words(comparison: Comparison) -> list[str]:
    """Whether anything is slower than the baseline, and which versions differ."""
    slower = [_growth(change) for change in comparison.changes if change.is_slower]
    faster = [_growth(change) for change in comparison.changes if change.is_faster]
    said = [f"slower than the baseline, beyond chance: {', '.join(slower)}"] if slower else []
    said += [f"faster than the baseline, beyond chance: {', '.join(faster)}"] if faster else []
    if not slower and not faster:
        said.append("no stage differs from the baseline by more than chance explains")
    said += [
        f"{name} was {then or 'absent'} and is {now or 'absent'}"
        for name, (then, now) in comparison.versions.items()
    ]
    return said


def stage_name(change: Change) -> str:
    """The stage, and the idle gap where there are several."""
    return change.stage + ("" if change.gap_ms is None else f" after {change.gap_ms:g} ms")


def _growth(change: Change) -> str:
    """A stage and what became of it: "score +12%"."""
    if not change.then_ms:
        return f"{stage_name(change)} {change.now_ms:.2f} ms"
    return f"{stage_name(change)} {change.now_ms / change.then_ms - 1:+.0%}"
