"""A process that records verdicts until it is killed: proof that no committed row is lost.

`kill_once` starts it, kills it with SIGKILL after some time and says which frames it had been told were
committed; `check` holds the log against all of them. A script that calls them needs the usual
`if __name__ == "__main__":`.
"""

import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from dtgd_edge.runtime.records.proof import prove
from tests.runtime.records.made import frames, judged, opened

# A server that has imported everything forks in milliseconds, and is not threaded like the tests.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["pytest", "tests.runtime.records.killed"])


def kill_once(
    log: Path, first: int, after_s: float, *, commit_every_ms: int = 0, from_start: bool = False
) -> list[int]:
    """Write to a log in a process of its own and kill that in the middle.

    Args:
        log: made or gone on with.
        first: number of the first frame.
        after_s: to the SIGKILL, from the first committed frame.
        commit_every_ms: of the log; above 0 frames are said before they are committed.
        from_start: count `after_s` from the start instead, so that it also dies while it opens the log.

    Returns:
        Frames that were committed, as the process had said before it died.
    """
    hears, says = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=write_until_killed, args=(log, first, commit_every_ms, says))
    process.start()
    says.close()
    killer = threading.Timer(after_s, process.kill)
    committed: list[int] = []
    if from_start:
        killer.start()
    try:
        while True:
            committed.append(int.from_bytes(hears.recv_bytes(), "little"))
            if len(committed) == 1 and not from_start:
                killer.start()
    except (EOFError, OSError):  # it is dead, perhaps in the middle of a word
        pass
    hears.close()
    process.join()
    killer.cancel()
    return committed


def check(log: Path, committed: list[int]) -> None:
    """Raise AssertionError unless the log holds, has every committed frame once, and in their order."""
    proof = prove(log)
    assert proof.holds, proof.fault
    recorded = [frame for frame in frames(log) if frame is not None]
    assert len(set(recorded)) == len(recorded), "a verdict is there twice"
    missing = set(committed) - set(recorded)
    assert not missing, f"committed and lost: {sorted(missing)[:5]}"
    assert recorded == sorted(recorded)


def write_until_killed(log: Path, first: int, commit_every_ms: int, says: Connection) -> None:
    """Record verdicts, each said when `write` has returned; gives up after a minute."""
    sink = opened(log, commit_every_ms=commit_every_ms, sync_every_ms=20)
    frame, until = first, time.monotonic() + 60
    while time.monotonic() < until:
        sink.write(*judged(frame))
        says.send_bytes(frame.to_bytes(8, "little"))
        frame += 1
