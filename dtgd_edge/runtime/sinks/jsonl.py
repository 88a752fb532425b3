"""The audit log: one JSON line per verdict."""

import contextlib
import os
import stat
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict


class JsonlSink(Sink):
    """Appends verdicts to a file; every line is with the operating system before `write` returns.

    A line is `Verdict.record()` after "time" (UTC, ISO 8601). A line that the disk took only in part is
    taken back, and one that a power cut left open is ended, so that every line but such a one is JSON.

    Args:
        path: made if missing, with its folders; appended to otherwise.

    Raises:
        SinkError: it cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: nothing is left behind that could fail a second time in `close`.
            self._file = self._path.open("ab", buffering=0)
            if _ends_inside_line(self._path):
                self._file.write(b"\n")
        except OSError as exc:
            raise SinkError(
                f"log {self._path} cannot be opened ({exc.strerror}); "
                "expected a file that can be appended to; choose another place"
            ) from exc

    def write(self, verdict: Verdict, frame: Frame) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self._append(msgspec.json.encode({"time": now, **verdict.record()}) + b"\n")

    def close(self) -> None:
        self._file.close()

    def _append(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except (OSError, ValueError) as exc:
            if written and not self._file.closed:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file.fileno(), self._file.tell() - written)
            why = exc.strerror if isinstance(exc, OSError) else "it is closed"
            raise SinkError(
                f"log {self._path} refuses a line ({why}); expected room for it; "
                "free some space or choose another place"
            ) from exc


def _ends_inside_line(path: Path) -> bool:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
