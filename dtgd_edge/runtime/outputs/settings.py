"""The tables [outputs.*] of a line's file."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from dtgd_edge.errors import ConfigError
from dtgd_edge.verdict import Decision

ModbusMode = Literal["server", "client"]
GpioLibrary = Literal["auto", "gpiod", "jetson"]


@dataclass(frozen=True, slots=True)
class ModbusConfig:
    """Modbus TCP: a server that the controller polls, or a client that writes into the controller.

    Attributes:
        mode: "server" or "client".
        host: the address to listen on, or the controller's. Modbus knows no passwords: only on a network
            that is the machine's own.
        port: 502 is the standard; below 1024 a service needs the right to listen there.
        device_id: client: the controller's unit number; a server answers to every number.
        address: client: first holding register to write the map to.
        command_address: client: first of three holding registers with the acknowledged sequence (two) and
            the command; -1: none are read.
        silence_ms: server: a controller that asks nothing for so long is gone; 0: it may be silent.
        poll_ms: client: how often the commands are read.
        timeout_s: client: longest wait for an answer.
        is_required: whether the line is not ready without it.
    """

    mode: ModbusMode = "server"
    host: str = "127.0.0.1"
    port: int = 502
    device_id: int = 1
    address: int = 0
    command_address: int = -1
    silence_ms: float = 2000.0
    poll_ms: float = 20.0
    timeout_s: float = 1.0
    is_required: bool = True

    def __post_init__(self) -> None:
        _check_host("modbus", self.host)
        _check_range("modbus", "port", self.port, 0, 65535)
        _check_range("modbus", "device_id", self.device_id, 0, 255)
        _check_range("modbus", "address", self.address, 0, 65000)
        _check_range("modbus", "command_address", self.command_address, -1, 65000)
        _check_range("modbus", "silence_ms", self.silence_ms, 0, 600_000)
        _check_range("modbus", "poll_ms", self.poll_ms, 1, 60_000)
        _check_range("modbus", "timeout_s", self.timeout_s, 0.01, 60)


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """MQTT: every verdict as JSON, and a retained state that turns to offline by itself.

    Attributes:
        host, port: of the broker.
        topic: verdicts go to `topic`/verdict, the state to `topic`/state.
        client_id: "": made from the topic.
        username: "": none.
        password_file: a file with the password; "": none.
        is_tls: whether the connection is encrypted; the broker's certificate is always checked then.
        ca_file: certificates to trust; "": the system's.
        keepalive_s: the broker says offline one and a half times as long after the last word.
        timeout_s: longest wait for the broker to take a message.
        capacity: verdicts that wait while the broker is away; the oldest make room.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    topic: str = "dtgd-edge/line"
    client_id: str = ""
    username: str = ""
    password_file: str = ""
    is_tls: bool = False
    ca_file: str = ""
    keepalive_s: int = 15
    timeout_s: float = 5.0
    capacity: int = 1000

    def __post_init__(self) -> None:
        _check_host("mqtt", self.host)
        _check_range("mqtt", "port", self.port, 1, 65535)
        if not self.topic or set(self.topic) & set("#+\0") or self.topic[-1] == "/":
            raise ConfigError(
                f"topic = {self.topic!r} was given; expected a name without '#', '+' and '/' at its end; "
                "correct [outputs.mqtt]"
            )
        _check_range("mqtt", "keepalive_s", self.keepalive_s, 1, 3600)
        _check_range("mqtt", "timeout_s", self.timeout_s, 0.01, 60)
        _check_range("mqtt", "capacity", self.capacity, 1, 1_000_000)


@dataclass(frozen=True, slots=True)
class OpcUaConfig:
    """OPC UA: a server with one node per signal.

    Attributes:
        host: the address to listen on. Connections are neither encrypted nor asked for a password: only on
            a network that is the machine's own.
        port: 4840 is the standard.
        is_required: whether the line is not ready without it.
    """

    host: str = "127.0.0.1"
    port: int = 4840
    is_required: bool = False

    def __post_init__(self) -> None:
        _check_host("opcua", self.host)
        _check_range("opcua", "port", self.port, 0, 65535)


@dataclass(frozen=True, slots=True)
class GpioConfig:
    """Digital outputs of the board.

    Attributes:
        reject: the pin of the ejector: a line offset of the chip with gpiod, a header pin with jetson.
        ready, busy, valid, ng, stop, heartbeat: pins of further signals; left out: none.
        library: "gpiod", "jetson", or "auto": the one that is installed, gpiod first.
        chip: gpiod: the chip's device.
        is_active_low: whether a signal that is on pulls its pin low. Choose the level that pins fall back
            to when the computer is off as the safe one.
        is_required: whether the line is not ready without it.
    """

    reject: int
    ready: int | None = None
    busy: int | None = None
    valid: int | None = None
    ng: int | None = None
    stop: int | None = None
    heartbeat: int | None = None
    library: GpioLibrary = "auto"
    chip: str = "/dev/gpiochip0"
    is_active_low: bool = False
    is_required: bool = True

    def __post_init__(self) -> None:
        pins = [*self.pins().values()]
        for pin in pins:
            _check_range("gpio", "a pin", pin, 0, 10_000)
        if len(set(pins)) < len(pins):
            raise ConfigError(f"pins {pins} were given; expected one pin per signal; correct [outputs.gpio]")

    def pins(self) -> dict[str, int]:
        """Pins by the name of their signal."""
        names = ("reject", "ready", "busy", "valid", "ng", "stop", "heartbeat")
        return {name: pin for name in names if (pin := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """HTTP: verdicts as JSON to an address.

    Attributes:
        url: http:// or https://.
        decisions: verdicts that are sent: "OK", "NG", "NO_DECISION".
        secret_file: a file with the secret that signs the body; "": not signed.
        timeout_s: longest wait for the connection and for each piece of the answer.
        capacity: verdicts that wait while the server is away; the oldest make room.
    """

    url: str
    decisions: tuple[Decision, ...] = (Decision.NG, Decision.NO_DECISION)
    secret_file: str = ""
    timeout_s: float = 3.0
    capacity: int = 1000

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_usable = False
        if not is_usable:
            raise ConfigError(
                f"url = {self.url!r} was given; expected http://host/path or https://; "
                "correct [outputs.webhook]"
            )
        if not self.decisions:
            raise ConfigError("decisions is empty; expected some of OK, NG and NO_DECISION; name one")
        _check_range("webhook", "timeout_s", self.timeout_s, 0.01, 60)
        _check_range("webhook", "capacity", self.capacity, 1, 1_000_000)


@dataclass(frozen=True, slots=True)
class OutputsConfig:
    """The table [outputs]: a way that is left out is not used.

    Attributes:
        is_simulated: whether signals are also recorded in memory, for trials without a controller.
    """

    modbus: ModbusConfig | None = None
    mqtt: MqttConfig | None = None
    opcua: OpcUaConfig | None = None
    gpio: GpioConfig | None = None
    webhook: WebhookConfig | None = None
    is_simulated: bool = False


def _check_range(table: str, key: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ConfigError(
            f"{key} = {value} was given; expected {lowest:g} to {highest:g}; correct [outputs.{table}]"
        )


def _check_host(table: str, host: str) -> None:
    if not host or any(character.isspace() for character in host):
        raise ConfigError(f"host = {host!r} was given; expected a name or address; correct [outputs.{table}]")
