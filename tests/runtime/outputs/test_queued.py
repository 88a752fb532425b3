"""A dead peer costs the loop nothing, and what was lost is counted."""

import threading
import time

import pytest

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.backoff import Backoff
from dtgd_edge.runtime.outputs.queued import QueuedSink, Refused
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict
from tests.runtime.outputs.conftest import Heard, until, written

QUICK = {"first_s": 0.005, "longest_s": 0.01}


class Peer(Sink):
    """Takes verdicts, fails, refuses or hangs."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.is_closed = False
        self.error: SinkError | None = None
        self.free = threading.Event()
        self.free.set()

    def write(self, verdict: Verdict, frame: Frame) -> None:
        self.free.wait(10.0)
        if self.error is not None:
            raise self.error
        assert frame.image is None and verdict.map is None, "pictures and maps are not kept"
        self.taken.append(verdict.frame_index)

    def close(self) -> None:
        self.is_closed = True


def test_verdicts_arrive_in_order_and_closing_flushes(heard: Heard) -> None:
    peer = Peer()
    with QueuedSink(peer, "peer", heard.events) as sink:
        for index in range(500):
            sink.write(*written(index))
    assert peer.taken == list(range(500)) and peer.is_closed
    assert (sink.delivered, sink.dropped) == (500, 0) and heard.all == []
    sink.close()
    with pytest.raises(SinkError, match="closed"):
        sink.write(*written(0))


def test_a_peer_that_hangs_does_not_block_and_the_oldest_make_room(heard: Heard) -> None:
    peer = Peer()
    peer.free.clear()
    sink = QueuedSink(peer, "peer", heard.events, capacity=10)
    begun = time.monotonic()
    for index in range(1000):
        sink.write(*written(index))
    assert time.monotonic() - begun < 1.0
    peer.free.set()
    sink.close()
    # The one that was under way when it hung, and the newest ten.
    assert peer.taken[-10:] == list(range(990, 1000)) and len(peer.taken) in (10, 11)
    assert sink.delivered + sink.dropped == 1000


def test_down_and_back_are_told_once_each_with_counts(heard: Heard) -> None:
    peer = Peer()
    sink = QueuedSink(peer, "peer", heard.events, capacity=5, backoff=Backoff(**QUICK))
    for round_ in (1, 2):
        peer.error = SinkError("the cable is out")
        for index in range(20):
            sink.write(*written(index))
        assert heard.wait_for("sink down", round_)
        time.sleep(0.05)
        assert not sink.is_up
        peer.error = None
        assert heard.wait_for("sink back", round_)
        assert until(lambda: sink.delivered == 5 * round_)  # noqa: B023
    sink.close()
    assert heard.kinds() == ["sink down", "sink back"] * 2
    assert "the cable is out" in heard.all[0].detail and heard.all[0].is_alarm
    assert sink.dropped == 30 and peer.taken == [*range(15, 20)] * 2


def test_a_refused_verdict_does_not_hold_up_the_others(heard: Heard) -> None:
    peer = Peer()
    peer.error = Refused("400")
    sink = QueuedSink(peer, "peer", heard.events)
    for index in range(3):
        sink.write(*written(index))
    assert until(lambda: sink.dropped == 3)
    peer.error = None
    sink.write(*written(3))
    sink.close()
    assert peer.taken == [3] and heard.kinds() == ["verdict refused"]


def test_closing_over_a_dead_peer_takes_its_limit_and_tells_the_loss(heard: Heard) -> None:
    peer = Peer()
    peer.error = SinkError("gone")
    sink = QueuedSink(peer, "peer", heard.events, flush_s=0.2, backoff=Backoff(**QUICK))
    for index in range(7):
        sink.write(*written(index))
    begun = time.monotonic()
    sink.close()
    assert time.monotonic() - begun < 2.0
    assert heard.kinds() == ["sink down", "verdicts lost"] and "7 verdicts" in heard.all[1].detail
    assert sink.dropped == 7 and peer.is_closed


def test_pauses_double_up_to_a_limit() -> None:
    backoff = Backoff(0.1, 0.5)
    assert [backoff.next_s() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert backoff.next_s() == 0.1
