"""Opens everything that a line's file asks for, in the one right order, and closes it in reverse.

A record that cannot be opened, an output that is not there or a bundle that fails its proof end the start
before the first frame is taken: a line that runs has all that its file says.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dtgd_edge.bundle import Bundle
from dtgd_edge.runtime.chore import Chore
from dtgd_edge.runtime.delivery import Outlet
from dtgd_edge.runtime.drift import Drift
from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.inspector import Inspector, health_gate
from dtgd_edge.runtime.judge import PartJudge
from dtgd_edge.runtime.line import LineConfig
from dtgd_edge.runtime.live import LiveInspector, Opened, OpenInspector
from dtgd_edge.runtime.loop import run_loop
from dtgd_edge.runtime.masters import MasterParts
from dtgd_edge.runtime.outputs.open import open_outputs
from dtgd_edge.runtime.page.config import PageConfig
from dtgd_edge.runtime.page.controls import Controls, SwapOffer
from dtgd_edge.runtime.page.page import Page, open_page
from dtgd_edge.runtime.page.report import SourceFacts
from dtgd_edge.runtime.parts import PartJudge as VoteJudge
from dtgd_edge.runtime.records.archive import PictureArchive
from dtgd_edge.runtime.records.audit import AuditSink
from dtgd_edge.runtime.records.row import Judge
from dtgd_edge.runtime.recovery import Recovery
from dtgd_edge.runtime.reject.line import RejectLine
from dtgd_edge.runtime.selftest import SelfTest
from dtgd_edge.runtime.service import Service
from dtgd_edge.runtime.session import Session, open_session
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import FrameSource
from dtgd_edge.runtime.sources.triggered import TriggeredSource
from dtgd_edge.runtime.summary import Summary
from dtgd_edge.runtime.swap import Swap
from dtgd_edge.runtime.watch import BundleWatch
from dtgd_edge.verdict import Decision

OpenSession = Callable[[Bundle, str, int | None], Session]


@dataclass(slots=True, eq=False)
class Line:
    """A line, open.

    Attributes:
        config: what its file says.
        events: of everything on it.
        source: where frames come from.
        live: what judges.
        selftest, swap, masters, reject, audit, page: its parts; None: not on this line.
        outlets: every sink, in the order they are served.
        judges: between frames and parts.
        chores: between frames.
        service: the service manager.
    """

    config: LineConfig
    events: Events
    source: FrameSource
    live: LiveInspector
    selftest: SelfTest
    swap: Swap
    service: Service
    masters: MasterParts | None = None
    reject: RejectLine | None = None
    audit: AuditSink | None = None
    page: Page | None = None
    outlets: list[Sink | Outlet] = field(default_factory=list)
    judges: list[PartJudge] = field(default_factory=list)
    chores: list[Chore] = field(default_factory=list)

    def run(self, stop: threading.Event | None = None, max_frames: int | None = None) -> Summary:
        """Judge until the source ends or somebody stops it; as run_loop."""
        loop = self.config.loop
        self.service.ready(f"{self.source.description} -> {self.live.active.label}")
        try:
            return run_loop(
                self.source,
                self.live,
                self.outlets,
                stop=stop,
                queue_size=loop.queue_frames,
                max_frames=max_frames,
                silence_limit_s=loop.silence_limit_s,
                judges=self.judges,
                part_silence_s=loop.part_silence_s,
                chores=self.chores,
                watchdog=self.service.turned,
                events=self.events,
            )
        finally:
            self.service.stopping("the run ends")


@contextmanager
def open_line(
    config: LineConfig,
    bundle: Path,
    source: FrameSource,
    *,
    open_inspector: OpenInspector | None = None,
    open_session: OpenSession = open_session,
    events: Events | None = None,
    service: Service | None = None,
) -> Iterator[Line]:
    """Open a line; leaving the block closes it.

    Args:
        config: what its file says.
        bundle: what the first session runs.
        source: open; the loop closes it.
        open_inspector: opens sessions and judges with them; None: as `config` says.
        open_session: opens the sessions of such an inspector; `SharedSessions.open` for several lines that
            share one.
        events: for those who want to hear everything; None: the line's own.
        service: the manager to tell; None: nobody.

    Raises:
        BundleError, BackendError: no session, or one that disagrees with the golden scores.
        SinkError: a record or an output cannot be opened.
        ConfigError: what the file says does not go together.
    """
    events = events or Events()
    with ExitStack() as stack:
        stack.callback(source.close)
        opens = open_inspector or session_opener(config, source.is_live, open_session)
        live = stack.enter_context(LiveInspector(Opened.open(bundle, opens), events))
        swap = Swap(live, opens, config.swap, events)
        stack.callback(swap.close)
        selftest = SelfTest(live, config.selftest, events)
        line = Line(config, events, source, live, selftest, swap, service or Service())
        line.chores += [Recovery(live, opens, config.recovery, events), selftest, swap]
        if config.swap.watch:
            line.chores.append(BundleWatch(swap, config.swap, events))
        if config.policy.vote is not None:
            line.judges.append(VoteJudge(config.policy.vote, events))
        if config.masters is not None:
            line.masters = MasterParts(config.masters, events)
            line.judges.append(line.masters)
            line.chores.append(line.masters)
        _open_records(line, stack)
        _open_outputs(line, stack)
        if config.drift is not None:
            line.outlets.append(Outlet(Drift(live, config.drift, events), "drift", "tell"))
        line.outlets.append(Outlet(line.service, "service manager", "tell"))
        if config.http is not None:
            line.page = stack.enter_context(_page_of(line, config.http))
            line.outlets.append(Outlet(line.page.sink, "operator's page", "tell"))
        yield line


def session_opener(
    config: LineConfig, is_live: bool, open_session: OpenSession = open_session
) -> OpenInspector:
    """How this line opens sessions.

    Args:
        config: what its file says.
        is_live: whether its frames arrive by themselves.
        open_session: called with bundle, backend and threads.
    """

    def opened(bundle: Bundle) -> Inspector:
        session = open_session(bundle, config.loop.backend, config.loop.threads or None)
        try:
            gate = health_gate(bundle.manifest, is_live, config.health)
            return Inspector(session, bundle.manifest, gate, config.policy)
        except BaseException:
            session.close()
            raise

    return opened


def _open_records(line: Line, stack: ExitStack) -> None:
    config = line.config
    if config.audit is None:
        return
    pictures = None
    if config.pictures is not None:
        pictures = PictureArchive(config.pictures, line.events)
        stack.callback(pictures.close)
    log = AuditSink(config.audit, _judge_of(line.live.active), line.events, pictures)
    stack.callback(log.close)
    line.events.listen(log.note)
    line.audit = log
    line.chores.append(_JudgeChanges(line.live, log))
    # First of all: what is not recorded is not acted upon as OK.
    line.outlets.insert(0, Outlet(log, "audit log", "hold" if config.audit.is_required else "tell"))


def _open_outputs(line: Line, stack: ExitStack) -> None:
    sinks = open_outputs(
        line.config.outputs,
        line.events,
        reject=line.config.reject,
        is_alive=lambda: line.live.hold_reason is None,
    )
    for sink in sinks:
        stack.callback(sink.close)
        if isinstance(sink, RejectLine):
            line.reject = sink
        # They tell by themselves when nobody listens; what they raise is a mistake of ours.
        line.outlets.append(sink)
    if line.reject is not None and isinstance(line.source, TriggeredSource):
        _announce(line.source, line.reject)


def _announce(source: TriggeredSource, reject: RejectLine) -> None:
    """Have the reject line expect a verdict on every triggered part, also on one that gets no frame."""
    delay_ns = round(source.delay_ms * 1e6)
    source.trigger.listen(lambda firing: reject.announce(firing.part, firing.fired_ns + delay_ns))


def _page_of(line: Line, config: PageConfig) -> Page:
    """The operator's page; its buttons are those that this line has something behind."""
    source, reject, swap = line.source, line.reject, line.swap

    def change_threshold(value: float, reason: str, who: str) -> None:
        line.live.set_threshold(value)

    def press_trigger(who: str) -> None:
        assert isinstance(source, TriggeredSource), "without a trigger there is no button"
        source.trigger.fire(who)

    def test_output(decision: Decision, who: str) -> None:
        assert reject is not None, "without outputs there is no button"
        reject.try_out(decision)

    def swap_offer() -> SwapOffer | None:
        candidate, report = swap.state.candidate, swap.report()
        if candidate is None:
            return None
        if report is None or not report.compared:
            return SwapOffer(candidate, "not compared yet")
        return SwapOffer(candidate, f"agrees on {report.agreed} of {report.compared} frames")

    controls = Controls(
        change_threshold=change_threshold,
        trigger=press_trigger if isinstance(source, TriggeredSource) else None,
        test_output=None if reject is None else test_output,
        swap_offer=swap_offer,
        switch=swap.switch,
        rollback=swap.rollback,
    )
    is_watched = source.is_live and not source.may_be_silent
    return open_page(config, line.live, line.events, controls, SourceFacts(source.description, is_watched))


class _JudgeChanges:
    """A chore: has the record name the bundle that judges, from the first frame after a swap on."""

    def __init__(self, live: LiveInspector, log: AuditSink) -> None:
        self._live = live
        self._log = log
        self._generation = live.generation

    def __call__(self, now_ns: int) -> bool:
        if self._generation == self._live.generation:
            return False
        self._generation = self._live.generation
        self._log.judged_by(_judge_of(self._live.active))
        return True


def _judge_of(opened: Opened) -> Judge:
    return Judge.of(opened.path, opened.inspector.session.spec)
