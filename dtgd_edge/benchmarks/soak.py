"""A soak: the whole line at full speed for many frames, its memory watched and its records counted.

The frames are drawn beforehand and the truth is computed from them by another way than the line's, so that
every verdict can be compared. The session is ONNX Runtime with the grey bundle: real, and quick.
"""

import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtgd_edge.benchmarks.flatness import Slope, held_bytes, slope_of
from dtgd_edge.benchmarks.grey import grey_bundle
from dtgd_edge.benchmarks.machine import Machine, this_machine
from dtgd_edge.benchmarks.soak_plan import PlannedSource, SoakPlan
from dtgd_edge.config import mapping_from_record
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.assembly import Line, open_line
from dtgd_edge.runtime.line import LineConfig, LoopConfig
from dtgd_edge.runtime.outputs.settings import OutputsConfig
from dtgd_edge.runtime.page.config import PageConfig
from dtgd_edge.runtime.records.audit import AuditConfig
from dtgd_edge.runtime.records.log import AuditLog
from dtgd_edge.runtime.records.proof import prove
from dtgd_edge.runtime.reject.settings import RejectConfig
from dtgd_edge.runtime.selftest import SelfTestConfig
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.runtime.source_config import SourceConfig
from dtgd_edge.runtime.summary import Summary
from dtgd_edge.verdict import Decision, Verdict

FRAMES = 100_000
# Upper end of the slope's confidence interval; one forgotten float a frame is more.
LIMIT_BYTES_PER_FRAME = 16.0
# Long enough for the loop to be kept waiting on a busy machine, without a late verdict.
DELAY_MS = 500.0
# Often: what is on its way at a moment is noise, of up to a megabyte, and the slope is sought under it.
_SAMPLE_EVERY = 100


@dataclass(frozen=True, slots=True)
class Soak:
    """What a soak has shown.

    Attributes:
        frames, seconds, frames_per_s: how much, how long, how fast.
        truth: what the verdicts had to be, by decision.
        counted: what the run's summary says they were.
        recorded: what the audit log says they were.
        output: what the reject line's output was shown: parts by decision, "rejected", "late", "missing".
        page: what the operator's page tells Prometheus.
        lost, doubled, wrong: frames without a row in the audit log, with two, with another verdict than
            the truth.
        chain: "" when the log proves itself, else what it lacks.
        memory: growth of the memory over the second half.
        memory_mib: held at the end.
        stages_ms: time of each stage, and of the sinks.
        shortfalls: what was not as expected.
        session: what scored.
        machine: where.
    """

    frames: int
    seconds: float
    frames_per_s: float
    truth: dict[str, int]
    counted: dict[str, int]
    recorded: dict[str, int]
    output: dict[str, int]
    page: dict[str, int]
    lost: int
    doubled: int
    wrong: int
    chain: str
    memory: Slope
    memory_mib: float
    stages_ms: dict[str, Percentiles]
    shortfalls: tuple[str, ...]
    session: str
    machine: Machine

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return mapping_from_record(self)

    def text(self) -> str:
        """For people."""
        lines = [
            f"{self.frames} frames in {self.seconds:.0f} s, {self.frames_per_s:.0f} a second, {self.session}",
            f"truth          {_counts_text(self.truth)}",
            f"summary        {_counts_text(self.counted)}",
            f"audit log      {_counts_text(self.recorded)}; {self.lost} lost, {self.doubled} doubled, "
            f"{self.wrong} wrong; chain {self.chain or 'whole'}",
            f"reject line    {_counts_text(self.output)}",
            f"page           {_counts_text(self.page)}",
            f"memory         {self.memory_mib:.1f} MiB, second half: {self.memory.per_frame:+.2f} bytes a "
            f"frame (95 %: {self.memory.lowest:+.2f} to {self.memory.highest:+.2f}), "
            f"limit {LIMIT_BYTES_PER_FRAME:.0f}",
            *(f"FELL SHORT: {text}" for text in self.shortfalls),
        ]
        return "\n".join(lines)


def _counts_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def run_soak(folder: Path, frames: int = FRAMES, say: Callable[[str], None] = lambda text: None) -> Soak:
    """Soak a line.

    Args:
        folder: empty; receives bundle and audit log.
        frames: how many.
        say: is told how far it is.
    """
    plan = SoakPlan.drawn(frames)
    bundle = folder / "grey.dtgd"
    grey_bundle(plan.threshold).save(bundle)
    config = LineConfig(
        source=SourceConfig("sample:"),
        loop=LoopConfig(backend="ort", threads=1),
        selftest=SelfTestConfig(every_s=5.0),
        audit=AuditConfig(path=str(folder / "audit.db")),
        outputs=OutputsConfig(is_simulated=True),
        http=PageConfig(address="127.0.0.1:0"),
        reject=RejectConfig(delay_ms=DELAY_MS, pulse_ms=1.0, safe_state="reject"),
    )
    memory = _Memory(frames, say)
    with open_line(config, bundle, PlannedSource(plan)) as line:
        line.outlets.append(memory)
        summary = line.run()
        counts, page = _last_counts(line), _page_counts(line)
        session = line.live.active.inspector.session.spec.device
    found = _compared(folder / "audit.db", plan)
    return _judged(plan, summary, counts, page, found, memory, session)


class _Memory(Sink):
    """Samples the memory as verdicts go by."""

    def __init__(self, frames: int, say: Callable[[str], None]) -> None:
        self.samples: list[tuple[int, int]] = []
        self._seen = 0
        self._frames = frames
        self._say = say
        self._begun = time.monotonic()

    def write(self, verdict: Verdict, frame: Frame) -> None:
        self._seen += 1
        if self._seen % _SAMPLE_EVERY == 0:
            self.samples.append((self._seen, held_bytes()))
        if self._seen % max(1, self._frames // 10) == 0:
            speed = self._seen / (time.monotonic() - self._begun)
            held_mib = self.samples[-1][1] / 2**20
            self._say(f"{self._seen} frames, {speed:.0f} a second, {held_mib:.1f} MiB held")

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class _Found:
    recorded: dict[str, int]
    lost: int
    doubled: int
    wrong: int
    chain: str


def _compared(log: Path, plan: SoakPlan) -> _Found:
    """Compare the audit log row by row with the truth."""
    times: Counter[int] = Counter()
    recorded: Counter[str] = Counter()
    wrong = 0
    with AuditLog(log) as opened:
        for row in opened.rows():
            if row.kind != "verdict" or row.frame is None:
                continue
            times[row.frame] += 1
            recorded[row.decision or ""] += 1
            wrong += row.decision != plan.truth(row.frame).value or row.part != row.frame
    proof = prove(log)
    return _Found(
        recorded={decision.value: recorded[decision.value] for decision in Decision},
        lost=sum(index not in times for index in range(plan.frames)),
        doubled=sum(count > 1 for count in times.values()),
        wrong=wrong,
        chain=proof.fault or "",
    )


def _last_counts(line: Line) -> dict[str, int]:
    """What the reject line counted, once the last part has passed the ejector."""
    assert line.reject is not None, "the soak has a reject line"
    deadline = time.monotonic() + 5.0
    while line.reject.signals.is_busy and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(1.5 * DELAY_MS / 1e3)  # the last part's way to the ejector
    counts = line.reject.signals.counts
    return {
        "OK": counts.ok,
        "NG": counts.ng,
        "NO_DECISION": counts.no_decision,
        "rejected": counts.rejected,
        "late": counts.late,
        "missing": counts.missing,
    }


def _page_counts(line: Line) -> dict[str, int]:
    """What somebody who looks at the page's metrics sees."""
    assert line.page is not None, "the soak has a page"
    with urllib.request.urlopen(f"{line.page.server.url}metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = dict(re.findall(r'^dtgd_verdicts_total\{decision="(\w+)"\} (\d+)$', text, re.MULTILINE))
    return {decision.value: int(found.get(decision.value, -1)) for decision in Decision}


def _judged(
    plan: SoakPlan,
    summary: Summary,
    output: dict[str, int],
    page: dict[str, int],
    found: _Found,
    memory: _Memory,
    session: str,
) -> Soak:
    truth = plan.truths()
    counted = {"OK": summary.ok, "NG": summary.ng, "NO_DECISION": summary.no_decision}
    half = [sample for sample in memory.samples if sample[0] > plan.frames // 2]
    slope = slope_of(half)
    expectations = {
        f"the summary counts {counted}": counted == truth,
        f"the audit log counts {found.recorded}": found.recorded == truth,
        f"the reject line counts {output}": {k: output[k] for k in truth} == truth,
        f"the page counts {page}": page == truth,
        f"{output['rejected']} parts were rejected": output["rejected"] == plan.frames - truth["OK"],
        f"{output['late']} verdicts were late and {output['missing']} missing": not (
            output["late"] or output["missing"]
        ),
        f"{found.lost} verdicts are lost and {found.doubled} doubled": not (found.lost or found.doubled),
        f"{found.wrong} verdicts are not the truth": not found.wrong,
        f"the audit log does not hold: {found.chain}": not found.chain,
        f"the memory grows by up to {slope.highest:.1f} bytes a frame": slope.highest
        <= LIMIT_BYTES_PER_FRAME,
    }
    return Soak(
        frames=plan.frames,
        seconds=round(summary.seconds, 1),
        frames_per_s=round(plan.frames / summary.seconds, 1),
        truth=truth,
        counted=counted,
        recorded=found.recorded,
        output=output,
        page=page,
        lost=found.lost,
        doubled=found.doubled,
        wrong=found.wrong,
        chain=found.chain,
        memory=slope,
        memory_mib=round(memory.samples[-1][1] / 2**20, 1) if memory.samples else 0.0,
        stages_ms=dict(summary.stages_ms),
        shortfalls=tuple(text for text, holds in expectations.items() if not holds),
        session=session,
        machine=this_machine(),
    )
