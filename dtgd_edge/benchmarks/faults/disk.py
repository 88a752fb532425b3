"""A full disk: `python -m dtgd_edge.benchmarks.faults.disk FOLDER` fills a small one of its own.

The disk is a tmpfs in a mount namespace of that process, so that nothing else sees it and it is gone with it.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dtgd_edge.benchmarks.faults.row import Fault, Row, Shortfalls
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

FILLS = 10
_SIZE_MIB = 4
_WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Filled:
    """What the process with the full disk saw."""

    fills: int
    withheld: int
    verdicts: int
    recorded: int
    wrong_ok: int
    recovery_ms: tuple[float, ...]
    shortfalls: tuple[str, ...]


def disk_full(folder: Path) -> Row:
    """Fill the disk under the audit log of a running line, and free it again."""
    fault = Fault(
        "disk full",
        f"the audit log's disk (a tmpfs of {_SIZE_MIB} MiB) is filled to the last byte",
        "the line goes on, no unrecorded verdict is given out as OK, the loss is in the log",
    )
    mount = folder / "disk"
    mount.mkdir()
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    script = f'mount -t tmpfs -o size={_SIZE_MIB}m tmpfs "$1" && exec "$2" -m {__name__} "$1"'
    try:
        done = subprocess.run(
            [*command, script, "sh", str(mount), sys.executable],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    except OSError as exc:
        return fault.skipped(f"no private mount here ({exc})")
    if done.returncode and "Traceback" not in done.stderr:
        return fault.skipped(f"no private mount here ({done.stderr.strip()[-200:]})")
    if done.returncode:
        return fault.died(done.stderr)
    found = msgspec.json.decode(done.stdout, type=Filled)
    happened = f"{found.verdicts} verdicts, {found.recorded} recorded, {found.withheld} withheld"
    return fault.row(found.fills, happened, found.wrong_ok, found.recovery_ms, found.shortfalls)


class _Given(Sink):
    """What the outputs were given."""

    def __init__(self) -> None:
        self.decisions: dict[int, Decision] = {}

    def write(self, verdict: Verdict, frame: Frame) -> None:
        self.decisions[frame.index] = verdict.decision

    def close(self) -> None:
        """Nothing is held."""


def run_filled(disk: Path) -> Filled:
    """Run a line whose log lies on a small disk; fill and free it.

    Args:
        disk: a file system of its own.
    """
    from dtgd_edge.benchmarks.faults.rig import PacedSource, line_config, parts, running, write_bundle
    from dtgd_edge.benchmarks.faults.watch import Watch
    from dtgd_edge.runtime.delivery import Outlet
    from dtgd_edge.runtime.records.audit import AuditConfig
    from dtgd_edge.runtime.records.log import AuditLog
    from dtgd_edge.runtime.records.proof import prove

    pictures = parts()
    write_bundle(disk / "grey.dtgd", pictures)
    watch, given, log = Watch(pictures), _Given(), disk / "audit.db"
    config = line_config(audit=AuditConfig(path=str(log), timeout_ms=200))
    recovery_ms: list[float] = []
    short = Shortfalls()
    outlet = Outlet(given, "given", "end")
    with running(config, disk / "grey.dtgd", PacedSource(pictures, 100), watch, sinks=[outlet]) as run:
        watch.wait_judged(0, _WAIT_S)
        for number in range(FILLS):
            begun_ns = time.monotonic_ns()
            _fill(disk / "ballast")
            held = watch.wait(lambda seen: seen.decision is Decision.NO_DECISION, begun_ns, _WAIT_S)
            short = short.unless(held is not None, f"fill {number} was not noticed")
            time.sleep(0.1)
            (disk / "ballast").unlink()
            freed_ns = time.monotonic_ns()
            back = watch.wait_judged(freed_ns, _WAIT_S)
            short = short.unless(back is not None, f"no judged frame after fill {number}")
            if back is not None:
                recovery_ms.append((back.at_ns - freed_ns) / 1e6)
            time.sleep(0.1)
        short = short.unless(run.is_running, f"the run ended: {run.error}")
        down, up = run.told_of("sink down"), run.told_of("sink back")
    with AuditLog(log) as opened:
        rows = list(opened.rows())
    recorded = {row.frame: row.decision for row in rows if row.kind == "verdict"}
    # An OK that was given out and stands in no row could not be accounted for.
    wrong = [
        index
        for index, decision in given.decisions.items()
        if decision is Decision.OK and recorded.get(index) != "OK"
    ]
    proof = prove(log)
    short = short.unless(proof.holds, f"the log does not hold: {proof.fault}")
    short = short.unless(down >= FILLS <= up, f"told down {down} and back {up} times")
    losses = sum(row.what == "not recorded" for row in rows)
    short = short.unless(losses > 0, "no row tells what was not recorded")
    return Filled(
        fills=FILLS,
        withheld=sum(decision is Decision.NO_DECISION for decision in given.decisions.values()),
        verdicts=len(given.decisions),
        recorded=len(recorded),
        wrong_ok=len(wrong) + watch.wrong_ok,
        recovery_ms=tuple(recovery_ms),
        shortfalls=short.texts,
    )


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(run_filled(Path(sys.argv[1]))).decode())
