"""Modbus over loopback, with pymodbus on the other side."""

import logging
import math
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs import registers
from dtgd_edge.runtime.outputs.backoff import Backoff
from dtgd_edge.runtime.outputs.loop_thread import LoopThread
from dtgd_edge.runtime.outputs.modbus_client import ModbusClientOutput
from dtgd_edge.runtime.outputs.modbus_server import ModbusServerOutput
from dtgd_edge.runtime.outputs.settings import ModbusConfig
from dtgd_edge.runtime.reject import Counts, RejectConfig, RejectLine, Result, Signals
from dtgd_edge.verdict import Decision
from tests.runtime.outputs.conftest import Commands, Heard, until, written

SHOWN = Signals(
    is_ready=True,
    is_result_valid=True,
    is_rejecting=True,
    beats=65537,
    result=Result(70_000, 123_456, Decision.NG, True, 3.5, 2.25, None),
    counts=Counts(ok=1, ng=100_000, no_decision=3, rejected=4, late=5, missing=6, unacknowledged=7),
)


@pytest.fixture
def served(commands: Commands) -> Iterator[tuple[ModbusServerOutput, ModbusTcpClient]]:
    output = ModbusServerOutput(ModbusConfig(port=0))
    output.open(commands)
    client = ModbusTcpClient("127.0.0.1", port=output.port, timeout=5, retries=0)
    assert client.connect()
    yield output, client
    client.close()
    output.close()


def number(words: list[int], name: str) -> int:
    place = registers.MAP[name]
    return words[place] << 16 | words[place + 1]


def real(words: list[int], name: str) -> float:
    place = registers.MAP[name]
    value: float = struct.unpack(">f", struct.pack(">HH", *words[place : place + 2]))[0]
    return value


def check_map(words: list[int]) -> None:
    assert (
        words[registers.MAP["status"]] == 0b10_1010_1101
    )  # ready, valid, reject, heartbeat, ng, result_reject
    assert words[registers.MAP["beats"]] == 1
    assert number(words, "sequence") == 70_000 and number(words, "part") == 123_456
    assert words[registers.MAP["decision"]] == 2 and words[registers.MAP["reason"]] == 0
    assert real(words, "score") == 3.5 and real(words, "threshold") == 2.25
    counts = [number(words, name) for name in registers.MAP if name.startswith("count_")]
    assert counts == [1, 100_000, 3, 4, 5, 6, 7]


def test_a_client_reads_the_map(served: tuple[ModbusServerOutput, ModbusTcpClient]) -> None:
    output, client = served
    output.show(SHOWN)
    check_map(client.read_input_registers(0, count=26, device_id=1).registers)
    check_map(client.read_holding_registers(100, count=26, device_id=17).registers)
    bits = client.read_discrete_inputs(0, count=10).bits[:10]
    assert [name for name, bit in zip(registers.STATUS_BITS, bits, strict=True) if bit] == [
        "ready",
        "valid",
        "reject",
        "heartbeat",
        "ng",
        "result_reject",
    ]
    assert client.read_coils(0, count=10).bits[:10] == bits


def test_before_the_first_result_there_is_no_score(
    served: tuple[ModbusServerOutput, ModbusTcpClient],
) -> None:
    words = served[1].read_input_registers(0, count=26).registers
    assert number(words, "sequence") == 0 and math.isnan(real(words, "score"))


def test_the_client_commands_and_may_write_nothing_else(
    served: tuple[ModbusServerOutput, ModbusTcpClient], commands: Commands
) -> None:
    output, client = served
    assert not client.write_registers(registers.ACKNOWLEDGE, [1, 2]).isError()
    client.write_register(registers.ACKNOWLEDGE + 1, 3)
    assert commands.acknowledged == [65538, 65539]
    client.write_register(registers.COMMAND, 1)
    client.write_register(registers.COMMAND, 0)
    assert commands.resumed == 1
    client.write_registers(registers.ENCODER, [0xFFFF, 0xFFF0])
    client.write_registers(registers.ENCODER, [0, 16])
    assert output.count() == (1 << 32) + 16
    assert client.write_register(registers.MIRROR, 1).isError()
    assert client.write_coil(3, True).isError()
    assert client.read_holding_registers(50, count=1).isError()


def test_a_controller_that_asks_nothing_is_gone(commands: Commands) -> None:
    output = ModbusServerOutput(ModbusConfig(port=0, silence_ms=80.0))
    output.open(commands)
    try:
        assert not output.is_up
        with ModbusTcpClient("127.0.0.1", port=output.port) as client:
            client.read_input_registers(0, count=1)
            assert output.is_up
            assert until(lambda: not output.is_up)
            client.read_input_registers(0, count=1)
            assert output.is_up
    finally:
        output.close()


def test_a_port_that_is_taken_is_said(commands: Commands, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SinkError, match="cannot listen"):
        ModbusServerOutput(ModbusConfig(port=taken.getsockname()[1])).open(commands)


def test_a_running_line_is_followed_over_the_wire(heard: Heard) -> None:
    output = ModbusServerOutput(ModbusConfig(port=0))
    config = RejectConfig(delay_ms=60.0, pulse_ms=80.0, acknowledge_ms=5000.0, heartbeat_ms=20.0)
    with (
        RejectLine(config, [output], heard.events) as line,
        ModbusTcpClient("127.0.0.1", port=output.port, timeout=5) as client,
    ):

        def words() -> list[int]:
            read: list[int] = client.read_input_registers(0, count=26).registers
            return read

        def has(bit: str) -> bool:
            return bool(words()[0] >> registers.STATUS_BITS.index(bit) & 1)

        assert until(lambda: has("ready"))
        for index, decision in enumerate([Decision.OK, Decision.NG, Decision.NO_DECISION]):
            line.write(*written(index, decision, part=1000 + index))
            assert until(lambda: has("valid"))
            now = words()
            assert (number(now, "sequence"), number(now, "part")) == (index + 1, 1000 + index)
            assert now[registers.MAP["decision"]] == index + 1
            assert now[registers.MAP["reason"]] == (7 if decision is Decision.NO_DECISION else 0)
            client.write_registers(registers.ACKNOWLEDGE, [0, index + 1])
            assert until(lambda: not has("valid"))
        assert until(lambda: has("reject"))
        beats = words()[1]
        assert until(lambda: words()[1] > beats)
        assert until(lambda: number(words(), "count_rejected") == 2)


class Controller:
    """A PLC with 300 holding registers, which can be switched off."""

    def __init__(self, port: int = 0) -> None:
        self.thread = LoopThread("test-plc")
        self.words: list[int] = []
        self.history: list[list[int]] = []
        self.server = self.thread.wait_for(self._serve(port), 5.0)
        self.port: int = self.server.transport.sockets[0].getsockname()[1]

    async def _serve(self, port: int) -> ModbusTcpServer:
        device = SimDevice(
            5, simdata=[SimData(0, values=[0] * 300, datatype=DataType.REGISTERS)], action=self._on_access
        )
        server = ModbusTcpServer(device, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        return server

    async def _on_access(
        self, code: int, start: int, address: int, count: int, current: list[int], values: list[int] | None
    ) -> None:
        self.words = current
        if values:
            self.history.append(list(values))

    def stop(self) -> None:
        self.thread.wait_for(self.server.shutdown(), 5.0)
        self.thread.close()


def test_a_controller_is_written_to_and_comes_back(
    commands: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    controller = Controller()
    config = ModbusConfig(
        mode="client",
        port=controller.port,
        device_id=5,
        address=10,
        command_address=200,
        poll_ms=5.0,
        timeout_s=1.0,
    )
    output = ModbusClientOutput(config, Backoff(0.01, 0.05))
    output.open(commands)
    try:
        assert until(lambda: output.is_up)
        output.show(SHOWN)
        assert until(lambda: controller.words[12:14] == [1, 70_000 - 65536])
        check_map(controller.words[10:36])
        controller.words[200:203] = [1, 5, registers.RESUME]
        assert until(lambda: commands.acknowledged == [65541] and commands.resumed == 1)

        controller.stop()
        assert until(lambda: not output.is_up)
        begun = time.monotonic()
        for beats in range(1000):
            output.show(Signals(is_rejecting=True, beats=beats))
        assert time.monotonic() - begun < 0.5
        output.show(Signals(is_ready=True, beats=4321))
        controller = Controller(controller.port)
        assert until(lambda: output.is_up)
        # No pulse of the past reaches the controller.
        assert [words[:2] for words in controller.history] == [[0b10_0001, 4321]]
    finally:
        output.close()
        controller.stop()
    assert not output.is_up


def test_no_controller_is_told_by_the_line_and_holds_the_safe_state(
    heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    output = ModbusClientOutput(ModbusConfig(mode="client", port=port), Backoff(0.01, 0.05))
    with RejectLine(RejectConfig(heartbeat_ms=10.0), [output], heard.events) as line:
        assert heard.wait_for("sink down")
        assert until(lambda: line.signals.is_rejecting and not line.signals.is_ready)
        line.write(*written(0))
        controller = Controller(port)
        # Its only device has another number than 1: it answers, and refuses.
        time.sleep(0.05)
        assert not output.is_up
        controller.stop()
