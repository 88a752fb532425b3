"""Opens every way to the plant that a line's file names."""

from collections.abc import Callable
from typing import TypeVar

from dtgd_edge.errors import ConfigError, SinkError
from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.outputs.gpio import GpioOutput
from dtgd_edge.runtime.outputs.queued import QueuedSink
from dtgd_edge.runtime.outputs.settings import ModbusConfig, MqttConfig, OutputsConfig
from dtgd_edge.runtime.outputs.simulator import SimulatedOutput
from dtgd_edge.runtime.outputs.webhook import WebhookSink
from dtgd_edge.runtime.reject import Encoder, Output, RejectConfig, RejectLine
from dtgd_edge.runtime.sink import Sink

Opened = TypeVar("Opened")


def open_outputs(
    config: OutputsConfig,
    events: Events,
    *,
    reject: RejectConfig | None = None,
    encoder: Encoder | None = None,
    is_alive: Callable[[], bool] = lambda: True,
) -> list[Sink]:
    """Open what the configuration names.

    Args:
        config: the tables [outputs.*].
        events: is told what goes down and comes back.
        reject: the table [reject]; None: its defaults. Without modbus, opcua, gpio or a simulator there
            is no reject line.
        encoder: of the conveyor; None: the count that the controller writes to the Modbus server.
        is_alive: as RejectLine takes it.

    Returns:
        Sinks whose `write` returns at once: a RejectLine first if there is one, then QueuedSinks.

    Raises:
        SinkError: something cannot be opened, or a package is missing; what had been opened is closed.
        ConfigError: encoder_counts is set and there is no encoder.
    """
    reject = reject or RejectConfig()
    sinks: list[Sink] = []
    try:
        outputs = _signal_outputs(config)
        if outputs:
            if encoder is None and reject.encoder_counts:
                encoder = _encoder_among(outputs, config.modbus)
            sinks.append(RejectLine(reject, outputs, events, encoder=encoder, is_alive=is_alive))
        if config.mqtt is not None:
            mqtt = config.mqtt
            name = f"mqtt {mqtt.host}:{mqtt.port}"
            sinks.append(QueuedSink(_mqtt_sink(mqtt), name, events, capacity=mqtt.capacity))
        if config.webhook is not None:
            webhook = config.webhook
            inner = WebhookSink(webhook)
            sinks.append(QueuedSink(inner, f"webhook {webhook.url}", events, capacity=webhook.capacity))
    except BaseException:
        for sink in sinks:
            sink.close()
        raise
    return sinks


def _signal_outputs(config: OutputsConfig) -> list[Output]:
    # The pins first: they are the quickest.
    outputs: list[Output] = []
    if config.gpio is not None:
        outputs.append(GpioOutput(config.gpio))
    if config.modbus is not None:
        outputs.append(_modbus_output(config.modbus))
    if config.opcua is not None:
        opcua = config.opcua

        def opcua_output() -> Output:
            from dtgd_edge.runtime.outputs.opcua import OpcUaOutput

            return OpcUaOutput(opcua)

        outputs.append(_with_package(opcua_output))
    if config.is_simulated:
        outputs.append(SimulatedOutput())
    return outputs


def _modbus_output(config: ModbusConfig) -> Output:
    def output() -> Output:
        if config.mode == "client":
            from dtgd_edge.runtime.outputs.modbus_client import ModbusClientOutput

            return ModbusClientOutput(config)
        from dtgd_edge.runtime.outputs.modbus_server import ModbusServerOutput

        return ModbusServerOutput(config)

    return _with_package(output)


def _mqtt_sink(config: MqttConfig) -> Sink:
    def sink() -> Sink:
        from dtgd_edge.runtime.outputs.mqtt import MqttSink

        return MqttSink(config)

    return _with_package(sink)


def _encoder_among(outputs: list[Output], modbus: ModbusConfig | None) -> Encoder:
    if modbus is not None and modbus.mode == "server":
        from dtgd_edge.runtime.outputs.modbus_server import ModbusServerOutput

        for output in outputs:
            if isinstance(output, ModbusServerOutput):
                return output
    raise ConfigError(
        "encoder_counts is set in [reject] and nothing counts; expected a Modbus server that the controller "
        "writes the count to; add [outputs.modbus] or use delay_ms"
    )


def _with_package(make: Callable[[], Opened]) -> Opened:
    try:
        return make()
    except ImportError as exc:
        raise SinkError(
            f"package {exc.name} is not installed; expected the extra 'line'; "
            "run: pip install 'dtgd-edge[line]'"
        ) from exc
