"""The only place where the reading thread and the judging thread meet."""

import threading
import time
from collections import deque

from dtgd_edge.runtime.source import Frame


class Handoff:
    """Carries frames from one reader to one consumer; neither can wait for ever on the other.

    Args:
        capacity: frames that wait at most.
        keeps_newest: when full, drop the oldest and count it (live); otherwise the reader waits (files).
    """

    def __init__(self, capacity: int, keeps_newest: bool) -> None:
        assert capacity >= 1, "a handoff holds at least one frame"
        self._frames: deque[Frame] = deque()
        self._capacity = capacity
        self._keeps_newest = keeps_newest
        self._changed = threading.Condition()
        self._is_finished = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Frames that made room for newer ones."""
        with self._changed:
            return self._dropped

    def put(self, frame: Frame) -> bool:
        """Reader: hand a frame over, waiting for room unless live; False when nobody wants it any more."""
        with self._changed:
            if self._keeps_newest and len(self._frames) >= self._capacity:
                self._frames.popleft()
                self._dropped += 1
            self._changed.wait_for(lambda: self._is_closed or len(self._frames) < self._capacity)
            if self._is_closed:
                return False
            self._frames.append(frame)
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None) -> None:
        """Reader: there will be no more frames, because of `error` or because that was all."""
        with self._changed:
            self._is_finished = True
            self._error = error
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Frame | None:
        """Consumer: take the oldest frame that waits.

        Returns:
            None when nothing came within the time.

        Raises:
            EndOfFrames: the reader has finished and every frame was taken.
            BaseException: the reader's own error, after every frame was taken.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._frames:
                if self._is_finished:
                    raise self._error or EndOfFrames
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0 or not self._changed.wait(remaining_s):
                    break
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """Consumer: nothing more is wanted; a waiting reader goes on and is told so."""
        with self._changed:
            self._is_closed = True
            self._frames.clear()
            self._changed.notify_all()


class EndOfFrames(Exception):
    """The source has no more frames. Not an error: how a handoff tells its consumer."""
