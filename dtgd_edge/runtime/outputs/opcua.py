"""OPC UA: a server with one node per signal."""

import asyncio
import math
import socket
from datetime import datetime, timezone
from typing import Any

from asyncua import Server, ua
from asyncua.common.callback import CallbackType

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.codes import reason_code
from dtgd_edge.runtime.outputs.loop_thread import LoopThread
from dtgd_edge.runtime.outputs.settings import OpcUaConfig
from dtgd_edge.runtime.reject.output import Commands
from dtgd_edge.runtime.reject.signals import Signals

NAMESPACE = "urn:dtgd-edge"
FOLDER = "DtgdEdge"

_TYPES = {
    bool: ua.VariantType.Boolean,
    int: ua.VariantType.UInt32,
    float: ua.VariantType.Double,
    str: ua.VariantType.String,
}
_START_S = 30.0
_STOP_S = 5.0


def values_from_signals(signals: Signals) -> dict[str, bool | int | float | str]:
    """Every node's value by its name, those last that say that the others may be read."""
    result, counts = signals.result, signals.counts
    score = result.score if result and result.score is not None else math.nan
    return {
        "PartId": result.part & 0xFFFFFFFF if result else 0,
        "Decision": result.decision.value if result else "",
        "RejectPart": bool(result and result.is_reject),
        "Score": float(score),
        "Threshold": float(result.threshold) if result else math.nan,
        "Reason": (result.reason or "") if result else "",
        "ReasonCode": reason_code(result.reason if result else None),
        "CountOk": counts.ok,
        "CountNg": counts.ng,
        "CountNoDecision": counts.no_decision,
        "CountRejected": counts.rejected,
        "CountLate": counts.late,
        "CountMissing": counts.missing,
        "CountUnacknowledged": counts.unacknowledged,
        "Sequence": result.sequence if result else 0,
        "Ready": signals.is_ready,
        "Busy": signals.is_busy,
        "ResultValid": signals.is_result_valid,
        "Reject": signals.is_rejecting,
        "Stop": signals.is_stopped,
        "Heartbeat": signals.heartbeat,
    }


class OpcUaOutput:
    """Serves the newest signals from a loop in its own thread; takes commands from two nodes.

    Everything in one batch carries one time stamp. Signals that follow each other faster than the loop can
    write are shown as the newest.
    """

    def __init__(self, config: OpcUaConfig) -> None:
        self._config = config
        self._newest = values_from_signals(Signals())
        self._written: dict[str, str] = {}
        self._nodes: dict[str, ua.NodeId] = {}
        self._commands: Commands | None = None
        self._server: Server | None = None
        self._thread: LoopThread | None = None
        self._changed = asyncio.Event()
        self._updater: asyncio.Task[None] | None = None
        self.is_required = config.is_required
        self.is_up = False
        self.port = config.port

    @property
    def name(self) -> str:
        return f"opcua server {self._config.host}:{self.port}"

    def open(self, commands: Commands) -> None:
        self._commands = commands
        self._thread = LoopThread("dtgd-opcua")
        try:
            self._server = self._thread.wait_for(self._serve(), _START_S)
        except (OSError, TimeoutError, ua.UaError) as exc:
            self._thread.close()
            raise SinkError(
                f"{self.name} cannot listen ({exc}); expected a free port that this user may use; "
                "choose another host or port in [outputs.opcua]"
            ) from exc
        self.is_up = True

    def show(self, signals: Signals) -> None:
        assert self._thread is not None, "open comes first"
        self._newest = values_from_signals(signals)
        self._thread.post(self._changed.set)

    def close(self) -> None:
        if self._thread is None or self._server is None:
            return
        server, self._server = self._server, None
        self.is_up = False
        try:
            self._thread.wait_for(self._finish(server), _STOP_S)
        except TimeoutError as exc:
            raise SinkError(
                f"{self.name} did not stop in {_STOP_S:.0f} s; expected it to; it is left"
            ) from exc
        finally:
            self._thread.close()

    async def _serve(self) -> Server:
        # The library needs seconds before it listens; a port that is taken is said at once.
        socket.create_server((self._config.host, self.port)).close()
        server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://{self._config.host}:{self.port}/dtgd-edge/")
        server.set_server_name("dtgd-edge")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await server.register_namespace(NAMESPACE)
        folder = await server.nodes.objects.add_object(ua.NodeId(FOLDER, index), f"{index}:{FOLDER}")
        for name, value in self._newest.items():
            node = await folder.add_variable(
                ua.NodeId(f"{FOLDER}.{name}", index), f"{index}:{name}", value, _TYPES[type(value)]
            )
            self._nodes[name] = node.nodeid
        for name, value in (("Acknowledge", 0), ("Resume", False)):
            node = await folder.add_variable(
                ua.NodeId(f"{FOLDER}.{name}", index), f"{index}:{name}", value, _TYPES[type(value)]
            )
            await node.set_writable()
            self._nodes[name] = node.nodeid
        server.subscribe_server_callback(CallbackType.PostWrite, self._on_write)
        await server.start()
        self._updater = asyncio.create_task(self._keep_updated(server))
        assert server.bserver is not None, "a server that has started listens"
        self.port = server.bserver._server.sockets[0].getsockname()[1]
        return server

    async def _finish(self, server: Server) -> None:
        if self._updater is not None:
            self._updater.cancel()
            await asyncio.wait([self._updater])
        await self._update(server)
        await server.stop()

    async def _keep_updated(self, server: Server) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._update(server)

    async def _update(self, server: Server) -> None:
        now = datetime.now(timezone.utc)
        for name, value in self._newest.items():
            # As text, because NaN differs from itself.
            if self._written.get(name) == repr(value):
                continue
            self._written[name] = repr(value)
            variant = ua.Variant(value, _TYPES[type(value)])
            await server.write_attribute_value(
                self._nodes[name], ua.DataValue(variant, SourceTimestamp=now, ServerTimestamp=now)
            )

    def _on_write(self, event: Any, dispatcher: Any) -> None:
        if not event.is_external or self._commands is None:
            return
        for written, status in zip(event.request_params.NodesToWrite, event.response_params, strict=True):
            if not status.is_good():
                continue
            if written.NodeId == self._nodes["Acknowledge"]:
                self._commands.acknowledge(int(written.Value.Value.Value))
            elif written.NodeId == self._nodes["Resume"] and written.Value.Value.Value:
                self._commands.resume()
