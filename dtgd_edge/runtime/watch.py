"""Looks for a newer bundle on the disk and offers it."""

import threading
from pathlib import Path

from dtgd_edge.bundle import SUFFIX
from dtgd_edge.errors import BundleError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.swap import Swap
from dtgd_edge.runtime.swap_config import SwapConfig

_Stamp = tuple[Path, int, int]


class BundleWatch:
    """A chore: offers the newest bundle of a place when it is newer than what lay there at the start.

    A file that still grows is left alone until it is equal at two looks. It is read in a thread of its
    own, so that the line does not wait for a slow disk.

    Args:
        swap: what the bundle is offered to.
        config: place and time between two looks.
        events: are told "bundle refused".
    """

    def __init__(self, swap: Swap, config: SwapConfig, events: Events) -> None:
        self._swap = swap
        self._place = Path(config.watch)
        self._every_ns = round(config.watch_s * 1e9)
        self._events = events
        self._due_ns = 0
        self._known = self._newest()
        self._growing: _Stamp | None = None
        self._reader: threading.Thread | None = None

    def __call__(self, now_ns: int) -> bool:
        """Look when it is time."""
        is_reading = self._reader is not None and self._reader.is_alive()
        if now_ns < self._due_ns or is_reading:
            return False
        self._due_ns = now_ns + self._every_ns
        newest = self._newest()
        if newest is None or newest == self._known:
            return False
        if newest != self._growing:
            self._growing = newest
            return False
        self._known, self._growing = newest, None
        self._reader = threading.Thread(target=self._offer, args=(newest[0],), name="dtgd-watch", daemon=True)
        self._reader.start()
        return True

    def _offer(self, path: Path) -> None:
        try:
            self._swap.offer(path, "watch")
        except BundleError as exc:
            self._events.tell(Event("bundle refused", str(exc), is_alarm=True, who="watch"))

    def _newest(self) -> _Stamp | None:
        """Path, time and size of the newest bundle; None where there is none."""
        stamps = []
        paths = sorted(self._place.glob(f"*{SUFFIX}")) if self._place.is_dir() else [self._place]
        for path in paths:
            try:
                status = path.stat()
            except OSError:  # renamed away between the two looks, or not there yet
                continue
            stamps.append((path, status.st_mtime_ns, status.st_size))
        return max(stamps, key=lambda stamp: (stamp[1], stamp[0].name), default=None)
