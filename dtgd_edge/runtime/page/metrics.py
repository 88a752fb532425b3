"""The line in Prometheus's text format."""

from collections.abc import Iterator, Mapping

from dtgd_edge.runtime.page.report import Report
from dtgd_edge.runtime.page.state import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Labels = Mapping[str, str]


def metrics_text(report: Report) -> str:
    """Say everything that is counted, in base units: seconds, not milliseconds."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    snapshot, events = report.state.snapshot(), report.alarms.counts()
    manifest, session = report.active.manifest, report.active.session.spec
    yield from _metric(
        "dtgd_verdicts_total",
        "counter",
        "Verdicts by decision.",
        [({"decision": decision.value}, count) for decision, count in snapshot.counts.items()],
    )
    yield from _metric(
        "dtgd_no_decision_total",
        "counter",
        "Verdicts without decision by the kind of their reason.",
        [({"reason": reason}, count) for reason, count in snapshot.reasons.items()],
    )
    yield from _histogram(
        "dtgd_latency_seconds", "Arrival of a frame to its verdict.", snapshot.latencies_ms, 1e-3
    )
    yield from _histogram(
        "dtgd_score_ratio", "Score over its threshold; above 1 is NG.", snapshot.scores, 1.0
    )
    skipped = "Frame numbers that got no verdict: dropped for newer ones, or not asked about."
    yield from _metric("dtgd_frames_without_verdict_total", "counter", skipped, [({}, snapshot.skipped)])
    yield from _metric(
        "dtgd_reconnects_total",
        "counter",
        "Times that the source came back.",
        [({}, events.get("source back", 0))],
    )
    yield from _metric(
        "dtgd_events_total",
        "counter",
        "Events by kind.",
        [({"kind": kind}, count) for kind, count in events.items()],
    )
    yield from _metric(
        "dtgd_fault_open",
        "gauge",
        "1 while a fault is open: of the source, a sink or the self-test.",
        [({"kind": fault.kind, "who": fault.who}, 1) for fault in report.alarms.faults()],
    )
    gauges = {
        "dtgd_threshold": ("A score above it is NG.", report.active.threshold),
        "dtgd_last_verdict_age_seconds": (
            "Since the last verdict, or the start before the first.",
            snapshot.age_s,
        ),
        "dtgd_uptime_seconds": ("Since the start.", snapshot.uptime_s),
        "dtgd_healthy": ("What /healthz says.", float(report.health(snapshot).is_healthy)),
        "dtgd_unseen_alarms": ("Alarms that nobody has seen.", len(report.alarms.unseen())),
    }
    for name, (text, value) in gauges.items():
        yield from _metric(name, "gauge", text, [({}, value)])
    info = {
        "name": manifest.name,
        "precision": manifest.precision,
        "digest": manifest.graph_sha256,
        "session": session.backend,
    }
    yield from _metric("dtgd_bundle_info", "gauge", "The bundle that judges.", [(info, 1)])


def _metric(name: str, kind: str, text: str, samples: list[tuple[_Labels, float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{_labels(labels)} {_number(value)}"


def _histogram(name: str, text: str, histogram: Histogram, unit: float) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} histogram"
    total = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        total += count
        yield f"{name}_bucket{_labels({'le': _number(bound * unit)})} {total}"
    yield f"{name}_sum {_number(histogram.sum * unit)}"
    yield f"{name}_count {total}"


def _labels(labels: _Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else f"{value:.12g}"
