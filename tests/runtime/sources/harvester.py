"""A pretend Harvester: what the harvesters package does as far as a GenICam source sees it."""

import signal
import threading
import time
from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np

HW = (4, 6)


class Node:
    """A setting with a largest value."""

    def __init__(self, value: Any, largest: float = 1e9) -> None:
        self._value = value
        self.largest = largest

    @property
    def value(self) -> Any:
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        if not isinstance(value, str) and value > self.largest:
            raise ValueError(f"Value = {value} must be smaller than {self.largest} : thrown in Node.h")
        self._value = value


class Buffer:
    """Whose memory is written over as soon as it is queued again, as a camera does."""

    def __init__(self, data: np.ndarray, name: str, width: int = HW[1], x_padding: int = 0) -> None:
        self.data = data
        component = SimpleNamespace(
            data=data, data_format=name, width=width, height=HW[0], x_padding=x_padding
        )
        self.payload = SimpleNamespace(components=[component])
        self.queued = 0

    def queue(self) -> None:
        self.queued += 1
        self.data[:] = 0


class Acquirer:
    """Stands in for Harvester's ImageAcquirer; plays what `shows` says, and is silent when that is over."""

    class Events(Enum):
        INCOMPLETE_BUFFER = 1

    def __init__(self, shows: list[Buffer | str]) -> None:
        self.shows = iter(shows)
        self.nodes = {
            "PixelFormat": Node("Mono8"),
            "Width": Node(6, 4000),
            "Height": Node(4, 3000),
            "ExposureAuto": Node("Continuous"),
            "ExposureTimeAbs": Node(10.0),
            "GainAuto": Node("Continuous"),
            "Gain": Node(0.0, 24.0),
            "AcquisitionFrameRate": Node(10.0),
        }
        self.started = threading.Event()
        self.destroyed = 0
        self.on_incomplete: Callable[[], None] | None = None
        self.reading = threading.Lock()

    @property
    def remote_device(self) -> Any:
        return SimpleNamespace(node_map=SimpleNamespace(**self.nodes))

    def values(self) -> dict[str, Any]:
        return {name: node.value for name, node in self.nodes.items()}

    def add_callback(self, event: Enum, callback: Callable[[], None]) -> None:
        assert event is self.Events.INCOMPLETE_BUFFER
        self.on_incomplete = callback

    def start(self) -> None:
        self.started.set()

    def try_fetch(self, *, timeout: float) -> Buffer | None:
        with self.reading:
            assert self.started.is_set() and not self.destroyed
            shown = next(self.shows, "silence")
            if isinstance(shown, Buffer):
                return shown
            if shown == "gone":
                raise RuntimeError("GenTL exception: device lost")
            if shown == "incomplete":
                assert self.on_incomplete is not None
                self.on_incomplete()
            else:
                time.sleep(min(timeout, 0.01))
            return None

    def destroy(self) -> None:
        assert not self.reading.locked(), "given back in the middle of a read"
        self.destroyed += 1


class Harvester:
    """Stands in for harvesters.core.Harvester."""

    def __init__(self, *shows: Buffer | str) -> None:
        self.acquirer = Acquirer(list(shows))
        self.device_info_list = [SimpleNamespace(serial_number=serial) for serial in ("SN17", "1")]
        self.files: list[str] = []
        self.created: list[int] = []
        self.resets = 0
        self.refuses = ""

    def add_file(self, file: str) -> None:
        self.files.append(file)

    def update(self) -> None:
        pass

    def create(self, index: int) -> Acquirer:
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.created.append(index)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the real one does
        return self.acquirer

    def reset(self) -> None:
        self.resets += 1
