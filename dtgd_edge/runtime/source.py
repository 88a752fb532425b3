"""Where frames come from."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray
from typing_extensions import Self

from dtgd_edge.errors import SourceNotFound
from dtgd_edge.pictures import SUFFIXES as PICTURE_SUFFIXES

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".ts", ".wmv")
STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")
SAMPLE_SCHEME = "sample"

# RFC 3986, but with two letters at least: "C:\pictures" is a path.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_DEVICE = re.compile(r"/dev/video\d+")


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
    uri: str | int, *, size_hw: tuple[int, int] | None = None, fps: float | None = None
) -> FrameSource:
    """Open what a text names.

    Args:
        uri: a camera ("0", 0, "/dev/video0"), a stream ("rtsp://...", "http://..."), a folder of
            pictures, one picture, a video file, or the pretend line ("sample:",
            "sample:?parts=50&seed=3&defect_rate=0.2&size=320&fps=10").
        size_hw: height and width to ask a camera for, pixels; None: what it gives. Only for cameras.
        fps: frames per second to ask a camera for; None: what it gives. Only for cameras.

    Raises:
        SourceNotFound: it is not there, or it is not known what it is.
        DataError: one picture was named and it cannot be decoded.
        ConfigError: the pretend line does not know an option.
    """
    text = str(uri).strip()
    if text.isdecimal() or _DEVICE.fullmatch(text):
        from dtgd_edge.runtime.sources.capture import open_camera

        return open_camera(int(text) if text.isdecimal() else text, size_hw=size_hw, fps=fps)
    path = Path(text).expanduser()
    if is_uri(text) and not path.exists():
        return _open_scheme(text)
    if text and path.is_dir():
        from dtgd_edge.runtime.sources.folder import FolderSource

        return FolderSource(path)
    if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES:
        from dtgd_edge.runtime.sources.folder import PictureSource

        return PictureSource(path)
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        from dtgd_edge.runtime.sources.capture import open_video

        return open_video(path)
    raise SourceNotFound(_what_is_known(text, path))


def _open_scheme(text: str) -> FrameSource:
    scheme = text.partition(":")[0].lower()
    if scheme == SAMPLE_SCHEME:
        from dtgd_edge.runtime.sources.sample import open_sample

        return open_sample(text)
    if scheme in STREAM_SCHEMES:
        from dtgd_edge.runtime.sources.capture import open_stream

        return open_stream(text)
    schemes = ", ".join([*(f"{s}://" for s in STREAM_SCHEMES), f"{SAMPLE_SCHEME}:"])
    raise SourceNotFound(
        f"source {text!r} has a scheme that is not known; expected one of {schemes}; "
        "or name a camera number, a folder, a picture or a video file"
    )


def _what_is_known(text: str, path: Path) -> str:
    if text and path.exists():
        kinds = " ".join((*PICTURE_SUFFIXES, *VIDEO_SUFFIXES))
        return f"source {text} is of a kind that is not known; expected a folder or a file ending in {kinds}"
    return (
        f"source {text!r} does not exist; expected a camera number, a folder, a picture, a video file, "
        f"a stream or {SAMPLE_SCHEME}:; check the path"
    )
