"""Modbus TCP, polled: the controller reads our registers and writes its commands into them."""

import time

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs import registers
from dtgd_edge.runtime.outputs.loop_thread import LoopThread
from dtgd_edge.runtime.outputs.settings import ModbusConfig
from dtgd_edge.runtime.reject.output import Commands
from dtgd_edge.runtime.reject.signals import Signals

_START_S = 10.0
_STOP_S = 2.0
_BITS = (1, 2)
_INPUTS = 4
_HOLDING = (3, 6, 16, 22, 23)


class ModbusServerOutput:
    """Shows signals in input registers, discrete inputs and coils, and again in holding registers.

    It is up while the controller asks for something. It is an encoder too: the count that the controller
    writes.
    """

    def __init__(self, config: ModbusConfig) -> None:
        self._config = config
        self._words = registers.words_from_signals(Signals())
        self._commands: Commands | None = None
        self._written = [0] * registers.COMMANDS_SIZE
        self._encoder = registers.WideCounter()
        self._count = 0
        self._asked_ns: int | None = None
        self._server: ModbusTcpServer | None = None
        self._thread: LoopThread | None = None
        self.is_required = config.is_required
        self.port = config.port

    @property
    def name(self) -> str:
        return f"modbus server {self._config.host}:{self.port}"

    @property
    def is_up(self) -> bool:
        if self._config.silence_ms == 0:
            return True
        asked_ns = self._asked_ns
        return asked_ns is not None and time.monotonic_ns() - asked_ns < self._config.silence_ms * 1e6

    def open(self, commands: Commands) -> None:
        self._commands = commands
        self._thread = LoopThread("dtgd-modbus")
        try:
            self._server = self._thread.wait_for(self._serve(), _START_S)
        except (RuntimeError, OSError, TimeoutError) as exc:
            self._thread.close()
            raise SinkError(
                f"{self.name} cannot listen ({exc}); expected a free port that this user may use; "
                "choose another host or port in [outputs.modbus]"
            ) from exc

    def show(self, signals: Signals) -> None:
        # One assignment: a controller reads all of the old words or all of the new ones.
        self._words = registers.words_from_signals(signals)

    def count(self) -> int:
        """The conveyor's place as the controller wrote it, not wrapping."""
        return self._count

    def close(self) -> None:
        if self._thread is None or self._server is None:
            return
        server, self._server = self._server, None
        self._thread.wait_for(server.shutdown(), _STOP_S)
        self._thread.close()

    async def _serve(self) -> ModbusTcpServer:
        server = ModbusTcpServer(self._device(), address=(self._config.host, self._config.port))
        await server.serve_forever(background=True)
        self.port = server.transport.sockets[0].getsockname()[1]
        return server

    def _device(self) -> SimDevice:
        words = [0] * registers.MAP_SIZE
        bits = [False] * 16
        return SimDevice(
            0,  # answers to every unit number
            simdata=(
                [SimData(0, values=bits, datatype=DataType.BITS, readonly=True)],
                [SimData(0, values=bits, datatype=DataType.BITS, readonly=True)],
                [
                    SimData(0, values=[0] * registers.COMMANDS_SIZE, datatype=DataType.REGISTERS),
                    SimData(registers.MIRROR, values=words, datatype=DataType.REGISTERS, readonly=True),
                ],
                [SimData(0, values=words, datatype=DataType.REGISTERS, readonly=True)],
            ),
            action=self._on_access,
        )

    async def _on_access(
        self,
        function_code: int,
        start_address: int,
        address: int,
        count: int,
        current: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Called by the server before it answers; `current` is what it answers from."""
        self._asked_ns = time.monotonic_ns()
        words = self._words
        if values is not None:
            # The server holds coils for writable whatever they were declared.
            if function_code not in _HOLDING or address + len(values) > registers.COMMANDS_SIZE:
                return ExcCodes.ILLEGAL_ADDRESS
            self._obey(address, [int(value) for value in values])
        elif function_code in _BITS:
            current[0] = words[0]
        elif function_code == _INPUTS:
            current[: registers.MAP_SIZE] = words
        else:
            current[registers.MIRROR : registers.MIRROR + registers.MAP_SIZE] = words
        return None

    def _obey(self, address: int, values: list[int]) -> None:
        assert self._commands is not None, "open comes first"
        places = range(address, address + len(values))
        self._written[places.start : places.stop] = values
        # A number is whole when its low word has come.
        if registers.ACKNOWLEDGE + 1 in places:
            self._commands.acknowledge(registers.join(*self._written[registers.ACKNOWLEDGE :][:2]))
        if registers.ENCODER + 1 in places:
            self._count = self._encoder.widen(registers.join(*self._written[registers.ENCODER :][:2]))
        if registers.COMMAND in places and self._written[registers.COMMAND] == registers.RESUME:
            self._commands.resume()
