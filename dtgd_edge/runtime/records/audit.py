"""The audit log: every verdict and every event, in rows that prove each other."""

import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dtgd_edge.errors import ConfigError, SinkError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.records.append import LogAppender
from dtgd_edge.runtime.records.archive import PictureArchive
from dtgd_edge.runtime.records.chain import read_key
from dtgd_edge.runtime.records.keeper import Keeper
from dtgd_edge.runtime.records.losses import Losses
from dtgd_edge.runtime.records.row import Draft, Entry, Judge, draft_of_event, draft_of_verdict
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict

# Rows of one transaction: a lock or a full disk takes so many with it at most.
_BATCH_ROWS = 500
_RETRY_S = 1.0
_WHO = "audit log"


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """The table [audit] of a line's file.

    Attributes:
        path: the log; made if missing, appended to otherwise.
        commit_every_ms: 0: a verdict is committed before the sinks after this one get it. Above: the loop
            does not wait, and a killed process loses the verdicts of so many milliseconds at most.
        synchronous: "normal": a killed process loses no committed row, a power cut the newest
            `sync_every_ms` or so; "full": a power cut loses none either, and each commit waits for the disk.
        sync_every_ms: between two rounds that sync the disk and write the side file LOG.anchor.
        timeout_ms: `write` gives up after so long: a locked or stalled disk must not hold the line.
        queue_rows: rows that may wait for the disk.
        pixels_digest: "every" frame, only those with a "kept" picture, or "none"; SHA-256 takes about
            0.6 ms per MB of pixels.
        key_file: secret for an HMAC instead of a plain hash; "": none. A log keeps what it began with.
        is_required: a verdict that cannot be recorded counts as NO_DECISION (see first.py).
    """

    path: str = "audit.db"
    commit_every_ms: int = 0
    synchronous: Literal["normal", "full"] = "normal"
    sync_every_ms: int = 1000
    timeout_ms: int = 500
    queue_rows: int = 2000
    pixels_digest: Literal["every", "kept", "none"] = "every"
    key_file: str = ""
    is_required: bool = True

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("audit path is empty; expected a file; name one, for instance audit.db")
        if not 0 <= self.commit_every_ms <= 10_000:
            raise ConfigError(
                f"audit commit_every_ms {self.commit_every_ms} is impossible; expected 0 to 10000; use 0"
            )
        for name, least in (("sync_every_ms", 10), ("timeout_ms", 10), ("queue_rows", 1)):
            if (value := getattr(self, name)) < least:
                raise ConfigError(f"audit {name} {value} is impossible; expected {least} or more; raise it")


class AuditSink(Sink):
    """Records verdicts, and events of any thread (`events.listen(audit.note)`).

    One thread writes. While the disk refuses, every `write` tries again and raises; what was not recorded is
    counted, and the first row afterwards is an event "not recorded" that says how much. "sink down" and
    "sink back" are told once each.

    Args:
        config: where and how.
        judge: who judges from now on.
        events: is told when the log is down and back.
        pictures: asked for every verdict whether it keeps the picture; closed by whoever made it.

    Raises:
        SinkError: the log cannot be opened or written.
        ConfigError: the key file is none, or the log has another one.
    """

    def __init__(
        self,
        config: AuditConfig,
        judge: Judge,
        events: Events | None = None,
        pictures: PictureArchive | None = None,
    ) -> None:
        self.run = secrets.token_hex(4)
        self._config = config
        self._judge = judge
        self._events = events or Events()
        self._pictures = pictures
        self._path = Path(config.path).expanduser()
        key = read_key(Path(config.key_file).expanduser()) if config.key_file else None
        # SQLite's wait is the shorter one, so that `write` hears why rather than that.
        self._appender = LogAppender(
            self._path, self.run, key, config.synchronous, config.timeout_ms * 3 // 4
        )
        self._changed = threading.Condition()
        self._queue: deque[Entry] = deque()
        self._losses = Losses()
        self._accounted = Losses()  # what the account that is being written tells of
        self._waiting = 0
        self._fault: str | None = None
        self._is_closed = False
        self._writer = threading.Thread(target=self._work, name="dtgd-audit", daemon=True)
        self._keeper = Keeper(self._path, self._appender, config.sync_every_ms, self._kept)
        try:
            self._appender.append([draft_of_event(Event("run started", f"run {self.run}", who=_WHO))])
            self._keeper.start()
        except BaseException:
            self._appender.close()
            raise
        self._writer.start()

    @property
    def unrecorded(self) -> int:
        """Verdicts that no row tells of yet."""
        with self._changed:
            return self._losses.verdicts + self._accounted.verdicts

    def judged_by(self, judge: Judge) -> None:
        """Another bundle or device judges from now on; call it between two verdicts."""
        self._judge = judge

    def write(self, verdict: Verdict, frame: Frame) -> None:
        """Record one verdict.

        Raises:
            SinkError: it was not recorded within `timeout_ms`. When its commit had begun by then and succeeds
                later, an event "recorded late" follows the row.
        """
        entry = Entry(self._draft(verdict, frame))
        with self._changed:
            fault = self._enqueue(entry)
            must_wait = self._config.commit_every_ms == 0 or self._fault is not None
            if fault is None and must_wait:
                fault = self._settled(entry)
        if fault is not None:
            self._down(fault)
            raise SinkError(fault)

    def note(self, event: Event) -> None:
        """Record an event; never waits. After `close` there is no log any more to record it in."""
        entry = Entry(draft_of_event(event))
        with self._changed:
            if not self._is_closed:
                self._enqueue(entry)

    def close(self) -> None:
        """Record what waits and the end of the run; sync.

        Raises:
            SinkError: some verdicts were not recorded, and no row says so.
        """
        with self._changed:
            if self._is_closed:
                return
            self._enqueue(Entry(draft_of_event(Event("run ended", f"run {self.run}", who=_WHO))))
            self._is_closed = True
            self._changed.notify_all()
        limit_s = 2 * self._config.timeout_ms / 1e3 + 5
        self._writer.join(limit_s)
        self._keeper.close(limit_s)
        if not self._writer.is_alive():
            self._appender.close()
        with self._changed:
            losses = self._losses
            losses.add_earlier(self._accounted)
            if self._writer.is_alive():
                losses.add([e.draft for e in self._queue], "the disk does not answer")
            if losses:
                raise SinkError(
                    f"audit log {self._path} lacks {losses.text()}; expected every verdict; "
                    "free some space and see what stopped the disk"
                )

    def _draft(self, verdict: Verdict, frame: Frame) -> Draft:
        picture = None if self._pictures is None else self._pictures.keep(verdict, frame)
        wanted = self._config.pixels_digest
        has_digest = wanted == "every" or (wanted == "kept" and picture is not None)
        return draft_of_verdict(verdict, self._judge, frame.image if has_digest else None, picture)

    def _enqueue(self, entry: Entry) -> str | None:
        """Under the lock: queue an entry, or count it as lost and say why."""
        if self._is_closed:
            return f"audit log {self._path} is closed; expected an open one; open it again"
        if len(self._queue) >= self._config.queue_rows:
            self._losses.add([entry.draft], "the disk was too slow")
            return (
                f"audit log {self._path} has {len(self._queue)} rows waiting; expected a quicker disk; "
                "see what slows it or raise queue_rows"
            )
        self._queue.append(entry)
        self._changed.notify_all()
        return None

    def _settled(self, entry: Entry) -> str | None:
        """Under the lock: wait for an entry's commit; what went wrong."""
        self._waiting += 1
        try:
            in_time = self._changed.wait_for(lambda: entry.is_settled, self._config.timeout_ms / 1e3)
        finally:
            self._waiting -= 1
        if in_time:
            return entry.fault
        entry.is_given_up = True
        return (
            f"audit log {self._path} did not take a verdict in {self._config.timeout_ms} ms; expected a disk "
            "that answers; see what holds it, or raise timeout_ms"
        )

    def _work(self) -> None:
        """The writing thread."""
        is_done = False
        while not is_done:
            batch = self._take()
            is_recording = bool(batch or self._accounted)
            fault = self._record([entry.draft for entry in batch])
            with self._changed:
                for entry in batch:
                    entry.fault, entry.is_settled = fault, True
                self._changed.notify_all()
                is_done = self._is_closed and not self._queue
                late = [str(entry.draft.columns["frame"]) for entry in batch if entry.is_given_up]
            if fault is not None:
                self._down(fault)
            elif is_recording:
                self._up()
            if fault is None and late:
                detail = f"frames {', '.join(late)}: their rows were committed after the line had given up"
                self._record([draft_of_event(Event("recorded late", detail, is_alarm=True, who=_WHO))])

    def _take(self) -> list[Entry]:
        """Wait for entries, for an account of losses that is due, or for the end."""
        with self._changed:
            while not self._queue and not self._is_closed:
                is_due = not self._changed.wait_for(lambda: self._queue or self._is_closed, _RETRY_S)
                if is_due and self._losses:
                    break
            self._await_company()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH_ROWS))]
            given_up = [entry.draft for entry in batch if entry.is_given_up]
            self._losses.add(given_up, "the disk did not answer in time")
            self._accounted, self._losses = self._losses, Losses()
            return [entry for entry in batch if not entry.is_given_up]

    def _await_company(self) -> None:
        """Under the lock: let rows gather for one commit, unless somebody waits for his."""
        if not self._queue:
            return
        due_ns = self._queue[0].draft.mono_ns + self._config.commit_every_ms * 1_000_000
        while not (self._is_closed or self._waiting or len(self._queue) >= _BATCH_ROWS):
            remaining_s = (due_ns - time.monotonic_ns()) / 1e9
            if remaining_s <= 0:
                return
            self._changed.wait(remaining_s)

    def _record(self, drafts: list[Draft]) -> str | None:
        """Commit rows after the account of what was lost before; what went wrong."""
        account = [draft_of_event(self._accounted.event())] if self._accounted else []
        fault = None
        try:
            if account or drafts:
                self._appender.append([*account, *drafts])
        except SinkError as exc:
            fault = str(exc)
            with self._changed:
                self._losses.add(drafts, str(exc.__cause__))
                self._losses.add_earlier(self._accounted)
        with self._changed:
            self._accounted = Losses()
        return fault

    def _down(self, fault: str) -> None:
        with self._changed:
            was_up, self._fault = self._fault is None, fault
        if was_up:
            self._events.tell(Event("sink down", fault, is_alarm=True, who=_WHO))

    def _up(self) -> None:
        with self._changed:
            was_down, self._fault = self._fault is not None, None
        if was_down:
            self._events.tell(Event("sink back", f"audit log {self._path} records again", who=_WHO))

    def _kept(self, fault: str | None) -> None:
        back = Event("sync back", f"audit log {self._path} is synced again", who=_WHO)
        self._events.tell(back if fault is None else Event("sync failed", fault, is_alarm=True, who=_WHO))
