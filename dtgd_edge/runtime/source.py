"""Where frames come from."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray
from typing_extensions import Self

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
