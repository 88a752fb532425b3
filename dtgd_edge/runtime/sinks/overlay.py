"""Pictures of the bad parts."""

import re
from collections import deque
from pathlib import Path

from dtgd_edge.errors import SinkError
from dtgd_edge.pictures import write_picture
from dtgd_edge.runtime.overlay import overlay
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict


class OverlaySink(Sink):
    """Writes `000012_NG_<name>.jpg` for every NG part.

    Args:
        folder: made if missing; what is in it already stays.
        limit: pictures of this run that are kept; above it this run's oldest is deleted. None: all.
        keeps_undecided: write NO_DECISION frames too.
        sensor_bits: significant bits of a 16-bit frame.

    Raises:
        SinkError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        limit: int | None = 1000,
        keeps_undecided: bool = False,
        sensor_bits: int = 16,
    ) -> None:
        assert limit is None or limit >= 1, "at least one picture is kept"
        self._folder = Path(folder)
        self._limit = limit
        self._keeps_undecided = keeps_undecided
        self._sensor_bits = sensor_bits
        self._written: deque[Path] = deque()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise SinkError(
                f"folder {self._folder} cannot be made ({exc.strerror}); expected a place for pictures; "
                "choose another"
            ) from exc

    def write(self, verdict: Verdict, frame: Frame) -> None:
        is_wanted = verdict.decision is Decision.NG or (
            self._keeps_undecided and verdict.decision is Decision.NO_DECISION
        )
        if not is_wanted:
            return
        path = self._free_path(verdict)
        write_picture(path, overlay(frame.image, verdict, sensor_bits=self._sensor_bits))
        self._written.append(path)
        while self._limit is not None and len(self._written) > self._limit:
            self._remove(self._written.popleft())

    def close(self) -> None:
        """Nothing is held."""

    def _free_path(self, verdict: Verdict) -> Path:
        """A name that no earlier run took: every run counts its frames from 0."""
        name = re.sub(r"[^\w.-]+", "_", Path(verdict.frame_name).stem)[:80]
        stem = "_".join(filter(None, (f"{verdict.frame_index:06d}", verdict.decision.value, name)))
        path, attempt = self._folder / f"{stem}.jpg", 1
        while path.exists():
            attempt += 1
            path = self._folder / f"{stem}-{attempt}.jpg"
        return path

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise SinkError(
                f"{path} cannot be deleted ({exc.strerror}) though {self._limit} are to be kept; "
                "expected the right to delete it; check the folder's rights"
            ) from exc
