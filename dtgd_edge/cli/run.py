"""`dtgd-edge run`: the camera loop."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtgd_edge.cli.console import ERR, OUT, Backend, Json, Threads, Workspace, print_json, say, table
from dtgd_edge.cli.info import promise_text
from dtgd_edge.errors import ConfigError
from dtgd_edge.workspace import newest_bundle

if TYPE_CHECKING:
    from dtgd_edge.runtime.inspector import Inspector
    from dtgd_edge.runtime.sink import Sink
    from dtgd_edge.runtime.summary import Summary


def run(
    camera: Annotated[int | None, typer.Option(help="Number of a camera: 0 is the first.")] = None,
    source: Annotated[
        str | None,
        typer.Option(help="A folder, a picture, a video, rtsp://..., or sample: for the pretend line."),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle; default: the newest.")] = None,
    backend: Backend = "auto",
    threads: Threads = None,
    build: Annotated[
        bool, typer.Option("--build", help="Build the TensorRT engine first if this GPU has none yet.")
    ] = False,
    log: Annotated[Path | None, typer.Option(help="Append one JSON line per verdict to this file.")] = None,
    overlays: Annotated[Path | None, typer.Option(help="Folder for overlay pictures of NG parts.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    fail_on_ng: Annotated[bool, typer.Option("--fail-on-ng", help="Exit with 1 if any part was NG.")] = False,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Judge parts as they come past a camera; Ctrl-C ends the run with everything written."""
    if (camera is None) == (source is None):
        raise ConfigError(
            "both --camera and --source were given; choose one"
            if camera is not None
            else "no source was given; expected --camera 0 or --source FOLDER|VIDEO|URL|sample:"
        )
    if bundle is None:
        bundle = newest_bundle(workspace)
        say(f"bundle: {bundle} (the newest)")
    source = str(camera) if source is None else source
    if build:
        backend = built_shown(bundle, backend, threads)
    summary = run_shown(bundle, source, backend, log, overlays, frames, threads)
    if as_json:
        print_json(summary.record())
    else:
        print_summary(summary)
    if fail_on_ng and summary.ng:
        sys.exit(1)


def built_shown(bundle: Path, backend: str, threads: int | None = None) -> str:
    """Build the engine that the run needs, with progress on stderr; the backend that will run.

    Before the source is opened: a camera held open for minutes would begin with old pictures.
    """
    from dtgd_edge.bundle import Bundle
    from dtgd_edge.runtime.session import open_session

    with open_session(Bundle.open(bundle), backend, threads, build=True, say=say) as session:
        return session.spec.backend


def run_shown(
    bundle: Path,
    source: str,
    backend: str,
    log: Path | None,
    overlays: Path | None,
    frames: int | None,
    threads: int | None = None,
) -> "Summary":
    """Open everything, run the loop with a live line on stderr, close everything."""
    from dtgd_edge.runtime.inspector import Inspector
    from dtgd_edge.runtime.loop import run_loop
    from dtgd_edge.runtime.sinks.console import ConsoleSink
    from dtgd_edge.runtime.sinks.jsonl import JsonlSink
    from dtgd_edge.runtime.sinks.overlay import OverlaySink
    from dtgd_edge.runtime.source import open_source

    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source))
        inspector = stack.enter_context(Inspector.open(bundle, backend, opened.is_live, threads))
        say(f"{opened.description} -> {inspector.session.spec.device}, threshold {inspector.threshold:.4f}")
        say_promise(inspector)
        sinks: list[Sink] = []
        if log is not None:
            sinks.append(stack.enter_context(JsonlSink(log)))
        if overlays is not None:
            sinks.append(stack.enter_context(OverlaySink(overlays)))
        sinks.append(stack.enter_context(ConsoleSink(sys.stderr)))
        stop = stack.enter_context(stopped_by_signal())
        return run_loop(opened, inspector, sinks, stop=stop, max_frames=frames)


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
