"""MQTT over loopback: a broker of the amqtt project that is killed and started again, a paho subscriber."""

import itertools
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.backoff import Backoff
from dtgd_edge.runtime.outputs.message import VerdictMessage
from dtgd_edge.runtime.outputs.mqtt import MqttSink
from dtgd_edge.runtime.outputs.queued import QueuedSink
from dtgd_edge.runtime.outputs.settings import MqttConfig
from dtgd_edge.verdict import Decision
from tests.runtime.outputs.conftest import Heard, until, written


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


_BROKER = """
import asyncio, sys
from amqtt.broker import Broker

async def serve():
    await Broker({
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }).start()
    await asyncio.Event().wait()

asyncio.run(serve())
"""


class RunningBroker:
    """A broker in a process of its own, which is killed: nobody is told and nothing is saved."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", _BROKER, str(port)])
        until(lambda: _answers(port) or self._process.poll() is not None, 30.0)
        if self._process.poll() is not None or not _answers(port):
            self.kill()
            raise AssertionError("the broker does not start; see its error output")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


class Subscriber:
    """Hears everything below a topic, across restarts of the broker."""

    def __init__(self, port: int, topic: str) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.raw: list[bytes] = []
        self.is_subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "subscriber")
        self._client.on_connect = lambda client, *rest: client.subscribe(f"{topic}/#", 1)
        self._client.on_subscribe = lambda *rest: self.is_subscribed.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port, 5)
        self._client.loop_start()

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        self.raw.append(message.payload)
        self.heard.append((message.topic.rpartition("/")[2], json.loads(message.payload)))

    def states(self) -> list[str]:
        """Changes of state: whoever subscribes at that moment may get one twice, retained and live."""
        states = [value["state"] for kind, value in self.heard if kind == "state"]
        return [state for state, _ in itertools.groupby(states)]

    def parts(self) -> list[int]:
        return [value["part"] for kind, value in self.heard if kind == "verdict"]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def port() -> Iterator[int]:
    yield free_port()


def test_verdicts_survive_a_broker_that_goes_and_comes_back(port: int, heard: Heard) -> None:
    topic = "plant/line1"
    config = MqttConfig(port=port, topic=topic, timeout_s=0.3, capacity=50)
    broker = RunningBroker(port)
    sink = QueuedSink(MqttSink(config), "mqtt", heard.events, capacity=50, backoff=Backoff(0.02, 0.05))
    subscriber = Subscriber(port, topic)
    try:
        assert subscriber.is_subscribed.wait(10.0)
        assert until(lambda: subscriber.states() == ["online"])
        for index in range(20):
            sink.write(*written(index, Decision.NG))
        assert until(lambda: len(subscriber.parts()) == 20)

        broker.kill()
        subscriber.is_subscribed.clear()
        for index in range(20, 120):
            sink.write(*written(index))
        assert heard.wait_for("sink down")
        # The newest fifty wait for the broker.
        broker = RunningBroker(port)
        assert subscriber.is_subscribed.wait(10.0)
        assert heard.wait_for("sink back")
        sink.write(*written(120))
        assert until(lambda: 120 in subscriber.parts())
        sink.close()
        assert until(lambda: subscriber.states()[-1] == "offline")
    finally:
        sink.close()
        subscriber.close()
        broker.kill()
    assert heard.kinds() == ["sink down", "sink back"]
    parts = [part for part in subscriber.parts() if part < 20]
    assert parts == list(range(20)) and sink.delivered + sink.dropped == 121
    payloads = [payload for payload in subscriber.raw if b"edge/verdict" in payload]
    messages = [msgspec.json.decode(payload, type=VerdictMessage) for payload in payloads]
    # Each number is one part; what came twice says so.
    assert len({message.sequence for message in messages}) == len({message.part for message in messages})
    assert {message.part for message in messages if message.part > 70} == set(range(71, 121))


_LINE = """
import sys, time
from dtgd_edge.runtime.outputs.mqtt import MqttSink
from dtgd_edge.runtime.outputs.settings import MqttConfig
sink = MqttSink(MqttConfig(port=int(sys.argv[1]), topic=sys.argv[2]))
time.sleep(60)
"""


def test_a_process_that_is_killed_is_offline(port: int) -> None:
    broker = RunningBroker(port)
    topic = "plant/line2"
    subscriber = Subscriber(port, topic)
    line = subprocess.Popen([sys.executable, "-c", _LINE, str(port), topic])
    try:
        assert until(lambda: subscriber.states() == ["online"], 30.0)
        line.kill()
        assert until(lambda: subscriber.states() == ["online", "offline"])
    finally:
        line.kill()
        line.wait()
        subscriber.close()
        broker.kill()


def test_a_broker_that_accepts_and_says_nothing_is_left_after_the_keep_alive(port: int, heard: Heard) -> None:
    mute = socket.create_server(("127.0.0.1", port))
    config = MqttConfig(port=port, timeout_s=0.2, keepalive_s=1)
    sink = QueuedSink(MqttSink(config), "mqtt", heard.events, backoff=Backoff(0.02, 0.05))
    held, _ = mute.accept()
    mute.close()
    broker: RunningBroker | None = None
    try:
        sink.write(*written(0))
        # Before the broker is started: by then the keep-alive may have ended the mute connection.
        assert heard.wait_for("sink down")
        broker = RunningBroker(port)
        assert heard.wait_for("sink back")
        assert until(lambda: sink.delivered == 1)
    finally:
        held.close()
        sink.close()
        if broker is not None:
            broker.kill()


def test_the_broker_may_take_a_message_while_the_next_is_handed_over(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library calls back with a lock held that publishing needs: neither may wait for the other."""
    broker = RunningBroker(port)
    sink = MqttSink(MqttConfig(port=port))
    publish, is_blocked = sink._client.publish, []

    def publish_while_another_is_taken(*args: Any) -> Any:
        other = threading.Thread(target=sink._client.on_publish, args=(sink._client, None, 999, None, None))
        other.daemon = True
        other.start()
        other.join(1.0)
        is_blocked.append(other.is_alive())
        assert not other.is_alive(), "the library's call-back waits for a lock that is held while publishing"
        return publish(*args)

    try:
        assert sink._connected.wait(10.0)
        monkeypatch.setattr(sink._client, "publish", publish_while_another_is_taken)
        sink.write(*written(0))
        assert is_blocked == [False]
    finally:
        monkeypatch.undo()
        sink.close()
        broker.kill()


def test_no_broker_is_an_error_of_each_write_not_of_the_start(port: int) -> None:
    sink = MqttSink(MqttConfig(port=port, timeout_s=0.05))
    with pytest.raises(SinkError, match="takes no verdicts"):
        sink.write(*written(0))
    sink.close()
    sink.close()


def test_secrets_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot be read"):
        MqttSink(MqttConfig(username="line", password_file=str(tmp_path / "none")))
    (tmp_path / "empty").touch()
    with pytest.raises(SinkError, match="is empty"):
        MqttSink(MqttConfig(username="line", password_file=str(tmp_path / "empty")))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SinkError, match="ca_file") as caught:
        MqttSink(MqttConfig(is_tls=True, ca_file=str(tmp_path / "ca.pem")))
    assert isinstance(caught.value.__cause__, ssl.SSLError)
