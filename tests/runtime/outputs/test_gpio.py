"""Digital outputs on fake pins, and both libraries' adapters on fake libraries."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dtgd_edge.errors import SinkError
from dtgd_edge.runtime.outputs.gpio import GpioOutput, open_pins
from dtgd_edge.runtime.outputs.settings import GpioConfig
from dtgd_edge.runtime.reject import RejectConfig, RejectLine, Signals
from dtgd_edge.verdict import Decision
from tests.runtime.outputs.conftest import Commands, Heard, until, written

ADAPTERS = ("dtgd_edge.runtime.outputs.pins_gpiod", "dtgd_edge.runtime.outputs.pins_jetson")


class FakePins:
    def __init__(self) -> None:
        self.calls: list[dict[int, bool]] = []
        self.is_broken = False
        self.is_closed = False

    def set(self, levels: dict[int, bool]) -> None:
        if self.is_broken:
            raise SinkError("no such device")
        self.calls.append(levels)

    def close(self) -> None:
        self.is_closed = True


def test_only_changes_reach_the_pins(commands: Commands) -> None:
    pins = FakePins()
    output = GpioOutput(GpioConfig(reject=17, ready=27, heartbeat=22), pins)
    output.open(commands)
    output.show(Signals())
    output.show(Signals(is_ready=True))
    output.show(Signals(is_ready=True, is_busy=True))
    output.show(Signals(is_rejecting=True, beats=1))
    assert pins.calls == [
        {17: False, 27: False, 22: False},
        {27: True},
        {17: True, 27: False, 22: True},
    ]
    pins.is_broken = True
    with pytest.raises(SinkError):
        output.show(Signals())
    pins.is_broken = False
    output.show(Signals())
    assert pins.calls[-1] == {17: False, 22: False}


def test_a_line_drives_the_ejector_pin(heard: Heard) -> None:
    pins = FakePins()
    output = GpioOutput(GpioConfig(reject=17), pins)
    with RejectLine(RejectConfig(delay_ms=5.0, pulse_ms=5.0), [output], heard.events) as line:
        line.write(*written(0, Decision.NG))
        assert until(lambda: [call.get(17) for call in pins.calls] == [False, True, False])
    # The safe state stays on the pin.
    assert pins.calls[-1] == {17: True} and pins.is_closed


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """No libraries are installed; a test puts fakes in."""
    for name in ("gpiod", "gpiod.line", "Jetson", "Jetson.GPIO"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    for name in ADAPTERS:
        monkeypatch.delitem(sys.modules, name, raising=False)

    def put(name: str, **names: Any) -> ModuleType:
        module = ModuleType(name)
        for key, value in names.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return SimpleNamespace(put=put)


def put_gpiod(board: SimpleNamespace, calls: list[Any], error: Exception | None = None) -> None:
    class Released(Exception):
        pass

    def request_lines(path: str, consumer: str, config: dict[Any, Any]) -> Any:
        if error:
            raise error
        calls.append((path, consumer, config))

        def set_values(values: dict[int, str]) -> None:
            calls.append(values)

        return SimpleNamespace(set_values=set_values, release=lambda: calls.append("release"))

    line = board.put(
        "gpiod.line",
        Direction=SimpleNamespace(OUTPUT="out"),
        Value=SimpleNamespace(ACTIVE="on", INACTIVE="off"),
    )
    board.put(
        "gpiod",
        line=line,
        request_lines=request_lines,
        RequestReleasedError=Released,
        LineSettings=lambda **settings: settings,
    )


def test_gpiod(board: SimpleNamespace) -> None:
    calls: list[Any] = []
    put_gpiod(board, calls)
    pins = open_pins(GpioConfig(reject=17, busy=4, chip="/dev/gpiochip4", is_active_low=True))
    pins.set({17: True, 4: False})
    pins.close()
    settings = {"direction": "out", "output_value": "off", "active_low": True}
    assert calls == [
        ("/dev/gpiochip4", "dtgd-edge", {(17, 4): settings}),
        {17: "on", 4: "off"},
        "release",
    ]


def test_gpiod_on_a_chip_that_is_not_there(board: SimpleNamespace) -> None:
    put_gpiod(board, [], FileNotFoundError(2, "No such file or directory"))
    with pytest.raises(SinkError, match="gpiochip0 cannot be taken"):
        open_pins(GpioConfig(reject=17))


@pytest.mark.parametrize(("is_active_low", "levels"), [(False, [0, 1]), (True, [1, 0])])
def test_jetson(board: SimpleNamespace, is_active_low: bool, levels: list[int]) -> None:
    calls: list[Any] = []
    gpio = board.put(
        "Jetson.GPIO",
        BOARD="board",
        OUT="out",
        HIGH=1,
        LOW=0,
        setmode=lambda mode: calls.append(mode),
        setup=lambda pins, way, initial: calls.append((pins, way, initial)),
        output=lambda pin, level: calls.append((pin, level)),
    )
    board.put("Jetson", GPIO=gpio)
    pins = open_pins(GpioConfig(reject=7, is_active_low=is_active_low))
    pins.set({7: True})
    pins.close()
    assert calls == ["board", ([7], "out", levels[0]), (7, levels[1])]


def test_without_a_library_it_says_what_to_install(board: SimpleNamespace) -> None:
    with pytest.raises(SinkError, match="pip install 'gpiod>=2'"):
        open_pins(GpioConfig(reject=17))
