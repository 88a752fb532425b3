"""One file per way to a plant's controller or network.

    open.py       all that a line's file names; settings.py are its tables
    modbus_server.py, modbus_client.py, opcua.py, gpio.py, simulator.py    signals of the reject line
    mqtt.py, webhook.py    verdicts as JSON; queued.py keeps their troubles away from the loop

Libraries are imported only in the files that own them; importing this package imports none.
"""

from dtgd_edge.runtime.outputs.open import open_outputs
from dtgd_edge.runtime.outputs.queued import QueuedSink
from dtgd_edge.runtime.outputs.settings import (
    GpioConfig,
    ModbusConfig,
    MqttConfig,
    OpcUaConfig,
    OutputsConfig,
    WebhookConfig,
)
from dtgd_edge.runtime.outputs.simulator import SimulatedOutput

__all__ = [
    "GpioConfig",
    "ModbusConfig",
    "MqttConfig",
    "OpcUaConfig",
    "OutputsConfig",
    "QueuedSink",
    "SimulatedOutput",
    "WebhookConfig",
    "open_outputs",
]
