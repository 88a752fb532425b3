"""OPC UA over loopback, with asyncua's client on the other side."""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asyncua import Client, ua

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.opcua import FOLDER, NAMESPACE, OpcUaOutput, values_from_signals
from dtgd_edge.runtime.outputs.settings import OpcUaConfig
from dtgd_edge.runtime.reject import RejectConfig, RejectLine, Signals
from dtgd_edge.verdict import Decision
from tests.runtime.outputs.conftest import Commands, Heard, written

Values = dict[str, Any]


class Plc:
    """A client that reads and writes nodes by name."""

    def __init__(self, client: Client, index: int) -> None:
        self._client = client
        self._index = index

    def node(self, name: str) -> Any:
        return self._client.get_node(ua.NodeId(f"{FOLDER}.{name}", self._index))

    async def values(self) -> Values:
        names = list(values_from_signals(Signals()))
        read = await self._client.read_values([self.node(name) for name in names])
        return dict(zip(names, read, strict=True))

    async def until(self, is_so: Callable[[Values], bool]) -> Values:
        for _ in range(1000):
            if is_so(values := await self.values()):
                return values
            await asyncio.sleep(0.005)
        raise AssertionError(f"never so: {values}")

    async def write(self, name: str, value: Any, kind: ua.VariantType) -> None:
        await self.node(name).write_value(ua.DataValue(ua.Variant(value, kind)))


def talk(port: int, work: Callable[[Plc], Awaitable[None]]) -> None:
    async def with_client() -> None:
        async with Client(f"opc.tcp://127.0.0.1:{port}/dtgd-edge/", timeout=10) as client:
            await work(Plc(client, await client.get_namespace_index(NAMESPACE)))

    asyncio.run(with_client())


def test_a_client_follows_a_running_line(heard: Heard) -> None:
    output = OpcUaOutput(OpcUaConfig(port=0))
    config = RejectConfig(
        delay_ms=80.0, pulse_ms=150.0, acknowledge_ms=10_000.0, heartbeat_ms=20.0, safe_state="stop"
    )
    with RejectLine(config, [output], heard.events) as line:

        async def work(plc: Plc) -> None:
            first = await plc.until(lambda values: values["Ready"])
            assert math.isnan(first["Score"]) and first["Sequence"] == 0
            line.write(*written(0, Decision.NG, part=4711))
            got = await plc.until(lambda values: values["ResultValid"])
            assert (got["PartId"], got["Decision"], got["Sequence"]) == (4711, "NG", 1)
            assert (got["Score"], got["Threshold"], got["RejectPart"]) == (1.25, 2.5, True)
            await plc.write("Acknowledge", 1, ua.VariantType.UInt32)
            await plc.until(lambda values: not values["ResultValid"] and values["Ready"])
            await plc.until(lambda values: values["Reject"])
            line.write(*written(1, Decision.NO_DECISION))
            got = await plc.until(lambda values: values["Sequence"] == 2)
            assert got["Reason"].startswith("black:") and got["ReasonCode"] == 7
            await plc.until(lambda values: values["Stop"] and values["CountRejected"] == 1)
            await plc.write("Resume", True, ua.VariantType.Boolean)
            await plc.until(lambda values: not values["Stop"])
            beat = (await plc.values())["Heartbeat"]
            await plc.until(lambda values: values["Heartbeat"] is not beat)
            with pytest.raises(ua.UaStatusCodeError):
                await plc.write("Reject", True, ua.VariantType.Boolean)

        talk(output.port, work)
    assert heard.kinds() == ["line resumed"]
    output.close()
    assert not output.is_up
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", output.port), 1.0)


def test_a_port_that_is_taken_is_said(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SinkError, match="cannot listen"):
        OpcUaOutput(OpcUaConfig(port=taken.getsockname()[1])).open(commands)
