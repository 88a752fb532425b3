"""The pretend line as a source: no camera, no pictures, no download."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.source import Frame, FrameSource
from dtgd_edge.runtime.uri_options import options_from_uri


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What stands behind "sample:?".

    Attributes:
        parts: number of parts; None: endless.
        seed: equal seeds give equal parts.
        defect_rate: share of defective parts, 0 to 1.
        size: height and width of a picture, pixels.
        fps: parts per second, as a live camera gives them, dropped when nobody takes them; None: as
            fast as they are taken, none dropped.
    """

    parts: int | None = None
    seed: int = 0
    defect_rate: float = 0.2
    size: int = 320
    fps: float | None = None

    def __post_init__(self) -> None:
        # Written as "not within", so that NaN is refused too.
        if (
            not (self.parts is None or self.parts >= 1)
            or not 0.0 <= self.defect_rate <= 1.0
            or not 64 <= self.size <= 2048
            or not (self.fps is None or 0.0 < self.fps <= 1000.0)
            or self.seed < 0
        ):
            raise ConfigError(
                f"the pretend line cannot make {self}; expected parts >= 1, seed >= 0, defect_rate 0 to 1, "
                "size 64 to 2048 and fps above 0; correct the option"
            )


def open_sample(uri: str, keeps_newest: bool | None = None) -> "SampleSource":
    """Open "sample:" or "sample:?parts=50&seed=3&defect_rate=0.2&size=320&fps=10".

    Args:
        keeps_newest: as SampleSource takes it.

    Raises:
        ConfigError: an option that is not known, or a value that cannot be.
    """
    return SampleSource(options_from_uri(uri, SampleOptions), keeps_newest)


class SampleSource(FrameSource):
    """Parts of the pretend line; a frame's name is the part's defect, or "good".

    Args:
        keeps_newest: whether late frames are dropped; None: if it is live.
    """

    def __init__(self, options: SampleOptions = SampleOptions(), keeps_newest: bool | None = None) -> None:
        self._keeps_newest = keeps_newest
        length = "endless" if options.parts is None else f"{options.parts} parts"
        self._description = f"pretend line ({length}, seed {options.seed}, {options.size} px)"
        self._options = options
        self._closed = threading.Event()

    @property
    def description(self) -> str:
        return self._description

    @property
    def is_live(self) -> bool:
        return self._options.fps is not None

    @property
    def keeps_newest(self) -> bool:
        return self.is_live if self._keeps_newest is None else self._keeps_newest

    def __iter__(self) -> Iterator[Frame]:
        from dtgd_edge.pretend import line_parts

        options = self._options
        parts = islice(line_parts(options.seed, options.defect_rate, options.size), options.parts)
        due = time.monotonic()
        for index in count():
            begun_ns = time.monotonic_ns()
            part = next(parts, None)
            if part is None or self._closed.is_set():
                return
            if options.fps is not None:
                if self._closed.wait(max(0.0, due - time.monotonic())):
                    return
                # A line that cannot draw its parts in time falls behind rather than catching up in a burst.
                due = max(due, time.monotonic() - 1.0 / options.fps) + 1.0 / options.fps
                begun_ns = time.monotonic_ns()
            capture_ms = (time.monotonic_ns() - begun_ns) / 1e6
            yield Frame(part.image, index, begun_ns, part.defect, capture_ms)

    def close(self) -> None:
        self._closed.set()
