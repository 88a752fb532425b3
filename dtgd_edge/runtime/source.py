"""Where frames come from."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray
from typing_extensions import Self

from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.source_config import CameraConfig, ReconnectConfig, SourceConfig

if TYPE_CHECKING:
    from dtgd_edge.runtime.trigger import Trigger

# Of a source that is named by a text alone: whoever types a camera's number wants to hear that it is gone.
_GIVE_UP_AFTER_S = 20.0

# RFC 3986, but with two letters at least: "C:\pictures" is a path.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture from a source.

    Attributes:
        image: uint8 or uint16, [H, W] or BGR [H, W, 3]; None when the source could not deliver it.
        index: counted by the source from 0, gaps are dropped frames.
        captured_ns: time.monotonic_ns() at arrival, before it is decoded.
        name: file name, or what the source calls it; "" if it has none.
        capture_ms: time from arrival to the decoded image.
        fault: why image is None, as "kind: detail"; the kind is counted in the run's summary.
        part: number of the part that it shows, where the source knows; several frames may show one part.
    """

    image: NDArray[Any] | None
    index: int
    captured_ns: int = field(default_factory=time.monotonic_ns)
    name: str = ""
    capture_ms: float = 0.0
    fault: str | None = None
    part: int | None = None

    def __post_init__(self) -> None:
        assert (self.image is None) == (self.fault is not None), "a frame has an image or a fault"


class FrameSource(Protocol):
    """Iterator of frames. Structural: any class with these members is one.

    Iterating raises SourceLost or SourceTimeout when the source goes away; closing from another
    thread ends the iteration. A source is iterated once, by one thread.
    """

    @property
    def is_live(self) -> bool:
        """Whether frames arrive by themselves, so that old ones are worthless."""
        ...

    @property
    def keeps_newest(self) -> bool:
        """Whether a frame that waits makes room for a newer one; otherwise every frame is kept."""
        return self.is_live

    @property
    def may_be_silent(self) -> bool:
        """Whether hours without a frame are normal, as between two triggers."""
        return not self.is_live

    @property
    def dropped(self) -> int:
        """Frames that the source itself dropped; they are gaps of the index."""
        return 0

    @property
    def description(self) -> str:
        """What it is, for people."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """End the iteration and give the device back; closing twice is fine. Never blocks."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_uri(text: str) -> bool:
    """Whether a text starts with a scheme, as rtsp://host/stream and sample: do and C:\\pictures does not."""
    return _SCHEME.match(text) is not None


def open_source(
    source: str | int | SourceConfig,
    *,
    size_hw: tuple[int, int] | None = None,
    fps: float | None = None,
    events: Events | None = None,
    trigger: "Trigger | None" = None,
) -> FrameSource:
    """Open what a text or a line file names.

    Args:
        source: a camera ("0", 0, "/dev/video0", "v4l2:/dev/video0?width_px=1280&height_px=720&fps=30",
            "csi://0", "genicam://SERIAL?cti=FILE"), a stream ("rtsp://...", "http://...",
            "gst:PIPELINE"), a folder of pictures, one picture, a video file, "list:FILE" (one picture
            per line), "watch:FOLDER" (pictures as they are written), or the pretend line ("sample:",
            "sample:?parts=50&seed=3&defect_rate=0.2&size=320&fps=10"); or a record that says more.
        size_hw: height and width to ask a camera for, pixels; None: what it gives. Only for cameras that
            are named by a text.
        fps: frames per second to ask a camera for; None: what it gives. As size_hw.
        events: told when the source is lost and back; None: only logged.
        trigger: fires the frames of a source whose record has a trigger; None: a new one.

    Returns:
        A source. One that is named by a text ends with SourceLost after 20 s without it; with a record,
        that is what the record says.

    Raises:
        SourceNotFound: it is not there, or it is not known what it is.
        DataError: one picture was named and it cannot be decoded.
        ConfigError: an option that is not known, or options that do not go together.
    """
    from dtgd_edge.runtime.sources.opening import open_configured

    if isinstance(source, SourceConfig):
        return open_configured(source, events or Events(), trigger)
    height, width = size_hw or (None, None)
    config = SourceConfig(
        str(source),
        camera=CameraConfig(width, height, fps),
        reconnect=ReconnectConfig(give_up_after_s=_GIVE_UP_AFTER_S),
    )
    return open_configured(config, events or Events(), trigger)
