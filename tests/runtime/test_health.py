"""Frames that cannot be judged never pass the gate; dark, bright and quiet ones do."""

import time

import numpy as np
import pytest

from dtgd_edge.appearance import appearance_of, statistics_of
from dtgd_edge.config import record_from_mapping
from dtgd_edge.errors import ConfigError
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


def still_frames(noise: float, frames: int, flicker_px: int = 0) -> list[np.ndarray]:
    """A still scene, brighter and darker than 8 bits can say, seen by a sensor with that much noise."""
    rng = np.random.default_rng(3)
    scene = rng.uniform(30, 220, (480, 640, 3))
    shots = [np.rint(scene + rng.normal(0, noise, scene.shape)).astype(np.uint8) for _ in range(frames)]
    for shot in shots:
        shot.reshape(-1)[:flicker_px] = rng.integers(0, 256, flicker_px)
    return shots


def test_a_still_scene_has_noise_and_passes() -> None:
    for noise in (1.0, 0.2, 0.05):
        gate = HealthGate(None, True)
        assert {fault(image, gate) for image in still_frames(noise, 15)} == {None}, noise


def test_a_repeated_picture_with_a_clock_in_it_is_nearly_frozen() -> None:
    gate = HealthGate(None, True)
    reasons = [fault(image, gate) for image in still_frames(0, 12, flicker_px=600)]
    assert reasons == [None] * 9 + ["nearly frozen"] * 3
    off = HealthGate(None, True, HealthLimits(still_share=0))
    assert {fault(image, off) for image in still_frames(0, 12, flicker_px=600)} == {None}


def test_a_clipped_still_scene_is_decided_by_the_pixels_that_have_noise() -> None:
    rng = np.random.default_rng(4)
    gate = HealthGate(None, True)
    for _ in range(15):
        image = np.zeros((480, 640, 3), np.uint8)  # a lit part of 1 % on black
        image[200:248, 300:364] = np.rint(rng.normal(150, 1.0, (48, 64, 3))).astype(np.uint8)
        assert fault(image, gate) is None


def test_a_source_may_use_its_buffer_again() -> None:
    gate = HealthGate(None, True)
    buffer = noisy()
    for _ in range(8):
        buffer[:] = noisy()
        assert fault(buffer, gate) is None


def test_appearance_is_compared_only_where_statistics_are_known() -> None:
    frames = [noisy(grey, (64, 64, 3)) for grey in (115, 120, 125)]
    gate = HealthGate(None, False, statistics=statistics_of(frames))
    assert gate.appearance_fault(appearance_of(noisy(121, (64, 64, 3)))) is None
    dark = appearance_of(noisy(40, (64, 64, 3)))
    assert kind(gate.appearance_fault(dark)) == "under-exposed"
    assert HealthGate(None, False).appearance_fault(dark) is None


@pytest.mark.parametrize(
    "keys",
    [
        {"black": 0.97},
        {"contrast": 2.0},
        {"frozen_frames": 1},
        {"still_share": 1.0},
        {"stale_ms": 0.0},
        {"stale_ms": float("nan")},
    ],
)
def test_impossible_limits(keys: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="health"):
        HealthLimits(**keys)  # type: ignore[arg-type]


def test_the_table_of_a_line_file() -> None:
    limits = record_from_mapping(
        {"frozen_frames": 8, "appearance": {"sharpness_share": 0.5}}, HealthLimits, "line.toml"
    )
    assert (limits.frozen_frames, limits.appearance.sharpness_share) == (8, 0.5)
