"""Frames that cannot be judged never pass the gate; dark, bright and quiet ones do."""

import time

import numpy as np
import pytest

from dtgd_edge.runtime.health import HealthGate, HealthLimits
from dtgd_edge.runtime.source import Frame

RNG = np.random.default_rng(0)


def noisy(grey: float = 120, shape: tuple[int, ...] = (48, 64, 3), deviation: float = 4) -> np.ndarray:
    return np.clip(RNG.normal(grey, deviation, shape), 0, 255).astype(np.uint8)


def kind(reason: str | None) -> str | None:
    return None if reason is None else reason.partition(":")[0]


def fault(image: np.ndarray | None, gate: HealthGate | None = None) -> str | None:
    return kind((gate or HealthGate(None, False)).fault(Frame(image, 0)))


def test_a_lost_frame_keeps_its_reason() -> None:
    frame = Frame(None, 0, fault="lost frame: the cable is out")
    assert HealthGate(None, True).fault(frame) == "lost frame: the cable is out"


@pytest.mark.parametrize("grey", [20, 120, 235])
def test_an_ordinary_frame_passes(grey: int) -> None:
    assert fault(noisy(grey)) is None
    assert fault(noisy(grey, (48, 64))) is None


def test_black_and_white() -> None:
    assert fault(noisy(1, deviation=1)) == "black"
    assert fault(np.zeros((48, 64), np.uint8)) == "black"
    assert fault(np.full((48, 64, 3), 255, np.uint8)) == "white"


def test_a_bright_thing_in_the_dark_is_a_picture() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[200:300, 300:360] = 220
    assert image.mean() < 0.04 * 255
    assert fault(image) is None


def test_sixteen_bits_are_measured_on_the_sensors_scale() -> None:
    twelve = (noisy(120).astype(np.uint16)) << 4
    assert fault(twelve, HealthGate(None, False, sensor_bits=12)) is None
    assert fault(np.full((48, 64), 4095, np.uint16), HealthGate(None, False, sensor_bits=12)) == "white"
    assert fault(np.full((48, 64), 20, np.uint16), HealthGate(None, False, sensor_bits=12)) == "black"


def test_another_size_than_trained() -> None:
    gate = HealthGate((48, 64), False)
    assert fault(noisy(), gate) is None
    reason = gate.fault(Frame(noisy(shape=(64, 48, 3)), 0))
    assert reason is not None and reason.startswith("wrong size: the frame has 48x64 px, expected 64x48")


def test_a_live_source_must_keep_its_size() -> None:
    gate = HealthGate(None, True)
    assert fault(noisy(), gate) is None
    assert fault(noisy(shape=(96, 128, 3)), gate) == "wrong size"
    files = HealthGate(None, False)
    assert fault(noisy(), files) is None
    assert fault(noisy(shape=(96, 128, 3)), files) is None


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((48, 64, 3), np.float32),
        np.zeros((48, 64, 2), np.uint8),
        np.zeros((0, 64, 3), np.uint8),
        np.zeros(64, np.uint8),
        np.zeros((1, 48, 64, 3), np.uint8),
    ],
)
def test_what_is_no_picture(image: np.ndarray) -> None:
    assert fault(image) == "wrong layout"


def test_a_frozen_camera_and_its_return() -> None:
    gate = HealthGate(None, True, HealthLimits(frozen_frames=3))
    still = noisy()
    assert [fault(still.copy(), gate) for _ in range(5)] == [None, None, "frozen", "frozen", "frozen"]
    assert fault(noisy(), gate) is None


def test_equal_files_are_not_frozen() -> None:
    gate = HealthGate(None, False)
    still = noisy()
    assert [fault(still, gate) for _ in range(10)] == [None] * 10


def test_a_frame_of_the_past() -> None:
    old_ns = time.monotonic_ns() - 3_000_000_000
    assert kind(HealthGate(None, True).fault(Frame(noisy(), 0, old_ns))) == "stale"
    assert HealthGate(None, False).fault(Frame(noisy(), 0, old_ns)) is None


def test_a_1080p_frame_takes_less_than_a_millisecond() -> None:
    gate = HealthGate((1080, 1920), True)
    frames = [Frame(noisy(shape=(1080, 1920, 3)), index) for index in range(3)]
    times_ms = []
    for _ in range(10):
        for frame in frames:
            begun = time.perf_counter()
            assert kind(gate.fault(frame)) in (None, "stale")
            times_ms.append((time.perf_counter() - begun) * 1000)
    assert min(times_ms) < 1.0
