"""Waiting for a core, on file trees and here."""

from pathlib import Path

from dtgd_edge.benchmarks.core_wait import CoreWait


def test_the_thread_that_waited_longest(tmp_path: Path) -> None:
    assert CoreWait(tmp_path).since_ms([]) is None, "a kernel that does not count"
    threads = [tmp_path / f"proc/self/task/{thread}/schedstat" for thread in (7, 8)]
    for thread in threads:
        thread.parent.mkdir(parents=True)
        thread.write_text("1000 500000 3\n")
    wait = CoreWait(tmp_path)
    before = wait.now_ns()
    assert wait.since_ms(before) == 0.0
    threads[0].write_text("9000000 500000 9\n")
    threads[1].write_text("1000 2000000 4\n")
    assert wait.since_ms(before) == 1.5
    wait.close()
    assert wait.now_ns() == []


def test_here() -> None:
    wait = CoreWait()
    waited_ms = wait.since_ms(wait.now_ns())
    assert waited_ms is None or waited_ms >= 0.0
    wait.close()
