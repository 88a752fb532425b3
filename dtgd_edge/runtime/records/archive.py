"""Keeps pictures of bad parts and of some good ones, so that verdicts can be looked at and replayed."""

import queue
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dtgd_edge.errors import ConfigError, SinkError
from dtgd_edge.pictures import write_picture
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.records.retention import Kept, Retention, stamp
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Decision, Verdict

_WHO = "picture archive"
_CLOSE_S = 30.0
_PRUNE_S = 60.0


@dataclass(frozen=True, slots=True)
class PicturesConfig:
    """The table [pictures] of a line's file.

    Attributes:
        folder: made if missing; files with other names in it are left alone.
        every_nth_ok: keep the frames of every n-th OK verdict; 0: none.
        keeps_ng, keeps_no_decision: keep the frames of these verdicts.
        overlays: write a JPEG with heat map and regions beside each frame.
        days: older pictures are deleted.
        max_mib: all pictures together; beyond it the oldest are deleted, OK before the others.
        min_free_mib: free space of the disk below which pictures are deleted or not written, so that
            they never take the audit log's room.
        queue_frames: frames that may wait to be written; more are counted and told, not kept.
    """

    folder: str = "pictures"
    every_nth_ok: int = 100
    keeps_ng: bool = True
    keeps_no_decision: bool = True
    overlays: bool = False
    days: float = 30.0
    max_mib: int = 10_000
    min_free_mib: int = 500
    queue_frames: int = 8

    def __post_init__(self) -> None:
        if not self.folder:
            raise ConfigError("pictures folder is empty; expected a folder; name one, for instance pictures")
        if not 0 < self.days <= 36_500:
            raise ConfigError(f"pictures days {self.days:g} is impossible; expected more than 0; use 30")
        for name, least in (("every_nth_ok", 0), ("max_mib", 1), ("min_free_mib", 0), ("queue_frames", 1)):
            if (value := getattr(self, name)) < least:
                raise ConfigError(
                    f"pictures {name} {value} is impossible; expected {least} or more; raise it"
                )


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    name: str
    image: NDArray[Any]
    verdict: Verdict


class PictureArchive:
    """Writes frames as lossless PNG in a thread of its own, and deletes old ones.

    "pictures lost" is told when frames are not kept (a slow or full disk) and "pictures back", with their
    number, when one is kept again.

    Args:
        config: what to keep, where and how long.
        events: is told what is lost.
        sensor_bits: significant bits of a 16-bit frame, for overlays.

    Raises:
        SinkError: the folder cannot be made or read.
    """

    def __init__(
        self, config: PicturesConfig, events: Events | None = None, *, sensor_bits: int = 16
    ) -> None:
        self._config = config
        self._events = events or Events()
        self._sensor_bits = sensor_bits
        self._folder = Path(config.folder).expanduser()
        self._retention = Retention(self._folder, config.days, config.max_mib, config.min_free_mib)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._retention.scan()
        except OSError as exc:
            raise SinkError(
                f"folder {self._folder} cannot be used for pictures ({exc.strerror}); expected a place that "
                "can be written; choose another"
            ) from exc
        self._run = secrets.token_hex(4)
        self._good = 0
        self._queue: queue.Queue[_Picture | None] = queue.Queue(config.queue_frames)
        self._lock = threading.Lock()
        self._lost = 0
        self._lost_now = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="dtgd-pictures", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Frames that were wanted and not kept."""
        with self._lock:
            return self._lost

    def keep(self, verdict: Verdict, frame: Frame) -> str | None:
        """Take a frame if it is wanted; never waits.

        Args:
            verdict: about `frame`.
            frame: its image must not change any more.

        Returns:
            Path of the picture inside the archive's folder, which is written soon; None: not kept.
        """
        if self._is_closed or frame.image is None or not self._is_wanted(verdict):
            return None
        wall_ns = time.time_ns()
        made = stamp(wall_ns)
        day = f"{made[:4]}-{made[4:6]}-{made[6:8]}"
        name = f"{day}/{made}_{self._run}_{verdict.frame_index:06d}_{verdict.decision.value}"
        try:
            self._queue.put_nowait(_Picture(name, frame.image, verdict))
        except queue.Full:
            self._lose(f"the disk is too slow: {self._config.queue_frames} frames wait")
            return None
        return f"{name}.png"

    def close(self) -> None:
        """Write what waits; closing twice is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        deadline = time.monotonic() + _CLOSE_S
        try:
            self._queue.put(None, timeout=_CLOSE_S)
        except queue.Full:
            self._lose("the disk does not answer")
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _is_wanted(self, verdict: Verdict) -> bool:
        if verdict.decision is Decision.NG:
            return self._config.keeps_ng
        if verdict.decision is Decision.NO_DECISION:
            return self._config.keeps_no_decision
        self._good += 1
        every = self._config.every_nth_ok
        return every > 0 and self._good % every == 0

    def _work(self) -> None:
        """The writing thread."""
        self._prune()
        while True:
            try:
                picture = self._queue.get(timeout=_PRUNE_S)
            except queue.Empty:
                self._prune()
                continue
            if picture is None:
                return
            self._prune()
            try:
                self._write(picture)
            except (SinkError, OSError) as exc:
                self._lose(f"{picture.name}.png: {exc}")
            else:
                self._found()

    def _write(self, picture: _Picture) -> None:
        image = picture.image
        # The gate refuses other frames too, and there is no PNG of them.
        if image.size == 0 or image.dtype not in ("uint8", "uint16"):
            raise SinkError(f"{image.dtype} {list(image.shape)} is no picture")
        if not self._retention.has_room():
            raise SinkError(f"the disk has less than {self._config.min_free_mib} MiB left")
        path = self._folder / f"{picture.name}.png"
        write_picture(path, image)
        size_bytes = path.stat().st_size
        if self._config.overlays:
            from dtgd_edge.runtime.overlay import overlay

            beside = path.with_suffix(".jpg")
            write_picture(beside, overlay(image, picture.verdict, sensor_bits=self._sensor_bits))
            size_bytes += beside.stat().st_size
        self._retention.add(Kept(path.stem, path.parent.name, size_bytes))

    def _prune(self) -> None:
        try:
            self._retention.prune(time.time_ns())
        except OSError as exc:
            text = (
                f"an old picture cannot be deleted ({exc}); expected the right to; check the folder's rights"
            )
            self._events.tell(Event("pictures stuck", text, is_alarm=True, who=_WHO))

    def _lose(self, why: str) -> None:
        with self._lock:
            self._lost += 1
            self._lost_now += 1
            is_first = self._lost_now == 1
        if is_first:
            self._events.tell(Event("pictures lost", why, is_alarm=True, who=_WHO))

    def _found(self) -> None:
        with self._lock:
            lost, self._lost_now = self._lost_now, 0
        if lost:
            self._events.tell(Event("pictures back", f"{lost} frames were not kept meanwhile", who=_WHO))
