"""What a line file says about where frames come from: table [source] and the tables inside it.

Beside source.py rather than in it, so that every kind of source can read its own record.
"""

from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from dtgd_edge.errors import ConfigError

Policy = Literal["auto", "newest", "every"]


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """What a camera is asked for; what is left out stays as the camera has it.

    Attributes:
        width_px, height_px: size of its frames; both or none.
        fps: frames per second.
        pixel_format: four letters for V4L2 ("MJPG", "YUYV"), a GenICam name ("Mono8", "BayerRG8").
        exposure_ms: exposure time; turns the automatic exposure off.
        gain: in the camera's own unit (dB for GenICam and CSI).
    """

    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None
    pixel_format: str = ""
    exposure_ms: float | None = None
    gain: float | None = None

    def __post_init__(self) -> None:
        if (self.width_px is None) != (self.height_px is None):
            raise ConfigError(
                f"a camera was asked for width_px = {self.width_px} and height_px = {self.height_px}; "
                "expected both or none; name both"
            )
        for key in ("width_px", "height_px", "fps", "exposure_ms"):
            value = getattr(self, key)
            # Written as "not within", so that NaN is refused too.
            if value is not None and not 0 < value < 1e6:
                raise ConfigError(f"a camera was asked for {key} = {value}; expected more than 0; correct it")
        if self.gain is not None and not isfinite(self.gain):
            raise ConfigError(f"a camera was asked for gain = {self.gain}; expected a number; correct it")

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Height and width, pixels; None: what the camera gives."""
        if self.width_px is None or self.height_px is None:
            return None
        return self.height_px, self.width_px


@dataclass(frozen=True, slots=True)
class ReconnectConfig:
    """How a live source that was lost is opened again.

    Attributes:
        first_wait_s: wait before the first try; doubles from failure to failure.
        longest_wait_s: longest wait between two tries.
        timeout_s: without a frame for so long a source is lost; while it is away, one fault frame in
            each such period. 0: silence is no fault (a camera that waits for its own trigger input).
        open_timeout_s: opening may take so long, the first frame included.
        give_up_after_s: away for so long, the run ends with an error; 0: never.
    """

    first_wait_s: float = 0.2
    longest_wait_s: float = 5.0
    timeout_s: float = 5.0
    open_timeout_s: float = 10.0
    give_up_after_s: float = 0.0

    def __post_init__(self) -> None:
        is_sound = (
            0 < self.first_wait_s <= self.longest_wait_s <= 3600
            and 0 <= self.timeout_s <= 3600
            and 0 < self.open_timeout_s <= 3600
            and 0 <= self.give_up_after_s < float("inf")
        )
        if not is_sound:
            raise ConfigError(
                f"a lost source cannot be opened again by {self}; expected 0 < first_wait_s <= "
                "longest_wait_s, timeout_s and give_up_after_s 0 or more, all below 3600; correct the key"
            )

    def wait_s(self, failures: int) -> float:
        """Wait before the next try, after so many failures in a row (1 or more)."""
        # The exponent is bounded because a camera may be away for days.
        return min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True, slots=True)
class MqttTriggerConfig:
    """A broker's topic on which every message is a trigger; retained messages are none.

    Attributes:
        host, port: of the broker.
        topic: to listen on; wildcards are allowed.
        user: name to log in with; "": without.
        password_file: file whose first line is the password, so that none stands in a line file.
    """

    host: str
    topic: str
    port: int = 1883
    user: str = ""
    password_file: str = ""

    def __post_init__(self) -> None:
        if not self.host or not self.topic or not 0 < self.port < 65536:
            raise ConfigError(
                f"MQTT trigger has host {self.host!r}, port {self.port} and topic {self.topic!r}; expected "
                "a broker's name, a port of 1 to 65535 and a topic; correct the key"
            )


@dataclass(frozen=True, slots=True)
class TriggerConfig:
    """One frame per trigger instead of all frames.

    Attributes:
        delay_ms: the frame of a trigger is the first that arrives so long after it; the way from the
            sensor to the camera, and the time that a picture needs to arrive.
        timeout_ms: a trigger that has no frame so long after it gets NO_DECISION.
        queue_limit: triggers that wait for their frame or their judgement at most; more are lost and told.
        keyboard: whether the Enter key triggers.
        mqtt: a topic that triggers.
    """

    delay_ms: float = 0.0
    timeout_ms: float = 1000.0
    queue_limit: int = 8
    keyboard: bool = False
    mqtt: MqttTriggerConfig | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.delay_ms < self.timeout_ms <= 3_600_000 or self.queue_limit < 1:
            raise ConfigError(
                f"a trigger has delay_ms = {self.delay_ms:g}, timeout_ms = {self.timeout_ms:g} and "
                f"queue_limit = {self.queue_limit}; expected 0 <= delay_ms < timeout_ms and a queue of "
                "1 or more; correct the key"
            )


@dataclass(frozen=True, slots=True)
class PartGateConfig:
    """Only the frames that show a part, told from the empty belt.

    Attributes:
        region_xywh: where a part is looked for, frame pixels; None: everywhere. Narrower than the gap
            between two parts, or both are taken for one.
        reference: picture of the empty belt; "": the middle (median) of the first frames.
        learn_frames: so many first frames, none of which is delivered.
        pixel_difference: a pixel has changed from there on, share of full scale.
        enter_share: a part is there when this share of the region has changed.
        leave_share: a part has left when less than this share has changed; below enter_share.
        frames_per_part: so many best-centred frames of each part; 0: all of them.
        sensor_bits: significant bits of 16-bit frames.
    """

    region_xywh: tuple[int, int, int, int] | None = None
    reference: str = ""
    learn_frames: int = 15
    pixel_difference: float = 0.1
    enter_share: float = 0.05
    leave_share: float = 0.02
    frames_per_part: int = 1
    sensor_bits: int = 16

    def __post_init__(self) -> None:
        x, y, width, height = self.region_xywh or (0, 0, 1, 1)
        if min(x, y) < 0 or min(width, height) < 1:
            raise ConfigError(
                f"the part gate's region_xywh is {self.region_xywh}; expected x and y of 0 or more, width "
                "and height of 1 or more; correct it"
            )
        is_sound = (
            0 < self.pixel_difference < 1
            and 0 <= self.leave_share < self.enter_share <= 1
            and 1 <= self.learn_frames <= 1000
            and 0 <= self.frames_per_part <= 100
            and 8 <= self.sensor_bits <= 16
        )
        if not is_sound:
            raise ConfigError(
                f"the part gate cannot work with {self}; expected 0 <= leave_share < enter_share <= 1, "
                "pixel_difference between 0 and 1, learn_frames 1 to 1000, frames_per_part 0 to 100 and "
                "sensor_bits 8 to 16; correct the key"
            )


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Table [source] of a line file.

    Attributes:
        uri: as `open_source` takes it.
        policy: "newest" drops frames that nobody took in time, "every" keeps them; "auto": live sources
            keep the newest, and files and triggered frames all are kept.
        camera: what a camera is asked for.
        reconnect: how a live source is opened again.
        trigger: one frame per trigger; not together with part_gate.
        part_gate: only frames that show a part.
    """

    uri: str
    policy: Policy = "auto"
    camera: CameraConfig = field(default_factory=CameraConfig)
    reconnect: ReconnectConfig = field(default_factory=ReconnectConfig)
    trigger: TriggerConfig | None = None
    part_gate: PartGateConfig | None = None

    def __post_init__(self) -> None:
        if self.policy not in ("auto", "newest", "every"):
            raise ConfigError(
                f"the source's policy is {self.policy!r}; expected auto, newest or every; correct it"
            )
        if self.trigger is not None and self.part_gate is not None:
            raise ConfigError(
                "the source has a trigger and a part gate; expected one of them, because each decides "
                "which frame shows which part; remove the other table"
            )
        if self.policy == "newest" and (self.trigger is not None or self.part_gate is not None):
            raise ConfigError(
                "the source's policy is newest with a trigger or a part gate; expected auto or every, "
                "because there every frame is a part; correct it"
            )
