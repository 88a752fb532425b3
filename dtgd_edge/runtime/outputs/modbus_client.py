"""Modbus TCP, pushed: our registers are written into the controller's."""

import logging
import threading
import time

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs import registers
from dtgd_edge.runtime.outputs.backoff import Backoff
from dtgd_edge.runtime.outputs.settings import ModbusConfig
from dtgd_edge.runtime.reject.output import Commands
from dtgd_edge.runtime.reject.signals import Signals

_log = logging.getLogger(__name__)


class ModbusClientOutput:
    """Writes the newest signals in a thread of its own.

    After a broken connection the newest signals are written, never old ones: a pulse that comes late would
    reject another part.
    """

    def __init__(self, config: ModbusConfig, backoff: Backoff | None = None) -> None:
        self._config = config
        self._backoff = backoff or Backoff()
        self._changed = threading.Condition()
        self._newest = Signals()
        self._is_new = True
        self._is_closing = False
        self._commands: Commands | None = None
        self._acknowledged = 0
        self._command = 0
        self._thread = threading.Thread(target=self._run, name="dtgd-modbus", daemon=True)
        self.is_required = config.is_required
        self.is_up = False

    @property
    def name(self) -> str:
        return f"modbus client to {self._config.host}:{self._config.port}"

    def open(self, commands: Commands) -> None:
        self._commands = commands
        self._thread.start()

    def show(self, signals: Signals) -> None:
        with self._changed:
            self._newest, self._is_new = signals, True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(self._config.timeout_s + 1.0)

    def _run(self) -> None:
        while True:
            try:
                self._talk()
            except SinkError as exc:
                _log.debug("%s: %s", self.name, exc)
            self.is_up = False
            with self._changed:
                if self._is_closing or self._changed.wait_for(
                    lambda: self._is_closing, self._backoff.next_s()
                ):
                    return

    def _talk(self) -> None:
        """Write and read until told to close, or until it fails."""
        client = ModbusTcpClient(
            self._config.host, port=self._config.port, timeout=self._config.timeout_s, retries=0
        )
        try:
            if not client.connect():
                raise SinkError("no connection; expected the controller; check host, port and cable")
            with self._changed:
                self._is_new = True
            read_at = time.monotonic()
            while True:
                with self._changed:
                    left_s = max(0.0, read_at - time.monotonic())
                    self._changed.wait_for(lambda: self._is_new or self._is_closing, left_s)
                    signals, is_new, is_closing = self._newest, self._is_new, self._is_closing
                    self._is_new = False
                if is_new:
                    self._write(client, signals)
                    self.is_up = True
                    self._backoff.reset()
                if is_closing:
                    return
                if time.monotonic() >= read_at:
                    self._read_commands(client)
                    read_at = time.monotonic() + self._config.poll_ms / 1e3
        except (ModbusException, OSError) as exc:
            raise SinkError(f"the controller does not answer ({exc}); expected it to; check it") from exc
        finally:
            client.close()

    def _write(self, client: ModbusTcpClient, signals: Signals) -> None:
        words = registers.words_from_signals(signals)
        answer = client.write_registers(self._config.address, words, device_id=self._config.device_id)
        if answer.isError():
            raise SinkError(
                f"the controller refuses registers {self._config.address} to "
                f"{self._config.address + len(words) - 1} ({answer}); expected it to take them; check address"
            )

    def _read_commands(self, client: ModbusTcpClient) -> None:
        if self._config.command_address < 0:
            return
        answer = client.read_holding_registers(
            self._config.command_address, count=3, device_id=self._config.device_id
        )
        if answer.isError():
            raise SinkError(
                f"the controller gives no registers from {self._config.command_address} ({answer}); "
                "expected three; check command_address"
            )
        assert self._commands is not None, "open comes first"
        acknowledged, command = registers.join(*answer.registers[:2]), answer.registers[2]
        if acknowledged != self._acknowledged:
            self._commands.acknowledge(acknowledged)
        if command == registers.RESUME != self._command:
            self._commands.resume()
        self._acknowledged, self._command = acknowledged, command
