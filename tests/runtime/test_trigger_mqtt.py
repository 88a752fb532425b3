"""Triggers through a real broker on loopback: once for each message, and again after it was restarted."""

import queue
import time
from collections.abc import Callable

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.source_config import MqttTriggerConfig
from dtgd_edge.runtime.sources.trigger_inputs import MqttTopic
from dtgd_edge.runtime.trigger import Trigger
from tests.runtime.outputs.test_mqtt import RunningBroker, free_port

TOPIC = "plant/line1/part"


class SpiedTrigger(Trigger):
    """Remembers who fired it."""

    def __init__(self) -> None:
        super().__init__()
        self.fired: queue.Queue[str] = queue.Queue()

    def fire(self, who: str = "") -> int | None:
        self.fired.put(who)
        return super().fire(who)


def publish(port: int, count: int) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for number in range(count):
        client.publish(TOPIC, str(number), qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def until(is_so: Callable[[], bool], limit_s: float = 10.0) -> bool:
    ends = time.monotonic() + limit_s
    while time.monotonic() < ends:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def heard_one(port: int, trigger: SpiedTrigger) -> bool:
    """Whether the subscription stands: its acknowledgement cannot be seen from outside."""
    publish(port, 1)
    return until(lambda: not trigger.fired.empty(), 0.5)


def drained(fired: "queue.Queue[str]") -> list[str]:
    who = []
    while not fired.empty():
        who.append(fired.get_nowait())
    return who


def test_each_message_fires_once_across_a_restart_of_the_broker() -> None:
    port, trigger, events, told = free_port(), SpiedTrigger(), Events(), queue.Queue[str]()
    events.listen(lambda event: told.put(event.kind))
    broker = RunningBroker(port)
    topic = MqttTopic(MqttTriggerConfig("127.0.0.1", TOPIC, port), trigger, events)
    try:
        assert told.get(timeout=10) == "trigger input back"
        assert until(lambda: heard_one(port, trigger))
        drained(trigger.fired)
        publish(port, 5)
        assert until(lambda: trigger.fired.qsize() >= 5)
        assert drained(trigger.fired) == [f"mqtt {TOPIC}"] * 5
        broker.kill()
        assert told.get(timeout=10) == "trigger input lost"
        broker = RunningBroker(port)
        assert told.get(timeout=15) == "trigger input back"
        assert until(lambda: heard_one(port, trigger))
    finally:
        topic.close()
        broker.kill()
