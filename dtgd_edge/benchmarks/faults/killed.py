"""SIGKILL at random moments: `python -m dtgd_edge.benchmarks.faults.killed FOLDER` is who forks the victims.

The forking process imports everything once and never opens anything, so that a victim is a fresh line in
milliseconds. A victim says the number of each verdict after the audit log has taken it.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from dtgd_edge.benchmarks.faults.row import Row, Shortfalls
from dtgd_edge.percentiles import Percentiles

KILLS = 100
LATEST_MS = 150.0
_PROVE_EVERY = 20
_START_LIMIT_S = 20.0


def killed(folder: Path, kills: int = KILLS) -> Row:
    """Kill a line that records, again and again, and hold its log against what it had said.

    Args:
        folder: empty.
        kills: how often.
    """
    from dtgd_edge.benchmarks.faults.rig import parts, write_bundle
    from dtgd_edge.runtime.records.log import AuditLog
    from dtgd_edge.runtime.records.proof import prove

    pictures = parts()
    write_bundle(folder / "grey.dtgd", pictures)
    chance = random.Random(0)
    said: set[tuple[str, int]] = set()
    starts_ms: list[float] = []
    short = Shortfalls()
    log = folder / "audit.db"
    with subprocess.Popen(
        [sys.executable, "-m", "dtgd_edge.benchmarks.faults.killed", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forker:
        assert forker.stdin is not None and forker.stdout is not None
        forker.stdout.readline()  # it has imported everything
        for number in range(kills):
            begun = time.monotonic()
            forker.stdin.write(f"{number}\n")
            forker.stdin.flush()
            victim = int(forker.stdout.readline())
            first = forker.stdout.readline().split()
            if first[:1] != ["said"]:
                short = short.unless(False, f"start {number} gave no verdict")
                break
            starts_ms.append((time.monotonic() - begun) * 1e3)
            time.sleep(chance.uniform(0.0, LATEST_MS) / 1e3)
            os.kill(victim, 9)
            said.add((first[1], int(first[2])))
            said |= _rest(forker.stdout)
            if number % _PROVE_EVERY == _PROVE_EVERY - 1:
                proof = prove(log)
                short = short.unless(proof.holds, f"after kill {number}: {proof.fault}")
        forker.stdin.close()
    with AuditLog(log) as opened:
        rows = [(row.name or "", row.frame) for row in opened.rows() if row.kind == "verdict"]
    proof = prove(log)
    recorded = set(rows)
    lost = len(said - recorded)
    short = short.unless(not lost, f"{lost} committed verdicts are lost")
    short = short.unless(len(rows) == len(recorded), f"{len(rows) - len(recorded)} verdicts are doubled")
    short = short.unless(proof.holds, f"the log does not hold: {proof.fault}")
    short = short.unless(len(starts_ms) == kills, f"{len(starts_ms)} of {kills} starts worked")
    return Row(
        fault="SIGKILL",
        injected=f"a process that records is killed up to {LATEST_MS:.0f} ms after its first verdict",
        times=kills,
        expected="no committed row is lost or doubled, the chain proves itself, every restart works",
        happened=f"{len(said)} verdicts said, {len(rows)} recorded, {lost} lost, {len(starts_ms)} restarts",
        recovery_ms=Percentiles.of(starts_ms),
        shortfalls=short.texts,
    )


def _rest(lines: IO[str]) -> set[tuple[str, int]]:
    """What a victim said before it died, up to the forker's word that it is dead."""
    said = set()
    for line in lines:
        words = line.split()
        if words == ["dead"]:
            break
        if words[:1] == ["said"] and len(words) == 3 and line.endswith("\n"):
            said.add((words[1], int(words[2])))
    return said


def fork_victims(folder: Path) -> None:
    """Fork a victim for every line of standard input and say its number; say "dead" when it is."""
    import dtgd_edge.benchmarks.faults.victim as victim

    pictures = victim.prepared()
    print("ready", flush=True)
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            victim.run(folder, pictures, line.strip(), writing)
            os._exit(0)
        os.close(writing)
        print(child, flush=True)
        with os.fdopen(reading) as said:
            for text in said:
                # A word that the kill cut has no end, and nobody was told it.
                if text.endswith("\n"):
                    sys.stdout.write(text)
                    sys.stdout.flush()
        os.waitpid(child, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    fork_victims(Path(sys.argv[1]))
