"""A folder into which another program writes pictures."""

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from dtgd_edge.errors import SourceLost, SourceNotFound
from dtgd_edge.pictures import SUFFIXES
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.sources.folder import frame_of_file

# A file that has not grown for so long is whole, if it can be read; a network share may stall longer.
SETTLED_S = 0.2
# After so long without growing a picture that still cannot be read is damaged.
PATIENCE_S = 3.0
_GLANCE_S = 0.05


class WatchedFolder(FrameSource):
    """New pictures of a folder, each once, when it is completely written; what is there already is left out.

    Files count by name and by their size and time, so that one written again under its old name is new. A
    file that is moved in is taken at once settled. Hours without a picture are normal.

    Args:
        folder: to look into; not below it.
        settled_s: how long a file must keep its size.
        patience_s: how long an unreadable one may stay so before it is a frame with a fault.

    Raises:
        SourceNotFound: no such folder.
    """

    is_live = False
    may_be_silent = True

    def __init__(self, folder: Path, settled_s: float = SETTLED_S, patience_s: float = PATIENCE_S) -> None:
        if not folder.is_dir():
            raise SourceNotFound(f"folder {folder} does not exist; expected one to watch; make it first")
        self._folder = folder
        self._settled_s = settled_s
        self._patience_s = patience_s
        self._closed = threading.Event()
        self._taken = self._present()
        self._quiet_s: dict[Path, float] = {}
        self._states: dict[Path, tuple[int, int]] = {}

    @property
    def description(self) -> str:
        return f"new pictures in {self._folder}"

    def __iter__(self) -> Iterator[Frame]:
        numbers = count()
        while not self._closed.is_set():
            for path in self._settled():
                frame = frame_of_file(path, 0)
                if frame.image is None and self._quiet_s[path] < self._patience_s:
                    continue  # its writer may only be slow
                state = self._states[path]
                if _state_of(path) not in (state, None):
                    continue  # it grew while it was read
                self._taken[path] = state
                if self._closed.is_set():
                    return
                yield frame_of_file(path, next(numbers))
            self._closed.wait(_GLANCE_S)

    def close(self) -> None:
        self._closed.set()

    def _settled(self) -> list[Path]:
        """New files that have kept their size and time for long enough, oldest first."""
        present = self._present()
        for path in [p for p in self._taken if p not in present]:
            del self._taken[path]  # deleted: one that comes later under this name is new
        waiting = {path: state for path, state in present.items() if self._taken.get(path) != state}
        for path, state in waiting.items():
            same = self._states.get(path) == state
            self._quiet_s[path] = self._quiet_s.get(path, 0.0) + _GLANCE_S if same else 0.0
        self._states = waiting
        self._quiet_s = {path: self._quiet_s[path] for path in waiting}
        ready = [path for path in waiting if self._quiet_s[path] >= self._settled_s]
        return sorted(ready, key=lambda path: (waiting[path][1], path.name))

    def _present(self) -> dict[Path, tuple[int, int]]:
        try:
            paths = [path for path in self._folder.iterdir() if path.suffix.lower() in SUFFIXES]
        except OSError as exc:
            raise SourceLost(
                f"folder {self._folder} cannot be listed ({exc.strerror}); expected it to stay; "
                "check the disk or the network share"
            ) from exc
        states = {path: _state_of(path) for path in paths}
        return {path: state for path, state in states.items() if state is not None}


def _state_of(path: Path) -> tuple[int, int] | None:
    """Size and time of a file; None: it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
