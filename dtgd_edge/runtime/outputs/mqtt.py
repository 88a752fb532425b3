"""MQTT: every verdict once at least, and a retained state that the broker turns to offline by itself."""

import threading
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.message import message_from_verdict
from dtgd_edge.runtime.outputs.secret import secret_from_file
from dtgd_edge.runtime.outputs.settings import MqttConfig
from dtgd_edge.runtime.sink import Sink
from dtgd_edge.runtime.source import Frame
from dtgd_edge.verdict import Verdict

ONLINE = msgspec.json.encode({"schema": "dtgd-edge/state/1", "state": "online"})
OFFLINE = msgspec.json.encode({"schema": "dtgd-edge/state/1", "state": "offline"})

_LONGEST_PAUSE_S = 10
_QOS = 1


class MqttSink(Sink):
    """Publishes verdicts and waits for the broker to take each, so it belongs behind a QueuedSink.

    A verdict may arrive twice (QoS 1): its sequence number says so. The library connects and connects again
    in a thread of its own, beginning here; a broker that is not there yet is no error.

    Raises:
        SinkError: the password or the certificates cannot be read.
    """

    def __init__(self, config: MqttConfig) -> None:
        self._config = config
        self._verdict_topic = f"{config.topic}/verdict"
        self._state_topic = f"{config.topic}/state"
        self._sequence = 0
        self._verdict: Verdict | None = None
        self._pending: int | None = None
        self._changed = threading.Condition()
        self._taken: set[int] = set()
        self._connected = threading.Event()
        self._why = "no connection yet"
        self._is_closed = False
        # The topic is the line's own, so a second process with the same name is a mistake worth seeing.
        client_id = config.client_id or config.topic.replace("/", "-")
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id)
        self._set_up()
        self._client.connect_async(config.host, config.port, config.keepalive_s)
        self._client.loop_start()

    def write(self, verdict: Verdict, frame: Frame) -> None:
        if verdict is not self._verdict:
            self._verdict, self._pending = verdict, None
            self._sequence += 1
        if self._pending is None:
            if not self._connected.wait(self._config.timeout_s):
                raise SinkError(self._text(self._why))
            self._pending = self._publish(self._verdict_topic, message_from_verdict(verdict, self._sequence))
        # When the connection breaks, the library keeps the message and sends it again by itself.
        if not self._is_taken(self._pending, self._config.timeout_s):
            why = "no answer" if self._connected.is_set() else self._why
            raise SinkError(self._text(why))

    def close(self) -> None:
        """Say offline and leave; closing twice is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._connected.is_set():
            # A clean leave keeps the broker from saying it.
            message = self._publish(self._state_topic, OFFLINE, is_retained=True)
            self._is_taken(message, min(1.0, self._config.timeout_s))
        self._client.disconnect()
        self._client.loop_stop()

    def _set_up(self) -> None:
        config, client = self._config, self._client
        password = secret_from_file(config.password_file, "outputs.mqtt")
        if config.username:
            client.username_pw_set(config.username, password.decode() or None)
        if config.is_tls:
            try:
                client.tls_set(config.ca_file or None)
            except OSError as exc:
                raise SinkError(
                    f"{config.ca_file} cannot be used ({exc}); expected certificates in PEM; "
                    "correct ca_file in [outputs.mqtt]"
                ) from exc
        client.will_set(self._state_topic, OFFLINE, _QOS, retain=True)
        client.reconnect_delay_set(1, _LONGEST_PAUSE_S)
        client.connect_timeout = config.timeout_s
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def _publish(self, topic: str, message: bytes, *, is_retained: bool = False) -> int:
        with self._changed:
            self._taken.clear()
        # Without our lock: the library calls back with its own held, which publishing needs. Its return
        # code says nothing: a message is kept whatever it is.
        return self._client.publish(topic, message, _QOS, is_retained).mid

    def _is_taken(self, message: int, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: message in self._taken, timeout_s)

    def _on_publish(self, client: paho.Client, data: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._taken.add(mid)
            self._changed.notify_all()

    def _text(self, why: str) -> str:
        return (
            f"broker {self._config.host}:{self._config.port} takes no verdicts ({why}); expected it to; "
            "check [outputs.mqtt] and the broker"
        )

    def _on_connect(self, client: paho.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._why = str(reason)
            return
        client.publish(self._state_topic, ONLINE, _QOS, retain=True)
        self._connected.set()

    def _on_connect_fail(self, client: paho.Client, data: Any) -> None:
        self._why = "no connection"

    def _on_disconnect(
        self, client: paho.Client, data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        self._why = str(reason)
        self._connected.clear()
