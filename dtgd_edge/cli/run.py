"""`dtgd-edge run`: the camera loop."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtgd_edge.cli.console import ERR, OUT, Json, Threads, Workspace, print_json, say, table
from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.promise import promise_text
from dtgd_edge.runtime.session import BACKENDS
from dtgd_edge.workspace import newest_bundle

if TYPE_CHECKING:
    from dtgd_edge.runtime.inspector import Inspector
    from dtgd_edge.runtime.line import LineConfig
    from dtgd_edge.runtime.summary import Summary

# Whoever types a camera's number wants to hear that it is gone; a line's file says itself how long to wait.
_GIVE_UP_AFTER_S = 20.0


def run(
    config: Annotated[
        Path | None, typer.Option(help="A line's file in TOML; the options here override it.")
    ] = None,
    camera: Annotated[int | None, typer.Option(help="Number of a camera: 0 is the first.")] = None,
    source: Annotated[
        str | None,
        typer.Option(help="A folder, a picture, a video, rtsp://..., or sample: for the pretend line."),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle; default: the newest.")] = None,
    backend: Annotated[
        str | None, typer.Option(help=f"{', '.join(BACKENDS)}; default: auto, which is what doctor says.")
    ] = None,
    threads: Threads = None,
    build: Annotated[
        bool, typer.Option("--build", help="Build the TensorRT engine first if this GPU has none yet.")
    ] = False,
    log: Annotated[Path | None, typer.Option(help="Append one JSON line per verdict to this file.")] = None,
    overlays: Annotated[Path | None, typer.Option(help="Folder for overlay pictures of NG parts.")] = None,
    http: Annotated[
        str | None, typer.Option(help="Show the operator's page at this address: 127.0.0.1:8080.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    fail_on_ng: Annotated[bool, typer.Option("--fail-on-ng", help="Exit with 1 if any part was NG.")] = False,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Judge parts as they come past a camera; Ctrl-C ends the run with everything written."""
    if camera is not None and source is not None:
        raise ConfigError("both --camera and --source were given; choose one")
    line = line_from_options(config, source if camera is None else str(camera), backend, threads, http)
    bundle = _chosen_bundle(line, bundle, workspace)
    if build:
        line = _built(line, bundle)
    summary = run_shown(line, bundle, log, overlays, frames)
    if as_json:
        print_json(summary.record())
    else:
        print_summary(summary)
    if fail_on_ng and summary.ng:
        sys.exit(1)


def line_from_options(
    config: Path | None = None,
    source: str | None = None,
    backend: str | None = None,
    threads: int | None = None,
    http: str | None = None,
) -> "LineConfig":
    """A line's file with what the command line says laid over it.

    Raises:
        ConfigError: see record_from_toml; no file and no source.
    """
    from dtgd_edge.runtime.line import LineConfig, read_line
    from dtgd_edge.runtime.page.config import PageConfig
    from dtgd_edge.runtime.source_config import ReconnectConfig, SourceConfig

    if config is not None:
        line = read_line(config)
        if source is not None:
            line = replace(line, source=replace(line.source, uri=source))
    elif source is not None:
        reconnect = ReconnectConfig(give_up_after_s=_GIVE_UP_AFTER_S)
        line = LineConfig(SourceConfig(source, reconnect=reconnect))
    else:
        raise ConfigError(
            "no source was given; expected --camera 0, --source FOLDER|VIDEO|URL|sample:, or --config FILE"
        )
    loop = replace(line.loop, backend=backend or line.loop.backend, threads=threads or line.loop.threads)
    page = line.http if http is None else replace(line.http or PageConfig(), address=http)
    return replace(line, loop=loop, http=page)


def _chosen_bundle(line: "LineConfig", option: Path | None, workspace: Path) -> Path:
    """What the command line names, else the line's file, else the newest; or what a swap left behind."""
    from dtgd_edge.runtime.swap_config import remembered_bundle

    if option is not None:
        return option
    if line.loop.bundle:
        bundle = Path(line.loop.bundle)
    else:
        bundle = newest_bundle(workspace)
        say(f"bundle: {bundle} (the newest)")
    chosen = remembered_bundle(line.swap, bundle)
    if chosen != bundle:
        say(f"bundle: {chosen} (it passed its probation; {line.swap.remember} says so)")
    return chosen


def _built(line: "LineConfig", bundle: Path) -> "LineConfig":
    """Build the engine that the run needs, with progress on stderr.

    Before the source is opened: a camera held open for minutes would begin with old pictures.
    """
    from dtgd_edge.bundle import Bundle
    from dtgd_edge.runtime.session import open_session

    loop = line.loop
    with open_session(
        Bundle.open(bundle), loop.backend, loop.threads or None, build=True, say=say
    ) as session:
        return replace(line, loop=replace(loop, backend=session.spec.backend))


def run_shown(
    line: "LineConfig",
    bundle: Path,
    log: Path | None = None,
    overlays: Path | None = None,
    frames: int | None = None,
) -> "Summary":
    """Open everything, run the loop with a live line on stderr, close everything."""
    from dtgd_edge.runtime.assembly import open_line
    from dtgd_edge.runtime.event import Events
    from dtgd_edge.runtime.service import Service
    from dtgd_edge.runtime.sinks.console import ConsoleSink
    from dtgd_edge.runtime.sinks.jsonl import JsonlSink
    from dtgd_edge.runtime.sinks.overlay import OverlaySink
    from dtgd_edge.runtime.sources.opening import open_source

    with ExitStack() as stack:
        events = Events()
        service = stack.enter_context(Service.from_environment())
        source = open_source(line.source, events=events)
        opened = stack.enter_context(open_line(line, bundle, source, events=events, service=service))
        inspector = opened.live.active.inspector
        if opened.page is not None and line.http is not None:
            # A token of the line's own file is nobody's business who reads this.
            server = opened.page.server
            buttons = "" if line.http.token_file else f"; with its buttons: {server.login_url}"
            say(f"page: {server.url}{buttons}")
        say(f"{source.description} -> {inspector.session.spec.device}, threshold {inspector.threshold:.4f}")
        say_promise(inspector)
        if log is not None:
            opened.outlets.append(stack.enter_context(JsonlSink(log)))
        if overlays is not None:
            opened.outlets.append(stack.enter_context(OverlaySink(overlays)))
        opened.outlets.append(stack.enter_context(ConsoleSink(sys.stderr)))
        stop = stack.enter_context(stopped_by_signal())
        return opened.run(stop, frames)


def say_promise(inspector: "Inspector") -> None:
    """Say what the threshold promises, and whether this session is the one it was promised on."""
    threshold, backend = inspector.manifest.threshold, inspector.session.spec.backend
    say(f"promise: {promise_text(threshold)}")
    if threshold.promise is not None and backend not in (threshold.promise.session, "null"):
        say(
            f"note: the promise was made on {threshold.promise.session}'s scores, this session is {backend}; "
            f"expected the same; run dtgd-edge calibrate with --backend {backend}"
        )


@contextmanager
def stopped_by_signal() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event, so that the frame in progress is finished and written."""
    event = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def print_summary(summary: "Summary") -> None:
    """Print counts, times and reasons."""
    OUT.print(
        f"{summary.frames} frames in {summary.seconds:.1f} s: {summary.ok} OK, {summary.ng} NG, "
        f"{summary.no_decision} NO_DECISION, {summary.dropped} dropped"
    )
    stages = {"arrival to verdict": summary.latency_ms, **summary.stages_ms}
    rows = [
        [name, str(p.count), *("-" if v is None else f"{v:.2f}" for v in (p.p50, p.p95, p.p99, p.max))]
        for name, p in stages.items()
    ]
    table("milliseconds", ["stage", "count", "p50", "p95", "p99", "max"], rows)
    for reason, count in summary.reasons.items():
        ERR.print(f"NO_DECISION {count} times: {reason}", markup=False)
