"""What fires a trigger from outside of the program: a key, a message on the plant's network."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

from dtgd_edge.errors import ConfigError, SourceNotFound
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.source_config import MqttTriggerConfig, TriggerConfig
from dtgd_edge.runtime.trigger import Trigger


class TriggerInput(Protocol):
    """Fires until it is closed."""

    def close(self) -> None:
        """Stop firing; closing twice is fine."""
        ...


def open_inputs(config: TriggerConfig, trigger: Trigger, events: Events) -> list[TriggerInput]:
    """Open what a record asks for.

    Raises:
        ConfigError: a password file cannot be read.
        SourceNotFound: paho-mqtt is not installed.
    """
    inputs: list[TriggerInput] = []
    if config.keyboard:
        inputs.append(Keyboard(trigger, sys.stdin))
    if config.mqtt is not None:
        inputs.append(MqttTopic(config.mqtt, trigger, events))
    return inputs


class Keyboard:
    """The Enter key: each line is a trigger.

    Args:
        trigger: to fire.
        stream: to read lines from, sys.stdin as a rule.
    """

    def __init__(self, trigger: Trigger, stream: TextIO) -> None:
        self._trigger = trigger
        self._stream = stream
        self._is_closed = False
        # A daemon: reading a terminal cannot be interrupted.
        threading.Thread(target=self._read, name="dtgd-keyboard", daemon=True).start()

    def close(self) -> None:
        self._is_closed = True

    def _read(self) -> None:
        for _ in self._stream:
            if self._is_closed:
                return
            self._trigger.fire("keyboard")


class MqttTopic:
    """A broker's topic: each message that is not retained is a trigger. Reconnects by itself.

    Args:
        config: broker and topic.
        trigger: to fire.
        events: told when the broker is lost and back.
        client: makes the client; None: paho's.
    """

    def __init__(
        self,
        config: MqttTriggerConfig,
        trigger: Trigger,
        events: Events,
        client: Callable[[], Any] | None = None,
    ) -> None:
        self._config = config
        self._trigger = trigger
        self._events = events
        self._is_closed = False
        self._client = (client or _paho_client)()
        if config.user:
            self._client.username_pw_set(config.user, _password(config.password_file))
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._message
        self._client.reconnect_delay_set(1, 30)
        self._client.connect_async(config.host, config.port)
        self._client.loop_start()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._client.disconnect()
            self._client.loop_stop()

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        where = f"{self._config.host}:{self._config.port}"
        if getattr(reason, "is_failure", False):
            text = f"the broker {where} refuses ({reason}); check user and password"
            self._events.tell(Event("trigger input lost", text, is_alarm=True))
            return
        # Quality 0: a repeated message would be a part that does not exist, and one that waited in the broker
        # would be of a part that has passed. On a connection that stands nothing is lost at 0 either.
        client.subscribe(self._config.topic, qos=0)
        self._events.tell(Event("trigger input back", f"topic {self._config.topic} of {where}"))

    def _disconnected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not self._is_closed:
            text = f"the broker {self._config.host}:{self._config.port} is gone ({reason})"
            self._events.tell(Event("trigger input lost", text, is_alarm=True))

    def _message(self, client: Any, userdata: Any, message: Any) -> None:
        # A retained message is of a part that has long passed.
        if not message.retain:
            self._trigger.fire(f"mqtt {message.topic}")


def _paho_client() -> Any:
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ModuleNotFoundError as exc:
        raise SourceNotFound(
            "an MQTT trigger needs paho-mqtt, which is not installed; expected it; "
            "install it with: pip install 'dtgd-edge[line]'"
        ) from exc
    return Client(CallbackAPIVersion.VERSION2)


def _password(path: str) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, UnicodeDecodeError, IndexError) as exc:
        raise ConfigError(
            f"password file {path} cannot be read ({exc}); expected a text file whose first line is the "
            "password; correct password_file"
        ) from exc
