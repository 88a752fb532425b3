"""The inspector of a running line: one object that loop and page see, whichever bundle is active."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from dtgd_edge.bundle import Bundle, Manifest
from dtgd_edge.errors import BackendError
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.judge import no_decision
from dtgd_edge.runtime.session import Session, check_golden
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict

# Consecutive failures that may be a hiccup of the device; then the session counts as lost.
HICCUPS = 3

OpenInspector = Callable[[Bundle], Inspector]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A bundle with an inspector whose session is open.

    Attributes:
        path: where the bundle was read; for people.
        bundle: stays in memory, so that the session can be opened again whatever became of the file.
        inspector: open.
    """

    path: Path
    bundle: Bundle
    inspector: Inspector

    @classmethod
    def open(cls, path: Path | str, open_inspector: OpenInspector) -> "Opened":
        """Read a bundle, open a session for it and prove it on the golden frames.

        Raises:
            BundleError: the bundle cannot be used.
            BackendError: no session, or one that disagrees with the golden scores.
        """
        return cls.of(Path(path), Bundle.open(path), open_inspector)

    @classmethod
    def of(cls, path: Path, bundle: Bundle, open_inspector: OpenInspector) -> "Opened":
        """The same for a bundle that has been read."""
        opened = cls(path, bundle, open_inspector(bundle))
        try:
            opened.prove()
        except BaseException:
            opened.close()
            raise
        return opened

    @property
    def label(self) -> str:
        """Which bundle it is, for people: name, digest of the graph, threshold it runs at."""
        manifest = self.bundle.manifest
        return (
            f"{manifest.name} {manifest.graph_sha256[:12]} ({manifest.precision}, "
            f"threshold {self.inspector.threshold:.4g})"
        )

    def prove(self) -> float:
        """Score the golden frames again; the null session computes nothing and proves nothing.

        Returns:
            The largest difference of a score, in score units.

        Raises:
            BackendError: the session failed, or a score is off by more than the bundle's tolerance.
        """
        if self.inspector.session.spec.backend == "null":
            return 0.0
        return check_golden(self.bundle, self.inspector.session)

    def opened_again(self, open_inspector: OpenInspector) -> "Opened":
        """Close the session and open and prove another one, at the same threshold.

        Raises:
            BackendError: no session, or one that disagrees with the golden scores.
        """
        threshold = self.inspector.threshold
        self.close()  # first: a small device has no room for two
        again = Opened.of(self.path, self.bundle, open_inspector)
        if again.inspector.threshold != threshold:
            again.inspector.set_threshold(threshold)
        return again

    def close(self) -> None:
        """Close the session."""
        self.inspector.close()


class LiveInspector:
    """Judges frames with the active inspector, which can change between two frames.

    While somebody holds the line, or after its session was lost, every verdict is NO_DECISION. It never
    raises BackendError: a failed frame is NO_DECISION, and Recovery opens a lost session again.

    Only the judging thread may change what is active; any thread may read the properties and set the
    threshold.

    Args:
        first: active at first; closed by `close`, as is whatever is active then.
        events: are told when the session is lost.
        hiccups: so many failures in a row, and the session counts as lost.
    """

    def __init__(self, first: Opened, events: Events, hiccups: int = HICCUPS) -> None:
        self._active = first
        self._events = events
        self._hiccups = hiccups
        self._failures = 0
        self._lost: str | None = None
        self._hold: str | None = None
        self._judged = 0
        self._generation = 0
        self._last: tuple[Verdict, Frame] | None = None

    @property
    def active(self) -> Opened:
        """What judges now."""
        return self._active

    @property
    def manifest(self) -> Manifest:
        """Of the active bundle."""
        return self._active.bundle.manifest

    @property
    def session(self) -> Session:
        """Of the active bundle."""
        return self._active.inspector.session

    @property
    def threshold(self) -> float:
        """A score above it is NG."""
        return self._active.inspector.threshold

    @property
    def generation(self) -> int:
        """Counts what has been active; another number means another session."""
        return self._generation

    @property
    def judged(self) -> int:
        """Frames so far; `last` is new when it has changed."""
        return self._judged

    @property
    def last(self) -> tuple[Verdict, Frame] | None:
        """The newest frame and the verdict about it."""
        return self._last

    @property
    def hold_reason(self) -> str | None:
        """Why every verdict is NO_DECISION; None while the line is judged."""
        return self._lost or self._hold

    @property
    def is_lost(self) -> bool:
        """Whether the session has to be opened again."""
        return self._lost is not None

    def set_threshold(self, value: float) -> None:
        """Judge at another threshold from the next frame on."""
        self._active.inspector.set_threshold(value)

    def inspect(self, frame: Frame) -> Verdict:
        """Judge one frame; NO_DECISION while the line is held or the session is lost."""
        reason = self.hold_reason
        verdict = no_decision(frame, self.threshold, reason) if reason else self._judge(frame)
        self._last = (verdict, frame)
        self._judged += 1
        return verdict

    def hold(self, reason: str) -> None:
        """Give no verdict but NO_DECISION from now on, for this reason: "kind: detail"."""
        self._hold = reason

    def release(self) -> None:
        """Judge again."""
        self._hold = None

    def lose(self, why: str) -> None:
        """Count the session as lost: nothing is judged until `install`."""
        if self._lost is None:
            self._lost = f"session failed: {why}"
            self._events.tell(
                Event(
                    "session lost", f"{self._active.label}: {why}; every part is NO_DECISION", is_alarm=True
                )
            )

    def install(self, opened: Opened) -> Opened:
        """Make something else active, from the next frame on; what held the line held the old session.

        Args:
            opened: proven on its golden frames.

        Returns:
            What was active; still open, and the caller's to close.
        """
        previous, self._active = self._active, opened
        self._generation += 1
        self._failures, self._lost, self._hold = 0, None, None
        return previous

    def close(self) -> None:
        """Close the active session."""
        self._active.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _judge(self, frame: Frame) -> Verdict:
        try:
            verdict = self._active.inspector.inspect(frame)
        except BackendError as exc:
            _log.error("frame %d: %s", frame.index, exc)
            self._failures += 1
            if self._failures >= self._hiccups:
                self.lose(str(exc))
            return no_decision(frame, self.threshold, f"session failed: {exc}")
        if verdict.score is not None:
            self._failures = 0
        return verdict
