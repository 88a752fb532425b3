"""Faults inside of the line: the session fails, the queue is full, the wall clock is stepped."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtgd_edge.benchmarks.faults.rig import PacedSource, line_config, parts, running, write_bundle
from dtgd_edge.benchmarks.faults.row import Fault, Row, Shortfalls
from dtgd_edge.benchmarks.faults.stepped import Stepped
from dtgd_edge.benchmarks.faults.watch import Watch
from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.inspector import Inspector, health_gate
from dtgd_edge.runtime.session import Session, SessionSpec, open_session
from dtgd_edge.verdict import Scores

HICCUPS, LOSSES = 50, 20
_WAIT_S = 20.0


class BreakableSession(Session):
    """A real session that fails, or is slow, when it is told to.

    Attributes:
        failures: so many of the next calls fail.
        delay_s: every call takes so much longer.
    """

    failures = 0
    delay_s = 0.0

    def __init__(self, inner: Session) -> None:
        self._inner = inner

    @property
    def spec(self) -> SessionSpec:
        return self._inner.spec

    def score(self, frames: NDArray[np.uint8]) -> Scores:
        if BreakableSession.failures > 0:
            BreakableSession.failures -= 1
            raise BackendError("the device reports an illegal memory access; made to fail on purpose")
        if BreakableSession.delay_s:
            time.sleep(BreakableSession.delay_s)
        return self._inner.score(frames)

    def close(self) -> None:
        self._inner.close()


def _open_breakable(bundle: Bundle) -> Inspector:
    session = BreakableSession(open_session(bundle, "ort", 1))
    return Inspector(session, bundle.manifest, health_gate(bundle.manifest, is_live=True))


def session_fails(folder: Path) -> Row:
    """Single failures, then failures until the session is lost and opened again."""
    pictures = parts()
    write_bundle(folder / "grey.dtgd", pictures)
    watch = Watch(pictures)
    recovery_ms: list[float] = []
    short = Shortfalls()
    source = PacedSource(pictures, 200)
    with running(line_config(), folder / "grey.dtgd", source, watch, open_inspector=_open_breakable) as run:
        watch.wait_judged(0, _WAIT_S)
        for failures in (*[1] * HICCUPS, *[3] * LOSSES):
            begun_ns = time.monotonic_ns()
            BreakableSession.failures = failures
            failed = watch.wait(lambda seen: seen.reason == "session failed", begun_ns, _WAIT_S)
            back = failed and watch.wait_judged(failed.at_ns, _WAIT_S)
            if failed is None or back is None:
                BreakableSession.failures = 0
                short = short.unless(False, f"no judged frame after {failures} failures")
                break
            recovery_ms.append((back.at_ns - failed.at_ns) / 1e6)
        lost, back_again = run.told_of("session lost"), run.told_of("session back")
        short = short.unless(run.is_running, "the run ended")
    refused = watch.reasons()["session failed"]
    short = short.unless(lost == back_again == LOSSES, f"{lost} sessions lost, {back_again} opened again")
    short = short.unless(refused >= HICCUPS + LOSSES, f"{refused} verdicts tell of a failed session")
    return Row(
        fault="session fails in mid-run",
        injected=f"the session raises: {HICCUPS} times once, {LOSSES} times until it is lost",
        times=HICCUPS + LOSSES,
        expected="NO_DECISION with the reason; a lost session is opened again and proven; the run goes on",
        happened=f"{refused} NO_DECISION, {back_again} sessions opened again, {watch.judged} frames judged",
        wrong_ok=watch.wrong_ok,
        recovery_ms=Percentiles.of(recovery_ms),
        shortfalls=short.texts,
    )


def queue_full(folder: Path) -> Row:
    """A camera quicker than the session: the newest frame is judged, the others are counted."""
    pictures = parts()
    write_bundle(folder / "grey.dtgd", pictures)
    watch = Watch(pictures, oldest_ms=500.0)
    recovery_ms: list[float] = []
    source = PacedSource(pictures, 200)
    with running(line_config(), folder / "grey.dtgd", source, watch, open_inspector=_open_breakable) as run:
        watch.wait_judged(0, _WAIT_S)
        for _ in range(5):
            BreakableSession.delay_s = 0.1
            time.sleep(0.8)
            BreakableSession.delay_s = 0.0
            quick_ns = time.monotonic_ns()
            first = watch.wait_judged(quick_ns, _WAIT_S)
            second = first and watch.wait_judged(first.at_ns + 1, _WAIT_S)
            if second is not None:
                recovery_ms.append((second.at_ns - quick_ns) / 1e6)
        is_running = run.is_running
        run.stop()
        summary = run.summary
    frames, dropped = (summary.frames, summary.dropped) if summary else (0, 0)
    # The frame in the reader's hand and the one that waits when the line stops are neither.
    missing = source.given - frames - dropped
    short = Shortfalls().unless(is_running and summary is not None, "the run ended by itself")
    short = short.unless(0 <= missing <= 2, f"{missing} frames are neither judged nor counted as dropped")
    short = short.unless(dropped > 100, f"only {dropped} frames were dropped")
    return Row(
        fault="queue full",
        injected="200 frames a second, and a session that takes 100 ms, 5 times for 0.8 s",
        times=5,
        expected="the newest frame is judged, every other one is counted as dropped, none is judged late",
        happened=f"{source.given} frames: {frames} judged, {dropped} dropped",
        wrong_ok=watch.wrong_ok,
        recovery_ms=Percentiles.of(recovery_ms),
        shortfalls=short.texts,
    )


# Shifts the wall clock of a process by the seconds that a file says; monotonic time stays.
_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long shift(void) {
  long s = 0; const char *p = getenv("DTGD_CLOCK_STEP"); FILE *f = p ? fopen(p, "r") : 0;
  if (f) { if (fscanf(f, "%ld", &s) != 1) s = 0; fclose(f); }
  return s;
}
int clock_gettime(clockid_t c, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int r = real(c, t);
  if (!r && c == CLOCK_REALTIME) t->tv_sec += shift();
  return r;
}
int gettimeofday(struct timeval *t, void *z) {
  struct timespec s; int r = clock_gettime(CLOCK_REALTIME, &s);
  t->tv_sec = s.tv_sec; t->tv_usec = s.tv_nsec / 1000; return r;
}
time_t time(time_t *o) {
  struct timespec s; clock_gettime(CLOCK_REALTIME, &s); if (o) *o = s.tv_sec; return s.tv_sec;
}
"""


def clock_stepped(folder: Path) -> Row:
    """The wall clock of a running line is stepped a day forth and two back, as NTP does after a boot."""
    fault = Fault(
        "wall clock stepped",
        "the C library's wall clock of the process jumps by +1 day, -2 days, to 1971 and back",
        "verdicts go on in time, the audit log stays in order and proves itself",
    )
    source, library = folder / "step.c", folder / "step.so"
    source.write_text(_SHIM)
    try:
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as exc:
        return fault.skipped(f"no C compiler makes the shim ({exc})")
    done = subprocess.run(
        [sys.executable, "-m", "dtgd_edge.benchmarks.faults.stepped", str(folder)],
        env={**os.environ, "LD_PRELOAD": str(library), "DTGD_CLOCK_STEP": str(folder / "step")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        return fault.died(done.stderr)
    found = msgspec.json.decode(done.stdout, type=Stepped)
    happened = f"{found.verdicts} verdicts, longest gap {found.longest_gap_ms:.0f} ms, rows in order"
    return fault.row(found.steps, happened, found.wrong_ok, found.recovery_ms, found.shortfalls)
