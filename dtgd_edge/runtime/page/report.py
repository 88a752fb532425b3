"""What the page's script, a health probe and a browser's address line are told about the line."""

import importlib.metadata
import secrets
from dataclasses import dataclass, field
from typing import Any

from dtgd_edge.errors import DtgdError
from dtgd_edge.runtime.event import Event
from dtgd_edge.runtime.page.active import Active
from dtgd_edge.runtime.page.alarms import Alarms
from dtgd_edge.runtime.page.album import Album, Reject
from dtgd_edge.runtime.page.config import PageConfig
from dtgd_edge.runtime.page.controls import Controls
from dtgd_edge.runtime.page.state import LineState, Snapshot, TrendPoint
from dtgd_edge.runtime.promise import promise_text

# So many frames in a row that cannot be judged are a fault and no hiccup.
UNDECIDED_LIMIT = 25
_EVENTS = 40
_VERSION = importlib.metadata.version("dtgd-edge")


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Where the line's frames come from.

    Attributes:
        description: for people.
        is_live: whether frames arrive by themselves, so that silence is a fault.
    """

    description: str = ""
    is_live: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the line works.

    Attributes:
        is_waiting: it works and has nothing to judge yet.
        reasons: why it does not work, a sentence each; empty when it does.
    """

    is_waiting: bool
    reasons: tuple[str, ...]

    @property
    def is_healthy(self) -> bool:
        return not self.reasons

    @property
    def status(self) -> str:
        """In one word."""
        return "fault" if self.reasons else "waiting" if self.is_waiting else "running"


@dataclass(frozen=True, slots=True)
class Report:
    """Reads a line's state for those who ask.

    Attributes:
        state, alarms, album: where verdicts and events were gathered.
        active: what judges now.
        config: of the page.
        controls: of the line.
        source: where frames come from.
        run: tells this run of the line from others, whose verdicts are counted from 1 too.
    """

    state: LineState
    alarms: Alarms
    album: Album
    active: Active
    config: PageConfig
    controls: Controls
    source: SourceFacts
    run: str = field(default_factory=lambda: secrets.token_hex(8))

    def health(self, snapshot: Snapshot) -> Health:
        """Judge the line's health; waiting for frames is healthy unless they should come by themselves."""
        reasons = [f"{fault.kind}: {fault.detail}" for fault in self.alarms.faults()]
        limit_s = self.config.silence_limit_s
        if self.source.is_live and limit_s and snapshot.age_s > limit_s:
            reasons.append(f"silence: no frame for {snapshot.age_s:.0f} s, expected one within {limit_s:g} s")
        if snapshot.undecided_in_row >= UNDECIDED_LIMIT:
            reason = snapshot.latest.reason if snapshot.latest is not None else None
            reasons.append(f"no decision: {snapshot.undecided_in_row} frames in a row, the last one {reason}")
        return Health(snapshot.latest is None, tuple(reasons))

    def health_record(self) -> dict[str, Any]:
        """Healthz as plain JSON values."""
        snapshot = self.state.snapshot()
        health = self.health(snapshot)
        return {
            "status": health.status,
            "is_healthy": health.is_healthy,
            "reasons": list(health.reasons),
            "verdicts": snapshot.sequence,
            "last_verdict_age_s": round(snapshot.age_s, 3) if snapshot.latest is not None else None,
        }

    def state_record(self, after: int, can_write: bool) -> dict[str, Any]:
        """Everything that the page shows, as plain JSON values.

        Args:
            after: only newer points of the trend.
            can_write: whether who asks has logged in.
        """
        snapshot = self.state.snapshot()
        health = self.health(snapshot)
        latest = snapshot.latest
        return {
            "run": self.run,
            "version": _VERSION,
            "uptime_s": round(snapshot.uptime_s, 1),
            "bundle": self._bundle(),
            "threshold": self._threshold(),
            "source": {"description": self.source.description, "is_live": self.source.is_live},
            "sequence": snapshot.sequence,
            "verdict": None if latest is None else {**latest.record(), "age_s": round(snapshot.age_s, 3)},
            "counts": {decision.value: count for decision, count in snapshot.counts.items()},
            "reasons": snapshot.reasons,
            "skipped": snapshot.skipped,
            "per_minute": round(snapshot.per_minute, 1),
            "latency_ms": snapshot.latency_ms.record(),
            "trend": [_point(point) for point in snapshot.trend if point.sequence > after],
            "trend_length": self.config.trend,
            "rejects": [_reject(reject) for reject in self.album.rejects()],
            "health": {"status": health.status, "reasons": list(health.reasons)},
            "alarms": [event_record(event) for event in self.alarms.unseen()],
            "events": [event_record(event) for event in self.alarms.recent()[:_EVENTS]],
            "can_write": can_write,
            "controls": self._controls(),
        }

    def _bundle(self) -> dict[str, Any]:
        manifest, spec = self.active.manifest, self.active.session.spec
        return {
            "name": manifest.name,
            "precision": manifest.precision,
            "digest": manifest.graph_sha256,
            "session": spec.backend,
            "device": spec.device,
            "created": manifest.provenance.created,
        }

    def _threshold(self) -> dict[str, Any]:
        own, value = self.active.manifest.threshold, self.active.threshold
        is_own = value == own.value
        return {
            "value": value,
            "rule": own.rule if is_own else "changed by hand",
            "bundle_value": own.value,
            "promise": promise_text(own)
            if is_own
            else f"none: the threshold was changed by hand, the bundle's own is {own.value:.4g}",
        }

    def _controls(self) -> dict[str, Any]:
        controls = self.controls
        offer, fault = None, None
        if controls.swap_offer is not None:
            try:
                offer = controls.swap_offer()
            except DtgdError as exc:
                fault = str(exc)
        return {
            "threshold": controls.change_threshold is not None,
            "trigger": controls.trigger is not None,
            "test_output": controls.test_output is not None,
            "switch": controls.switch is not None and offer is not None,
            "rollback": controls.rollback is not None,
            "offer": None
            if offer is None
            else {"name": offer.name, "report": offer.report, "is_ready": offer.is_ready},
            "offer_fault": fault,
        }


def event_record(event: Event) -> dict[str, Any]:
    """An event as plain JSON values; `at_ms` counts from 1970."""
    return {
        "at_ms": event.at_ns // 1_000_000,
        "kind": event.kind,
        "detail": event.detail,
        "is_alarm": event.is_alarm,
        "who": event.who,
    }


def _point(point: TrendPoint) -> list[Any]:
    return [point.sequence, _rounded(point.score), _rounded(point.threshold), point.decision.value]


def _reject(reject: Reject) -> dict[str, Any]:
    record = reject.verdict.record()
    del record["stages_ms"]
    return {
        "id": reject.sequence,
        "at_ms": reject.at_ns // 1_000_000,
        "has_picture": reject.jpeg is not None,
        **record,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
