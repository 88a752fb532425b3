"""One session for several cameras: its graph is in memory once, and frames that wait together go together."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from dtgd_edge.errors import BackendError
from dtgd_edge.runtime.session import Session, SessionSpec, check_frames
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
        open_session: opens the session; called once, in the thread that then owns it.

    Raises:
        BackendError: as `open_session` raises it, and whatever else it raises.
    """

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._waiting: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._batches: Counter[int] = Counter()
        opened = threading.Event()
        failed: list[BaseException] = []

        def serve() -> None:
            try:
                session = open_session()
                self._spec = session.spec
            except BaseException as exc:
                failed.append(exc)
                opened.set()
                return
            opened.set()
            with session:
                self._serve(session)

        self._thread = threading.Thread(target=serve, name="dtgd-session", daemon=True)
        self._thread.start()
        opened.wait()
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

    def seat(self) -> Session:
        """A session for one camera, which takes one frame at a time; closing it leaves the others theirs."""
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
                for asked in taken:
                    asked.finish(exc)
                continue
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
        self._is_closed = True
