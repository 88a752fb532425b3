"""Whoever takes the verdicts goes away and comes back: a broker, a web server, a controller."""

import importlib.util
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec

from dtgd_edge.benchmarks.faults import peers
from dtgd_edge.benchmarks.faults.child import Child
from dtgd_edge.benchmarks.faults.rig import PacedSource, Running, line_config, parts, running, write_bundle
from dtgd_edge.benchmarks.faults.row import Fault, Row, Shortfalls
from dtgd_edge.benchmarks.faults.watch import Watch
from dtgd_edge.runtime.outputs.queued import QueuedSink
from dtgd_edge.runtime.outputs.settings import ModbusConfig, MqttConfig, OutputsConfig, WebhookConfig
from dtgd_edge.verdict import Decision

Kind = Literal["webhook", "mqtt", "modbus"]

TIMES = 10
FPS = 50.0
_AWAY_S = 0.5
_WAIT_S = 20.0
# A loop that waits for a network would stand for a time-out, a second or more.
_LONGEST_GAP_MS = 500.0
_PACKAGES: dict[Kind, tuple[str, ...]] = {
    "webhook": (),
    "mqtt": ("paho", "amqtt"),
    "modbus": ("pymodbus",),
}
_NAMES: dict[Kind, str] = {
    "webhook": "webhook server",
    "mqtt": "MQTT broker",
    "modbus": "Modbus controller",
}


class Peer(Child):
    """A process of peers.py.

    Args:
        kind: which.
        file: what it may write.
    """

    def __init__(self, kind: Kind, file: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        super().__init__([str(Path(peers.__file__)), kind, str(self.port), str(file)])


def peer_away(folder: Path, kind: Kind) -> Row:
    """Kill a peer and start it again, several times, while parts go by."""
    fault = Fault(
        f"{_NAMES[kind]} down and back",
        "its process is killed with SIGKILL and started again half a second later",
        "the loop does not wait; it is told; nothing that was queued is lost"
        if kind != "modbus"
        else "the loop does not wait; it is told; the line is not ready until it is back",
    )
    missing = [name for name in _PACKAGES[kind] if importlib.util.find_spec(name) is None]
    if missing:
        return fault.skipped(f"{', '.join(missing)} is not installed: pip install 'dtgd-edge[line,dev]'")
    recovery_ms: list[float] = []
    short = Shortfalls()
    with _peer_line(folder, kind) as (peer, run):
        short = short.unless(run.watch.wait_judged(0, _WAIT_S) is not None, "no frame at the start")
        short = short.unless(_until(lambda: _is_up(run)), "it was not reached at the start")
        for number in range(TIMES):
            peer.kill()
            short = short.unless(_told(run, "sink down", number + 1), f"outage {number} was not told")
            if kind == "modbus":
                held = _until(lambda: not _is_ready(run))
                short = short.unless(held, f"the line stayed ready in outage {number}")
            time.sleep(_AWAY_S)
            back_ns = peer.start()
            is_back = _told(run, "sink back", number + 1)
            short = short.unless(is_back, f"the return after outage {number} was not told")
            recovery_ms.append((time.monotonic_ns() - back_ns) / 1e6)
            short = short.unless(_is_drained(run), f"verdicts of outage {number} still wait")
        short = short.unless(run.is_running, f"the run ended: {run.error}")
        run.stop()
        queue = next((sink for sink in run.line.outlets if isinstance(sink, QueuedSink)), None)
        if queue is not None:
            short = short.unless(_is_drained(run), "verdicts wait")
            short = short.unless(not queue.dropped, f"{queue.dropped} verdicts were dropped")
        seen = run.watch.seen
        down, up = run.told_of("sink down"), run.told_of("sink back")
    gap_ms = max((b.at_ns - a.at_ns) / 1e6 for a, b in pairwise(seen))
    short = short.unless(gap_ms < _LONGEST_GAP_MS, f"the loop stood for {gap_ms:.0f} ms")
    happened = f"{len(seen)} verdicts, longest gap {gap_ms:.0f} ms; told down {down}, back {up} times"
    if kind == "webhook":
        arrived = _posted(folder / "posted")
        lost = {s.index for s in seen} - arrived
        short = short.unless(not lost, f"{len(lost)} verdicts never arrived")
        happened += f"; {len(arrived)} arrived"
    return fault.row(TIMES, happened, run.watch.wrong_ok, recovery_ms, short.texts)


@contextmanager
def _peer_line(folder: Path, kind: Kind) -> Iterator[tuple[Peer, Running]]:
    pictures = parts()
    write_bundle(folder / "grey.dtgd", pictures)
    peer = Peer(kind, folder / "posted")
    outputs = {
        "webhook": OutputsConfig(
            webhook=WebhookConfig(f"http://127.0.0.1:{peer.port}/", decisions=tuple(Decision))
        ),
        "mqtt": OutputsConfig(mqtt=MqttConfig(port=peer.port, timeout_s=1.0)),
        "modbus": OutputsConfig(modbus=ModbusConfig(mode="client", port=peer.port)),
    }[kind]
    peer.start()
    try:
        source = PacedSource(pictures, FPS)
        config = line_config(outputs=outputs)
        with running(config, folder / "grey.dtgd", source, Watch(pictures)) as run:
            yield peer, run
    finally:
        peer.kill()


def _is_up(run: Running) -> bool:
    """Whether the first signal or verdict has arrived."""
    return _is_ready(run) or any(isinstance(sink, QueuedSink) and sink.delivered for sink in run.line.outlets)


def _is_ready(run: Running) -> bool:
    return run.line.reject is not None and run.line.reject.signals.is_ready


def _is_drained(run: Running) -> bool:
    """Wait until everything that waits now is delivered; False when it is not in time."""
    queues = [sink for sink in run.line.outlets if isinstance(sink, QueuedSink)]
    wanted = len(run.watch.seen)
    return _until(lambda: all(queue.delivered + queue.dropped >= wanted for queue in queues))


def _told(run: Running, kind: str, times: int) -> bool:
    """Wait until an event was told so often; False when it was not in time."""
    return _until(lambda: run.told_of(kind) >= times)


def _until(holds: Callable[[], bool]) -> bool:
    """Wait for something; False when it did not come in time."""
    deadline = time.monotonic() + _WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _posted(file: Path) -> set[int]:
    """Frames that a web server was told of; one may have arrived twice, which its number would say."""
    return {int(msgspec.json.decode(line)["frame"]) for line in file.read_bytes().splitlines()}
