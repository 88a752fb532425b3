"""From a line's file to open outputs."""

import json
import sys
from pathlib import Path

import pytest

from dtgd_edge.config import record_from_mapping
from dtgd_edge.errors import ConfigError, SinkError
from dtgd_edge.runtime.outputs import OutputsConfig, QueuedSink, WebhookConfig, open_outputs
from dtgd_edge.runtime.outputs.message import SCHEMA_PATH, message_schema
from dtgd_edge.runtime.outputs.settings import GpioConfig, ModbusConfig, MqttConfig, OpcUaConfig
from dtgd_edge.runtime.reject import RejectConfig, RejectLine
from tests.runtime.outputs.conftest import Heard, until, written


def config_from(**tables: object) -> OutputsConfig:
    return record_from_mapping(tables, OutputsConfig, "line.toml")


def test_every_table_is_opened(heard: Heard) -> None:
    config = config_from(
        modbus={"port": 0},
        mqtt={"port": 1, "timeout_s": 0.05},
        webhook={"url": "http://127.0.0.1:1/", "decisions": ["OK"], "timeout_s": 0.05},
        is_simulated=True,
    )
    sinks = open_outputs(config, heard.events)
    try:
        assert [type(sink) for sink in sinks] == [RejectLine, QueuedSink, QueuedSink]
        for sink in sinks:
            sink.write(*written(0))
        assert heard.wait_for("sink down", 3)
        assert until(lambda: sinks[0].signals.is_rejecting)  # type: ignore[attr-defined]
    finally:
        for sink in sinks:
            if isinstance(sink, QueuedSink):
                sink._flush_s = 0.1
            sink.close()


def test_nothing_named_is_nothing_opened(heard: Heard) -> None:
    assert open_outputs(OutputsConfig(), heard.events) == []


def test_the_controller_may_be_the_encoder(heard: Heard) -> None:
    by_count = RejectConfig(encoder_counts=100)
    for sink in open_outputs(OutputsConfig(ModbusConfig(port=0)), heard.events, reject=by_count):
        sink.close()
    with pytest.raises(ConfigError, match="nothing counts"):
        open_outputs(OutputsConfig(is_simulated=True), heard.events, reject=by_count)


def test_what_was_opened_is_closed_when_the_rest_fails(heard: Heard, tmp_path: Path) -> None:
    config = OutputsConfig(
        is_simulated=True,
        webhook=WebhookConfig("http://127.0.0.1:1/", secret_file=str(tmp_path / "none")),
    )
    with pytest.raises(SinkError, match="cannot be read"):
        open_outputs(config, heard.events)


@pytest.mark.parametrize(
    ("table", "package"),
    [({"modbus": {}}, "pymodbus"), ({"mqtt": {}}, "paho"), ({"opcua": {}}, "asyncua")],
)
def test_a_missing_package_is_named(
    heard: Heard, monkeypatch: pytest.MonkeyPatch, table: dict[str, object], package: str
) -> None:
    for name in [*sys.modules]:
        if name.startswith((f"{package}.", "dtgd_edge.runtime.outputs.m", "dtgd_edge.runtime.outputs.opcua")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    with pytest.raises(SinkError, match=r"pip install 'dtgd-edge\[line\]'"):
        open_outputs(config_from(**table), heard.events)


@pytest.mark.parametrize(
    ("record", "values", "match"),
    [
        (ModbusConfig, {"port": 70_000}, "port"),
        (ModbusConfig, {"mode": "both"}, "mode"),
        (ModbusConfig, {"hots": "x"}, "'host'"),
        (MqttConfig, {"topic": "a/#"}, "topic"),
        (MqttConfig, {"host": ""}, "host"),
        (OpcUaConfig, {"port": -1}, "port"),
        (GpioConfig, {}, "reject"),
        (GpioConfig, {"reject": 4, "busy": 4}, "one pin per signal"),
        (WebhookConfig, {"url": "file:///etc/passwd"}, "url"),
        (WebhookConfig, {"url": "http://host:99999/"}, "url"),
        (WebhookConfig, {"url": "http://host/", "decisions": ["GOOD"]}, "decisions"),
        (WebhookConfig, {"url": "http://host/", "decisions": []}, "empty"),
    ],
)
def test_a_wrong_key_or_value_is_said(record: type, values: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        record_from_mapping(values, record, "line.toml")


def test_the_schema_that_is_shipped_is_that_of_the_messages() -> None:
    assert json.loads(SCHEMA_PATH.read_text()) == message_schema()
