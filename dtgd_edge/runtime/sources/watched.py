"""A folder into which another program writes pictures."""

import os
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from dtgd_edge.errors import SourceNotFound
from dtgd_edge.pictures import SUFFIXES
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.sources.folder import frame_of_file

# A file that has not grown for so long is whole, if it can be read; a network share may stall longer.
SETTLED_S = 0.2
# After so long without growing a picture that still cannot be read is damaged.
PATIENCE_S = 3.0
_GLANCE_S = 0.05
# A folder with very many files takes long to list; it is listed at most this share of the time.
_LISTING_SHARE = 0.1

# So many names of files that went away are remembered.
_GONE_LIMIT = 20_000

# What changes when a file is written: inode, size, time of the last change.
_State = tuple[int, int, int]


@dataclass(slots=True, eq=False)
class _File:
    """What is known of one name.

    Attributes:
        state: as seen last.
        changed_s: time.monotonic() when that was seen first.
        is_done: whether this state was given, or was there from the beginning.
        checksum: of the pixels that were given last.
    """

    state: _State
    changed_s: float
    is_done: bool = False
    checksum: int | None = None


class WatchedFolder(FrameSource):
    """New pictures of a folder, each once, when it is completely written; what is there already is left out.

    A file that is moved in is new whatever its date is, and so is one that is written again under its old
    name, if its pixels differ. Hours without a picture are normal. A folder that goes away is one frame
    with a fault; files that come back as they were, one by one or with the folder, are not new.

    Args:
        folder: to look into; not below it.
        settled_s: how long a file must keep its size.
        patience_s: how long an unreadable one may stay so before it is a frame with a fault.
        events: told "source lost" and "source back".

    Raises:
        SourceNotFound: no such folder.
    """

    is_live = False
    may_be_silent = True

    def __init__(
        self,
        folder: Path,
        settled_s: float = SETTLED_S,
        patience_s: float = PATIENCE_S,
        events: Events | None = None,
    ) -> None:
        present = _listed(folder)
        if present is None:
            raise SourceNotFound(f"folder {folder} does not exist; expected one to watch; make it first")
        self._folder = folder
        self._settled_s = settled_s
        self._patience_s = patience_s
        self._events = events if events is not None else Events()
        self._closed = threading.Event()
        self._lost_s: float | None = None
        begun = time.monotonic()
        self._files = {name: _File(state, begun, is_done=True) for name, state in present.items()}
        self._gone: dict[str, _File] = {}

    @property
    def description(self) -> str:
        return f"new pictures in {self._folder}"

    def __iter__(self) -> Iterator[Frame]:
        numbers = count()
        while not self._closed.is_set():
            begun = time.monotonic()
            present = _listed(self._folder)
            if self._tell_of_folder(present is not None):
                fault = (
                    f"lost frame: folder {self._folder} cannot be listed; check the disk or the network share"
                )
                yield Frame(None, next(numbers), fault=fault)
            if present is not None:
                self._note(present)
                listing_s = time.monotonic() - begun
                yield from self._new_frames(numbers)
                self._closed.wait(max(_GLANCE_S, listing_s / _LISTING_SHARE))
            else:
                self._closed.wait(_GLANCE_S)

    def close(self) -> None:
        self._closed.set()

    def _tell_of_folder(self, is_there: bool) -> bool:
        """Tell of a folder that went away or is back; whether it went away just now."""
        now = time.monotonic()
        if not is_there and self._lost_s is None:
            self._lost_s = now
            text = f"folder {self._folder} cannot be listed; check the disk or the network share"
            self._events.tell(Event("source lost", text, is_alarm=True))
            return True
        if is_there and self._lost_s is not None:
            text = f"folder {self._folder} is back after {now - self._lost_s:.1f} s"
            self._lost_s = None
            self._events.tell(Event("source back", text))
        return False

    def _note(self, present: dict[str, _State]) -> None:
        """Take over what is there now."""
        now = time.monotonic()
        for name in [name for name in self._files if name not in present]:
            file = self._gone[name] = self._files.pop(name)
            file.checksum = None  # equal pixels in another file are another picture
        while len(self._gone) > _GONE_LIMIT:
            del self._gone[next(iter(self._gone))]
        for name, state in present.items():
            # A share that is mounted again brings its old files back: the same state is the same file.
            file = self._files.get(name) or self._gone.pop(name, None) or _File(state, now)
            if file.state != state:
                file.state, file.changed_s, file.is_done = state, now, False
            self._files[name] = file

    def _new_frames(self, numbers: Iterator[int]) -> Iterator[Frame]:
        """Pictures that are whole, in the order in which they were written."""
        waiting = [(file.state[2], name) for name, file in self._files.items() if not file.is_done]
        for _, name in sorted(waiting):
            file, path = self._files[name], self._folder / name
            if self._closed.is_set():
                return
            quiet_s = time.monotonic() - file.changed_s
            if quiet_s < self._settled_s:
                continue
            frame = frame_of_file(path, 0)
            if frame.image is None and quiet_s < self._patience_s:
                continue  # its writer may only be slow
            if _state_of(path) != file.state:
                continue  # it was written on while it was read, or is gone
            file.is_done = True
            checksum = None if frame.image is None else zlib.crc32(frame.image.tobytes())
            is_same = checksum is not None and checksum == file.checksum  # only touched
            file.checksum = checksum
            if not is_same:
                yield Frame(
                    frame.image, next(numbers), frame.captured_ns, name, frame.capture_ms, frame.fault
                )


def _listed(folder: Path) -> dict[str, _State] | None:
    """The pictures in a folder; None: it cannot be listed."""
    states: dict[str, _State] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.name.lower().endswith(SUFFIXES):
                    continue
                state = _state_of(Path(entry.path))
                if state is not None:
                    states[entry.name] = state
    except OSError:
        return None
    return states


def _state_of(path: Path) -> _State | None:
    """None: the file is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
