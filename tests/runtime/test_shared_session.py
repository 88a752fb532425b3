"""Several cameras at one session: whose score is whose, what goes together, and what a failure does."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, BackendUnavailable, ShapeError
from dtgd_edge.runtime import shared_session
from dtgd_edge.runtime.session import Session, SessionSpec
from dtgd_edge.runtime.shared_session import SharedSession, SharedSessions
from dtgd_edge.verdict import Scores
from tests.runtime.fakes import GreySession

PATIENCE_S = 8.0


class GatedSession(GreySession):
    """Scores only when the gate is open, several frames at a time; remembers what it was given.

    Attributes:
        rows: the grey of each row, per call.
        threads: those that opened, used and closed it.
    """

    def __init__(self, batch: int = 1) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.rows: list[list[int]] = []
        self.threads = {threading.get_ident()}
        self._batch = batch

    @property
    def spec(self) -> SessionSpec:
        return SessionSpec("grey", "nothing", self._batch, (64, 64))

    def score(self, frames: np.ndarray) -> Scores:
        self.threads.add(threading.get_ident())
        self.rows.append([int(frame[0, 0, 0]) for frame in frames])
        self.entered.set()
        assert self.gate.wait(PATIENCE_S), "nobody opened the gate"
        return super().score(frames)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        super().close()


def frames(grey: int) -> np.ndarray:
    return np.full((1, 64, 64, 3), grey, np.uint8)


class Asker:
    """A camera's thread that asks for one score."""

    def __init__(self, seat: Session, grey: int) -> None:
        self.answer: Scores | BaseException | None = None
        self._thread = threading.Thread(target=self._ask, args=(seat, grey), daemon=True)
        self._thread.start()

    def _ask(self, seat: Session, grey: int) -> None:
        try:
            self.answer = seat.score(frames(grey))
        except BaseException as exc:
            self.answer = exc

    def score(self) -> float:
        self._thread.join(PATIENCE_S)
        assert isinstance(self.answer, Scores), self.answer
        assert self.answer.score.shape == (1,) and self.answer.map.shape == (1, 64, 64)
        assert float(self.answer.map.max()) == float(self.answer.score[0])
        return float(self.answer.score[0])

    def error(self) -> BaseException:
        self._thread.join(PATIENCE_S)
        assert isinstance(self.answer, BaseException), self.answer
        return self.answer


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.001)


def held(inner: GatedSession, shared: SharedSession, greys: list[int]) -> tuple[Asker, list[Asker]]:
    """One camera whose frame is being scored, and others who came meanwhile, in this order."""
    inner.gate.clear()
    inner.entered.clear()
    first = Asker(shared.seat(), 128)
    assert inner.entered.wait(PATIENCE_S)
    others = []
    for grey in greys:
        others.append(Asker(shared.seat(), grey))
        until(lambda: shared.waiting == len(others))
    return first, others


def is_refused(shared: SharedSession) -> bool:
    try:
        shared.seat()
    except BackendError:
        return True
    return False


@pytest.fixture
def opened() -> Iterator[Callable[[int], tuple[GatedSession, SharedSession]]]:
    made: list[tuple[GatedSession, SharedSession]] = []

    def open_one(batch: int) -> tuple[GatedSession, SharedSession]:
        inner: list[GatedSession] = []

        def session() -> Session:
            inner.append(GatedSession(batch))
            return inner[0]

        shared = SharedSession(session)
        made.append((inner[0], shared))
        return made[-1]

    yield open_one
    for inner, shared in made:
        inner.gate.set()
        shared.close()


Open = Callable[[int], tuple[GatedSession, SharedSession]]


def test_every_camera_gets_its_own_score_and_the_first_who_came_is_the_first(opened: Open) -> None:
    inner, shared = opened(1)
    first, others = held(inner, shared, [160, 192, 224])
    inner.gate.set()
    assert [asker.score() for asker in (first, *others)] == [0.0, 1.0, 2.0, 3.0]
    assert inner.rows == [[128], [160], [192], [224]]
    assert shared.batches == {1: 4}


def test_frames_that_wait_together_go_together_and_a_lone_one_does_not_wait(opened: Open) -> None:
    inner, shared = opened(2)
    first, others = held(inner, shared, [160, 192, 224])
    inner.gate.set()
    assert [asker.score() for asker in (first, *others)] == [0.0, 1.0, 2.0, 3.0]
    # The rows that nobody asked for repeat the last frame.
    assert inner.rows == [[128, 128], [160, 192], [224, 224]]
    assert shared.batches == {1: 2, 2: 1}


def test_one_thread_opens_uses_and_closes_the_session(opened: Open) -> None:
    inner, shared = opened(1)
    assert Asker(shared.seat(), 160).score() == 1.0
    shared.close()
    assert inner.is_closed and len(inner.threads) == 1
    assert inner.threads != {threading.get_ident()}


def test_a_seat_is_a_session_for_one_frame(opened: Open) -> None:
    _, shared = opened(4)
    with shared.seat() as seat:
        assert (seat.spec.batch, seat.spec.size_hw) == (1, (64, 64))
        with pytest.raises(ShapeError, match=r"\[1, 64, 64, 3\]"):
            seat.score(np.zeros((4, 64, 64, 3), np.uint8))
        scores = seat.score(frames(160))
        scores.map[:] = 7.0  # the caller's own
        assert seat.score(frames(160)).map.max() == 1.0


def test_the_last_seat_closes_the_session(opened: Open) -> None:
    inner, shared = opened(1)
    one, other = shared.seat(), shared.seat()
    one.close()
    one.close()
    with pytest.raises(BackendError, match="closed"):
        one.score(frames(160))
    assert other.score(frames(160)).score[0] == 1.0 and not inner.is_closed
    other.close()
    assert inner.is_closed
    with pytest.raises(BackendError, match="closed"):
        shared.seat()


def test_a_failure_is_told_to_all_who_waited_for_it_and_to_nobody_else(opened: Open) -> None:
    inner, shared = opened(2)
    first, others = held(inner, shared, [160, 192])
    inner.fails = True
    inner.gate.set()
    errors = [asker.error() for asker in (first, *others)]
    assert all(isinstance(error, BackendError) and "the device is gone" in str(error) for error in errors)
    assert errors[1] is not errors[2]
    assert shared.has_failed
    inner.fails = False
    assert Asker(shared.seat(), 160).score() == 1.0
    assert not shared.has_failed


def test_who_waits_when_it_is_closed_is_told(opened: Open) -> None:
    inner, shared = opened(1)
    first, (other,) = held(inner, shared, [160])
    closer = threading.Thread(target=shared.close, daemon=True)
    closer.start()
    until(lambda: is_refused(shared))
    inner.gate.set()
    assert first.score() == 0.0  # it was being scored
    assert "closed" in str(other.error())
    closer.join(PATIENCE_S)
    assert inner.is_closed


def test_a_session_that_cannot_be_opened_says_why() -> None:
    def refused() -> Session:
        raise BackendUnavailable("no such device")

    with pytest.raises(BackendUnavailable, match="no such device"):
        SharedSession(refused)


# ------------------------------------------------------------------------------- for the lines of a process


class Device:
    """What open_session is replaced by: remembers what it opened."""

    def __init__(self) -> None:
        self.sessions: list[GatedSession] = []

    def __call__(self, bundle: Bundle, backend: str, threads: int | None) -> Session:
        self.sessions.append(GatedSession())
        return self.sessions[-1]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(shared_session, "open_session", made)
    return made


def test_lines_of_one_graph_share_a_session_until_the_last_has_left(
    device: Device, tiny_bundle: Bundle
) -> None:
    sessions = SharedSessions()
    one, other = sessions.open(tiny_bundle), sessions.open(tiny_bundle)
    assert len(device.sessions) == 1
    one.close()
    assert other.score(frames(160)).score[0] == 1.0
    other.close()
    assert device.sessions[0].is_closed
    again = sessions.open(tiny_bundle)
    assert len(device.sessions) == 2 and again.score(frames(192)).score[0] == 2.0
    again.close()


def test_another_backend_or_other_threads_are_another_session(device: Device, tiny_bundle: Bundle) -> None:
    sessions = SharedSessions()
    seats = [sessions.open(tiny_bundle, *options) for options in (("ort", 1), ("ort", 2), ("openvino", 1))]
    assert len(device.sessions) == 3
    for seat in seats:
        seat.close()
    assert all(session.is_closed for session in device.sessions)


def test_a_session_that_fails_is_not_given_to_a_line_that_recovers(
    device: Device, tiny_bundle: Bundle
) -> None:
    sessions = SharedSessions()
    one, other = sessions.open(tiny_bundle), sessions.open(tiny_bundle)
    device.sessions[0].fails = True
    with pytest.raises(BackendError):
        one.score(frames(160))
    one.close()
    recovered = sessions.open(tiny_bundle)  # while the other still has its seat
    assert recovered.score(frames(160)).score[0] == 1.0
    assert len(device.sessions) == 2 and not device.sessions[0].is_closed
    other.close()
    assert device.sessions[0].is_closed and not device.sessions[1].is_closed
    recovered.close()
