"""From a source's name or record to the source: what the name means, and what is wrapped around it."""

import re
from pathlib import Path

from dtgd_edge.errors import ConfigError, SourceNotFound
from dtgd_edge.pictures import SUFFIXES as PICTURE_SUFFIXES
from dtgd_edge.runtime.event import Events
from dtgd_edge.runtime.source import FrameSource, is_uri
from dtgd_edge.runtime.source_config import CameraConfig, ReconnectConfig, SourceConfig
from dtgd_edge.runtime.sources.reconnect import Opener, ReconnectingSource
from dtgd_edge.runtime.trigger import Trigger
from dtgd_edge.runtime.uri_options import options_from_uri, split_uri

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".ts", ".wmv")
STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")
SCHEMES = ("v4l2:", "csi://", "gst:", "genicam://", "list:", "watch:", "sample:")

# Of a source that is named by a text alone: whoever types a camera's number wants to hear that it is gone.
_GIVE_UP_AFTER_S = 20.0
_DEVICE = re.compile(r"/dev/video\d+")


def open_source(
    source: str | int | SourceConfig,
    *,
    size_hw: tuple[int, int] | None = None,
    fps: float | None = None,
    events: Events | None = None,
    trigger: Trigger | None = None,
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
    events = events or Events()
    config = source if isinstance(source, SourceConfig) else _named(str(source), size_hw, fps)
    if trigger is not None and config.trigger is None:
        raise ConfigError(
            "a trigger was given to a source without one; expected a table [source.trigger]; add it"
        )
    opened = _opened(config, events)
    try:
        return _wrapped(opened, config, events, trigger)
    except BaseException:
        opened.close()
        raise


def _named(text: str, size_hw: tuple[int, int] | None, fps: float | None) -> SourceConfig:
    """The record of a source that is named by a text alone."""
    height, width = size_hw or (None, None)
    return SourceConfig(
        text,
        camera=CameraConfig(width, height, fps),
        reconnect=ReconnectConfig(give_up_after_s=_GIVE_UP_AFTER_S),
    )


def _wrapped(
    source: FrameSource, config: SourceConfig, events: Events, trigger: Trigger | None
) -> FrameSource:
    if config.trigger is not None:
        from dtgd_edge.runtime.sources.triggered import TriggeredSource

        if not source.is_live:
            raise ConfigError(
                f"{source.description} has a trigger; expected a camera or stream, whose frames come by "
                "themselves; remove [source.trigger]"
            )
        return TriggeredSource(source, trigger or Trigger(config.trigger, events), config.trigger, events)
    if config.part_gate is not None:
        from dtgd_edge.runtime.sources.part_gate import PartGate

        return PartGate(source, config.part_gate, events)
    return source


def _opened(config: SourceConfig, events: Events) -> FrameSource:
    text = str(config.uri).strip()
    path = Path(text).expanduser()
    if opener := _live_opener(text, config, events):
        # Opened here once, so that a wrong name ends the start with its own sentence.
        first = opener()
        keeps_newest = config.policy == "newest" or (config.policy == "auto" and _takes_newest(config))
        return ReconnectingSource(
            first, opener, first.description, config.reconnect, keeps_newest=keeps_newest, events=events
        )
    if is_uri(text) and not path.exists():
        return _open_scheme(text, config, events)
    return _open_path(text, path)


def _takes_newest(config: SourceConfig) -> bool:
    return config.trigger is None and config.part_gate is None


def _live_opener(text: str, config: SourceConfig, events: Events) -> Opener | None:
    """What opens a camera or stream again and again; None: it is neither."""
    camera = config.camera
    if text.isdecimal() or _DEVICE.fullmatch(text):
        device: int | str = int(text) if text.isdecimal() else text
        return lambda: _open_camera(device, camera, events)
    scheme = text.partition(":")[0].lower()
    if scheme == "v4l2":
        place = split_uri(text)[0]
        asked = options_from_uri(text, CameraConfig) if "?" in text else camera
        return lambda: _open_camera(int(place) if place.isdecimal() else place, asked, events)
    if scheme in STREAM_SCHEMES and is_uri(text):
        return lambda: _open_stream(text, config)
    if scheme == "csi":
        place = split_uri(text)[0]
        asked = options_from_uri(text, CameraConfig) if "?" in text else camera
        if not place.isdecimal():
            raise ConfigError(f"source {text!r} names no sensor; expected csi://0; correct it")
        return lambda: _open_csi(int(place), asked)
    if scheme == "gst":
        return lambda: _open_pipeline(text.partition(":")[2].strip())
    if scheme == "genicam":
        return lambda: _open_genicam(text, camera)
    return None


def _open_scheme(text: str, config: SourceConfig, events: Events) -> FrameSource:
    scheme, _, rest = text.partition(":")
    if scheme.lower() == "sample":
        from dtgd_edge.runtime.sources.sample import open_sample

        newest = {"newest": True, "every": False}.get(config.policy)
        return open_sample(text, newest if newest is not None or _takes_newest(config) else False)
    if scheme.lower() == "list":
        from dtgd_edge.runtime.sources.folder import ListSource

        return ListSource(Path(rest).expanduser())
    if scheme.lower() == "watch":
        from dtgd_edge.runtime.sources.watched import WatchedFolder

        return WatchedFolder(Path(rest).expanduser(), events=events)
    schemes = ", ".join([*(f"{s}://" for s in STREAM_SCHEMES), *SCHEMES])
    raise SourceNotFound(
        f"source {text!r} has a scheme that is not known; expected one of {schemes}; "
        "or name a camera number, a folder, a picture or a video file"
    )


def _open_path(text: str, path: Path) -> FrameSource:
    from dtgd_edge.runtime.sources.folder import FolderSource, PictureSource

    if text and path.is_dir():
        return FolderSource(path)
    if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES:
        return PictureSource(path)
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        from dtgd_edge.runtime.sources.capture import open_video

        return open_video(path)
    raise SourceNotFound(_what_is_known(text, path))


# One function per kind, so that OpenCV and Harvester are imported for those who use them.
def _open_camera(device: int | str, camera: CameraConfig, events: Events) -> FrameSource:
    from dtgd_edge.runtime.sources.camera import open_camera

    return open_camera(device, camera, events)


def _open_stream(url: str, config: SourceConfig) -> FrameSource:
    from dtgd_edge.runtime.sources.capture import open_stream
    from dtgd_edge.runtime.sources.mjpeg import open_mjpeg

    if url.lower().startswith("http"):
        pictures = open_mjpeg(url, config.reconnect)
        if pictures is not None:
            return pictures
    return open_stream(url, config.reconnect)


def _open_csi(sensor: int, camera: CameraConfig) -> FrameSource:
    from dtgd_edge.runtime.sources.gstreamer import open_csi

    return open_csi(sensor, camera)


def _open_pipeline(pipeline: str) -> FrameSource:
    from dtgd_edge.runtime.sources.gstreamer import open_pipeline

    return open_pipeline(pipeline)


def _open_genicam(uri: str, camera: CameraConfig) -> FrameSource:
    from dtgd_edge.runtime.sources.genicam import open_genicam

    return open_genicam(uri, camera)


def _what_is_known(text: str, path: Path) -> str:
    if text and path.exists():
        kinds = " ".join((*PICTURE_SUFFIXES, *VIDEO_SUFFIXES))
        return f"source {text} is of a kind that is not known; expected a folder or a file ending in {kinds}"
    return (
        f"source {text!r} does not exist; expected a camera number, a folder, a picture, a video file, "
        "a stream or sample:; check the path"
    )
