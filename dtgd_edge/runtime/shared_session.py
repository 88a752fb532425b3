"""One session for several cameras: its graph is in memory once, and frames that wait together go together."""

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError
from dtgd_edge.runtime.session import Session, SessionSpec, check_frames, open_session
from dtgd_edge.verdict import Scores

_CLOSED = "the shared session is closed; expected an open one; open it again"


@dataclass(slots=True, eq=False)
class _Asked:
    """A frame that waits for its score.

    Attributes:
        frame: uint8 [H, W, 3].
        answer: its scores, or why there are none; valid once `is_done`.
    """

    frame: NDArray[np.uint8]
    answer: Scores | BaseException | None = None
    is_done: threading.Event = field(default_factory=threading.Event)

    def finish(self, answer: Scores | BaseException) -> None:
        self.answer = answer
        self.is_done.set()


class SharedSession:
    """Scores the frames of several cameras in a thread of its own, which opens, uses and closes the session.

    A frame never waits for others to fill a batch: what waits when the session becomes free is scored, up
    to the graph's batch, the longest waiting first. As each camera asks for one frame at a time, this is
    one frame of each camera in turn, and none can starve another. A graph of a fixed larger batch costs the
    same however few rows are filled; `batches` tells how many were.

    Args:
        opened: opens the session; called once, in the thread that then owns it.

    Raises:
        BackendError: or whatever else `opened` raises.
    """

    def __init__(self, opened: Callable[[], Session]) -> None:
        self._waiting: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._seats = 0
        self._has_failed = False
        self._batches: Counter[int] = Counter()
        is_open = threading.Event()
        failed: list[BaseException] = []

        def serve() -> None:
            try:
                session = opened()
                self._spec = session.spec
            except BaseException as exc:
                failed.append(exc)
                is_open.set()
                return
            is_open.set()
            with session:
                self._serve(session)

        self._thread = threading.Thread(target=serve, name="dtgd-session", daemon=True)
        self._thread.start()
        is_open.wait()
        if failed:
            raise failed[0]

    @property
    def spec(self) -> SessionSpec:
        """Of the session that is shared."""
        return self._spec

    @property
    def batches(self) -> dict[int, int]:
        """How often the session was used, by the number of frames that were scored at once."""
        with self._changed:
            return dict(sorted(self._batches.items()))

    @property
    def waiting(self) -> int:
        """Frames that wait for the session to become free."""
        with self._changed:
            return len(self._waiting)

    @property
    def has_failed(self) -> bool:
        """Whether the session's last answer was an error."""
        return self._has_failed

    def seat(self) -> Session:
        """A session for one camera, which takes one frame at a time.

        Closing a seat leaves the others theirs; the last one that is closed closes the session.

        Raises:
            BackendError: the session is closed.
        """
        with self._changed:
            if self._is_closed:
                raise BackendError(_CLOSED)
            self._seats += 1
        return _Seat(self)

    def close(self) -> None:
        """Close the session; who still waits is told. Closing twice is fine."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _leave(self) -> None:
        """A seat was closed."""
        with self._changed:
            self._seats -= 1
            if self._seats:
                return
            self._is_closed = True  # at once, so that nobody takes a seat that is worth nothing
        self.close()

    def _score(self, frame: NDArray[np.uint8]) -> Scores:
        """Have one frame scored, uint8 [H, W, 3], and wait for it."""
        asked = _Asked(frame)
        with self._changed:
            if self._is_closed:
                raise BackendError(_CLOSED)
            self._waiting.append(asked)
            self._changed.notify_all()
        asked.is_done.wait()
        if isinstance(asked.answer, BackendError):
            # An error of one's own: several cameras may be told of the same failure.
            raise type(asked.answer)(str(asked.answer)) from asked.answer
        if isinstance(asked.answer, BaseException):
            raise asked.answer
        assert asked.answer is not None, "whoever is done has an answer"
        return asked.answer

    def _serve(self, session: Session) -> None:
        """The owning thread: until closed, score what waits."""
        while taken := self._take(session.spec.batch):
            try:
                # The last frame fills the rows that nobody asked for.
                rows = [asked.frame for asked in taken] + [taken[-1].frame] * (
                    session.spec.batch - len(taken)
                )
                scores = session.score(np.stack(rows))
            except BaseException as exc:
                self._has_failed = True
                for asked in taken:
                    asked.finish(exc)
                continue
            self._has_failed = False
            for row, asked in enumerate(taken):
                # Copies, so that no camera keeps the maps of all.
                asked.finish(Scores(scores.score[row : row + 1].copy(), scores.map[row : row + 1].copy()))

    def _take(self, most: int) -> list[_Asked]:
        """What has waited longest, at least one; none when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or bool(self._waiting))
            if self._is_closed:
                for asked in self._waiting:
                    asked.finish(BackendError(_CLOSED))
                self._waiting.clear()
                return []
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._batches[len(taken)] += 1
            return taken


class _Seat(Session):
    """A camera's own view of a shared session."""

    def __init__(self, shared: SharedSession) -> None:
        self._shared = shared
        self._spec = replace(shared.spec, batch=1)
        self._is_closed = False

    @property
    def spec(self) -> SessionSpec:
        return self._spec

    def score(self, frames: NDArray[Any]) -> Scores:
        if self._is_closed:
            raise BackendError(_CLOSED)
        check_frames(frames, self._spec)
        return self._shared._score(frames[0])

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._shared._leave()


class SharedSessions:
    """Opens sessions for the lines of one process: those that run the same graph share one.

    A line that takes another bundle, as in a swap, gets a seat at that graph's session, and the old one is
    closed when the last line has left it. A session that fails is not given out again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: dict[tuple[str, str, int | None], SharedSession] = {}

    def open(self, bundle: Bundle, backend: str = "auto", threads: int | None = None) -> Session:
        """A seat at the session of a bundle's graph; any thread may call it.

        Args:
            bundle, backend, threads: as open_session takes them; who differs in one of them shares nothing.

        Raises:
            ConfigError, BackendError: as open_session.
        """
        key = bundle.manifest.graph_sha256, backend, threads
        with self._lock:
            shared = self._shared.get(key)
            if shared is not None and not shared.has_failed:
                with contextlib.suppress(BackendError):  # the last line has left it
                    return shared.seat()
            shared = SharedSession(lambda: open_session(bundle, backend, threads))
            self._shared[key] = shared
            return shared.seat()
