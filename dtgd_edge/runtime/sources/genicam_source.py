"""An open GenICam camera; it is found and set up in genicam.py."""

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from dtgd_edge.errors import SourceLost
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.sources.capture import UNDECODED_LIMIT
from dtgd_edge.runtime.sources.genicam_formats import picture_from_component

# Makes one of Harvester's callbacks out of a function.
CallbackMaker = Callable[[Callable[[], None]], Any]

_GLANCE_S = 0.1
_EXIT_S = 1.0

_log = logging.getLogger(__name__)


class GenicamSource(FrameSource):
    """A GenICam camera until it is lost; ReconnectingSource opens it again.

    Silence is no loss here, because the camera may wait for its own trigger input. A buffer that arrives
    incomplete is a frame with a fault.

    Args:
        harvester: reset when this is closed.
        acquirer: of the camera, set up; started by iterating.
        make_callback: makes one of Harvester's callbacks.
    """

    is_live = True

    def __init__(
        self,
        harvester: Any,
        acquirer: Any,
        description: str,
        make_callback: CallbackMaker,
    ) -> None:
        self._harvester = harvester
        self._acquirer = acquirer
        self._description = description
        self._make_callback = make_callback
        # GenTL handles must not be given back while they are read, and a read takes up to _GLANCE_S.
        self._touch = threading.Lock()
        self._closed = threading.Event()
        self._is_released = False
        self._incomplete = 0
        atexit.register(self._give_back_at_exit)

    @property
    def description(self) -> str:
        return self._description

    def close(self) -> None:
        self._closed.set()
        if self._touch.acquire(blocking=False):
            try:
                self._release_if_closed()
            finally:
                self._touch.release()
        # Otherwise the reading thread is inside, and releases the camera when it comes out.

    def __iter__(self) -> Iterator[Frame]:
        damaged = 0
        try:
            if not self._start():
                return
            for index in count():
                frame = self._next(index)
                if frame is None:
                    return
                damaged = damaged + 1 if frame.image is None else 0
                if damaged > UNDECODED_LIMIT:
                    raise SourceLost(
                        f"{self._description} gave {damaged} damaged pictures in a row; expected whole ones; "
                        "check its cable, and the network card's packet size"
                    )
                yield frame
        finally:
            self.close()

    def _start(self) -> bool:
        with self._touch:
            if self._release_if_closed():
                return False
            try:
                acquirer = self._acquirer
                callback = self._make_callback(self._note_incomplete)
                acquirer.add_callback(acquirer.Events.INCOMPLETE_BUFFER, callback)
                acquirer.start()
            except Exception as exc:
                raise self._lost(exc) from exc
        return True

    def _note_incomplete(self) -> None:
        self._incomplete += 1

    def _next(self, index: int) -> Frame | None:
        """Wait for a frame; None when the source was closed."""
        while True:
            with self._touch:
                if self._release_if_closed():
                    return None
                frame = self._fetch(index)
                if self._release_if_closed():
                    return None
            if frame is not None:
                return frame

    def _fetch(self, index: int) -> Frame | None:
        """Fetch one buffer; None when none came in time."""
        incomplete = self._incomplete
        try:
            buffer = self._acquirer.try_fetch(timeout=_GLANCE_S)
        # Each vendor's file fails in its own way, and all of them mean that the camera is gone.
        except Exception as exc:
            raise self._lost(exc) from exc
        begun_ns = time.monotonic_ns()
        if buffer is None:
            return None if self._incomplete == incomplete else self._damaged(index, begun_ns)
        try:
            components = buffer.payload.components if buffer.payload is not None else ()
            image = picture_from_component(components[0], self._description) if components else None
        finally:
            buffer.queue()
        if image is None:
            return self._damaged(index, begun_ns)
        return Frame(image, index, begun_ns, "", (time.monotonic_ns() - begun_ns) / 1e6)

    def _damaged(self, index: int, begun_ns: int) -> Frame:
        return Frame(
            None, index, begun_ns, fault=f"damaged picture: {self._description} sent an incomplete one"
        )

    def _lost(self, exc: Exception) -> SourceLost:
        return SourceLost(
            f"{self._description} failed ({reason(exc)}); expected a picture; check its cable, power and "
            "network"
        )

    def _give_back_at_exit(self) -> None:
        """Let the reading thread out first: a process that ends inside a read leaves the camera running."""
        self._closed.set()
        if self._touch.acquire(timeout=_EXIT_S):
            try:
                self._release_if_closed()
            finally:
                self._touch.release()

    def _release_if_closed(self) -> bool:
        if self._closed.is_set() and not self._is_released:
            self._is_released = True
            atexit.unregister(self._give_back_at_exit)
            release(self._harvester, self._acquirer)
        return self._closed.is_set()


def release(harvester: Any, acquirer: Any | None) -> None:
    """Give the camera back, as far as it is still there."""
    steps = [harvester.reset] if acquirer is None else [acquirer.destroy, harvester.reset]
    for step in steps:
        try:
            step()
        except Exception as exc:
            # A camera that is gone cannot be stopped; that must not hide why it is given back.
            _log.warning("a camera was not given back cleanly: %s", reason(exc))


def reason(exc: Exception) -> str:
    """What a foreign error says, in one line and without where in its library it arose."""
    return str(exc).strip().partition("\n")[0].partition(" : ")[0].rstrip(". ") or type(exc).__name__
