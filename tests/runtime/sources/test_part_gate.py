"""Parts that move over a noisy belt, drawn in numpy."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, DataError, SourceLost
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.source_config import PartGateConfig, SourceConfig
from dtgd_edge.runtime.sources.opening import open_source
from dtgd_edge.runtime.sources.part_gate import PartGate

SIZE_HW = (60, 160)
PART_PX = 40
LEARN = 5
CONFIG = PartGateConfig(learn_frames=LEARN)
# Left edge of a part in frame after frame: from outside to outside, in the middle at 60.
WAY = tuple(range(-60, 181, 20))
MIDDLE = 60


class Script(FrameSource):
    """Gives frames as they are written down, then ends or fails."""

    is_live = True
    dropped = 7
    description = "pretend belt"

    def __init__(self, frames: list[Frame], error: Exception | None = None, is_live: bool = True) -> None:
        self.is_live = is_live
        self.frames = frames
        self.error = error
        self.is_closed = False

    def __iter__(self) -> Iterator[Frame]:
        yield from self.frames
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.is_closed = True


def belt(left: int | None = None, seed: int = 0) -> np.ndarray:
    """The belt, noisy and striped, with a part from `left` on."""
    image = np.full((*SIZE_HW, 3), 90, np.int16)
    image[:, ::8] = 110
    if left is not None:
        image[10:50, max(0, left) : max(0, left + PART_PX)] = (40, 160, 200)
    image += np.random.default_rng(seed).integers(-8, 9, image.shape, np.int16)
    return image.astype(np.uint8)


def frames_of(*lefts: int | str | None, step_ms: float = 10.0) -> list[Frame]:
    """One frame each: a part's place, None for the empty belt, or the text of a fault."""
    frames = []
    for index, left in enumerate(lefts):
        at_ns = round((index + 1) * step_ms * 1e6)
        if isinstance(left, str):
            frames.append(Frame(None, index, at_ns, fault=left))
        else:
            frames.append(Frame(belt(left, index), index, at_ns, name=str(left), capture_ms=3.0))
    return frames


def gated(frames: list[Frame], config: PartGateConfig = CONFIG, events: Events | None = None) -> list[Frame]:
    with PartGate(Script(frames), config, events) as gate:
        return list(gate)


EMPTY = (None,) * LEARN


def test_each_part_is_one_frame_and_the_best_centred() -> None:
    delivered = gated(frames_of(*EMPTY, *WAY, None, *WAY, None))
    assert [(frame.name, frame.part, frame.index) for frame in delivered] == [("60", 0, 0), ("60", 1, 1)]
    assert [frame.captured_ns for frame in delivered] == [
        (LEARN + at + 1) * 10_000_000 for at in (WAY.index(MIDDLE), len(WAY) + 1 + WAY.index(MIDDLE))
    ]
    assert all(frame.capture_ms == 3.0 and frame.image is not None for frame in delivered)


def test_several_frames_of_a_part_in_order_of_time() -> None:
    delivered = gated(frames_of(*EMPTY, *WAY), PartGateConfig(learn_frames=LEARN, frames_per_part=3))
    assert [frame.name for frame in delivered] == ["40", "60", "80"]
    assert [frame.part for frame in delivered] == [0, 0, 0]
    assert [frame.index for frame in delivered] == [0, 1, 2]


def test_all_frames_of_a_part_come_without_waiting_for_its_end() -> None:
    script = Script(frames_of(*EMPTY, None, 40, 60, 80, None))
    with PartGate(script, PartGateConfig(learn_frames=LEARN, frames_per_part=0)) as gate:
        assert next(iter(gate)).name == "40"
    delivered = gated(script.frames, PartGateConfig(learn_frames=LEARN, frames_per_part=0))
    assert [(frame.name, frame.part) for frame in delivered] == [("40", 0), ("60", 0), ("80", 0)]


def test_nothing_but_noise_is_no_part() -> None:
    assert gated(frames_of(*EMPTY, *[None] * 40)) == []


def test_a_part_is_learned_away_when_it_moves_through_the_first_frames() -> None:
    delivered = gated(frames_of(None, 20, None, 80, None, None, *WAY, None))
    assert [frame.name for frame in delivered] == ["60"]


def test_a_share_between_the_two_limits_neither_enters_nor_leaves() -> None:
    # A part from 150 on shows a quarter of itself: 4 % of the frame.
    config = PartGateConfig(learn_frames=LEARN, enter_share=0.05, leave_share=0.02, frames_per_part=0)
    faint = [150] * 3
    assert gated(frames_of(*EMPTY, *faint), config) == []
    delivered = gated(frames_of(*EMPTY, 60, *faint, None, *faint), config)
    assert [(frame.name, frame.part) for frame in delivered] == [("60", 0), *[("150", 0)] * 3]


def test_faults_are_passed_on_at_once_with_the_part_that_they_belong_to() -> None:
    fault = "damaged picture: a motor beside the wire"
    delivered = gated(frames_of(fault, *EMPTY, fault, 40, fault, 60, None, fault))
    assert [(frame.fault, frame.name, frame.part) for frame in delivered] == [
        (fault, "", None),
        (fault, "", None),
        (fault, "", 0),
        (None, "60", 0),
        (fault, "", None),
    ]
    assert [frame.index for frame in delivered] == [0, 1, 2, 3, 4]


def test_a_lost_camera_ends_the_part_because_another_may_be_there_when_it_is_back() -> None:
    fault = "lost frame: the cable"
    delivered = gated(frames_of(*EMPTY, 40, 60, fault, fault, 60, 100, None))
    assert [(frame.fault, frame.name, frame.part) for frame in delivered] == [
        (None, "60", 0),
        (fault, "", 0),
        (fault, "", None),
        (None, "60", 1),
    ]


def test_a_picture_of_another_size_is_a_fault() -> None:
    frames = frames_of(*EMPTY, None, 60, None)
    frames[LEARN] = Frame(np.zeros((30, 40, 3), np.uint8), LEARN)
    delivered = gated(frames)
    assert delivered[0].image is None and delivered[0].fault is not None
    assert delivered[0].fault.startswith("changed format: 40x30 px, expected 160x60 px")
    assert delivered[1].name == "60"


@pytest.mark.parametrize("error", [None, SourceLost("gone")])
def test_a_part_on_the_belt_at_the_end_is_delivered(error: SourceLost | None) -> None:
    script = Script(frames_of(*EMPTY, 20, 40), error)
    delivered = []
    gate = PartGate(script, CONFIG)
    try:
        for frame in gate:
            delivered.append(frame)
    except SourceLost as exc:
        assert exc is error
    else:
        assert error is None
    assert [frame.name for frame in delivered] == ["40"]
    assert script.is_closed


def test_a_reference_needs_no_learning(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "belt.png"), belt(seed=99))
    config = PartGateConfig(reference=str(tmp_path / "belt.png"))
    assert [frame.name for frame in gated(frames_of(60, None, 60, None), config)] == ["60", "60"]


def test_a_reference_must_be_readable_and_hold_the_region(tmp_path: Path) -> None:
    path = tmp_path / "belt.png"
    with pytest.raises(DataError, match="cannot be read"):
        PartGate(Script([]), PartGateConfig(reference=str(path)))
    cv2.imwrite(str(path), belt())
    with pytest.raises(ConfigError, match=r"region_xywh .*160x60 px"):
        PartGate(Script([]), PartGateConfig(reference=str(path), region_xywh=(100, 0, 61, 60)))


def test_a_region_beyond_the_first_frame() -> None:
    with pytest.raises(ConfigError, match=r"region_xywh .*160x60 px"):
        gated(frames_of(*EMPTY), PartGateConfig(learn_frames=LEARN, region_xywh=(0, 50, 10, 11)))


def test_only_the_region_counts() -> None:
    config = PartGateConfig(learn_frames=LEARN, region_xywh=(100, 0, 60, 60))
    delivered = gated(frames_of(*EMPTY, 0, 20, 40, None, *WAY, None), config)
    # A part in the middle of this region begins at 110: 100 and 120 are as near.
    assert [frame.part for frame in delivered] == [0]
    assert delivered[0].name in ("100", "120")


@pytest.mark.parametrize("is_grey", [False, True])
def test_deep_pictures_are_shares_of_their_significant_bits(is_grey: bool) -> None:
    frames = []
    for frame in frames_of(*EMPTY, 60, None):
        assert frame.image is not None
        image = frame.image[..., 2] if is_grey else frame.image
        frames.append(Frame(image.astype(np.uint16) * 16, frame.index, name=frame.name))
    config = PartGateConfig(learn_frames=LEARN, sensor_bits=12)
    assert [frame.name for frame in gated(frames, config)] == ["60"]
    # Of 16 bits, the same pictures are nearly black and show nothing.
    assert gated(frames, PartGateConfig(learn_frames=LEARN, sensor_bits=16)) == []


def test_a_part_that_stays_is_told_once() -> None:
    told: list[Event] = []
    events = Events()
    events.listen(told.append)
    delivered = gated(frames_of(*EMPTY, *[60] * 7, None, 60, None, step_ms=10_000), events=events)
    assert [(event.kind, event.is_alarm) for event in told] == [("part gate stuck", True)]
    assert "part 0" in told[0].detail
    assert [frame.part for frame in delivered] == [0, 1]


def test_an_end_before_the_belt_is_known_is_told() -> None:
    told: list[Event] = []
    events = Events()
    events.listen(told.append)
    assert gated(frames_of(None, None), events=events) == []
    assert [event.kind for event in told] == ["part gate not ready"]
    assert "2 of 5 frames" in told[0].detail


@pytest.mark.parametrize("is_live", [False, True])
def test_it_is_as_live_as_its_source_but_keeps_every_frame(is_live: bool) -> None:
    script = Script([], is_live=is_live)
    gate = PartGate(script, CONFIG)
    assert (gate.is_live, gate.keeps_newest, gate.may_be_silent) == (is_live, False, True)
    assert gate.dropped == 7
    assert "pretend belt" in gate.description
    gate.close()
    gate.close()
    assert script.is_closed


def test_closing_ends_it_without_another_frame() -> None:
    gate = PartGate(Script(frames_of(*EMPTY, 40, None, 60, None)), CONFIG)
    frames = iter(gate)
    assert next(frames).name == "40"
    gate.close()
    assert list(frames) == []


def test_a_record_opens_it_over_a_folder(tmp_path: Path) -> None:
    for number, left in enumerate((*EMPTY, *WAY, None, *WAY)):
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), belt(left, number))
    with open_source(SourceConfig(str(tmp_path), part_gate=CONFIG)) as source:
        delivered = list(source)
    middle = LEARN + WAY.index(MIDDLE)
    assert [frame.name for frame in delivered] == [f"{middle:03}.png", f"{middle + len(WAY) + 1:03}.png"]
    assert [frame.part for frame in delivered] == [0, 1]
