"""The process whose wall clock is stepped: `python -m dtgd_edge.benchmarks.faults.stepped FOLDER`."""

import os
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from dtgd_edge.benchmarks.faults.rig import PacedSource, line_config, parts, running, write_bundle
from dtgd_edge.benchmarks.faults.row import Shortfalls
from dtgd_edge.benchmarks.faults.watch import Watch
from dtgd_edge.runtime.records.audit import AuditConfig
from dtgd_edge.runtime.records.log import AuditLog
from dtgd_edge.runtime.records.proof import prove

DAY_S = 86_400
STEPS_S = (DAY_S, -2 * DAY_S, -54 * 365 * DAY_S, 0)
_LONGEST_GAP_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Stepped:
    """What the process saw."""

    steps: int
    verdicts: int
    longest_gap_ms: float
    recovery_ms: tuple[float, ...]
    wrong_ok: int
    shortfalls: tuple[str, ...]


def run_stepped(folder: Path) -> Stepped:
    """Run a line and step its clock, which the preloaded shim reads from a file."""
    pictures = parts()
    write_bundle(folder / "grey.dtgd", pictures)
    watch, audit = Watch(pictures), AuditConfig(path=str(folder / "audit.db"))
    config = line_config(audit=audit)
    step, recovery_ms = Path(os.environ["DTGD_CLOCK_STEP"]), []
    short = Shortfalls()
    with running(config, folder / "grey.dtgd", PacedSource(pictures, 100), watch) as run:
        watch.wait_judged(0, 20)
        for seconds in STEPS_S:
            before = time.time()
            step.write_text(str(seconds))
            stepped_ns = time.monotonic_ns()
            short = short.unless(abs(time.time() - before) > 1000, "the clock did not step")
            back = watch.wait_judged(stepped_ns, 10)
            short = short.unless(back is not None, f"no verdict after a step of {seconds} s")
            if back is not None:
                recovery_ms.append((back.at_ns - stepped_ns) / 1e6)
            time.sleep(0.3)
        short = short.unless(run.is_running, f"the run ended: {run.error}")
    seen = watch.seen
    gap_ms = max((b.at_ns - a.at_ns) / 1e6 for a, b in pairwise(seen))
    proof = prove(folder / "audit.db")
    with AuditLog(folder / "audit.db") as log:
        frames = [row.frame for row in log.rows() if row.kind == "verdict"]
    short = short.unless(proof.holds, f"the audit log does not hold: {proof.fault}")
    short = short.unless(frames == [s.index for s in seen], "the audit log is not in the frames' order")
    short = short.unless(gap_ms < _LONGEST_GAP_MS, f"{gap_ms:.0f} ms without a verdict")
    stale = watch.reasons()["stale"]
    short = short.unless(not stale, f"{stale} frames were taken for stale")
    return Stepped(len(STEPS_S), len(seen), gap_ms, tuple(recovery_ms), watch.wrong_ok, short.texts)


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(run_stepped(Path(sys.argv[1]))).decode())
