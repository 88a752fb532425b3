"""USB and other Video4Linux cameras."""

import os
import sys
from pathlib import Path
from typing import Any

import cv2

from dtgd_edge.errors import ConfigError, SourceNotFound
from dtgd_edge.runtime.event import Event, Events
from dtgd_edge.runtime.source_config import CameraConfig
from dtgd_edge.runtime.sources.capture import LiveSource, opened

INSTEAD = "connect it, or try --source FOLDER or --source sample:"

# V4L2_EXPOSURE_MANUAL; the time itself is counted in steps of 100 us.
_MANUAL_EXPOSURE = 1.0
_EXPOSURE_STEPS_PER_MS = 10.0
# A camera rounds what it is asked for.
_TOLERANCE = 0.1


def open_camera(
    camera: int | str, config: CameraConfig = CameraConfig(), events: Events | None = None
) -> LiveSource:
    """Open a camera by number or device file.

    Args:
        config: what it is asked for; the same every time, so that it comes back as it was.
        events: told which of it the camera refused.

    Raises:
        SourceNotFound: it is not there or cannot be opened; names the cameras that are there.
        ConfigError: the pixel format is not four letters.
    """
    if config.pixel_format and len(config.pixel_format) != 4:
        raise ConfigError(
            f"camera {camera}: pixel_format is {config.pixel_format!r}; expected four letters as MJPG or "
            "YUYV; see v4l2-ctl --list-formats"
        )
    device = f"/dev/video{camera}" if isinstance(camera, int) else camera
    on_linux = sys.platform.startswith("linux")
    # OpenCV tries every backend, noisily, for a device that is not there.
    is_there = not on_linux or Path(device).exists()
    handle = opened(camera, cv2.CAP_V4L2 if on_linux else cv2.CAP_ANY) if is_there else None
    if handle is None:
        raise SourceNotFound(_why_no_camera(camera, device))
    # Few drivers obey; where they do, no old picture waits behind the newest.
    handle.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if refused := set_up(handle, config):
        text = f"camera {camera} gives {', '.join(refused)}; see what it can with v4l2-ctl --list-formats-ext"
        (events or Events()).tell(Event("camera setting refused", text, is_alarm=True))
    return LiveSource(handle, f"camera {camera}")


def set_up(handle: Any, config: CameraConfig) -> list[str]:
    """Ask an open camera for its settings.

    Args:
        handle: a cv2.VideoCapture.

    Returns:
        What it gives instead, one text for each setting that it refused.
    """
    wanted: list[tuple[str, int, float | None]] = [
        # The format first: it decides which sizes there are, and the size which rates.
        ("pixel_format", cv2.CAP_PROP_FOURCC, _fourcc(config.pixel_format)),
        ("width_px", cv2.CAP_PROP_FRAME_WIDTH, config.width_px),
        ("height_px", cv2.CAP_PROP_FRAME_HEIGHT, config.height_px),
        ("fps", cv2.CAP_PROP_FPS, config.fps),
        ("gain", cv2.CAP_PROP_GAIN, config.gain),
    ]
    if config.exposure_ms is not None:
        wanted.append(("manual exposure", cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE))
        wanted.append(("exposure", cv2.CAP_PROP_EXPOSURE, config.exposure_ms * _EXPOSURE_STEPS_PER_MS))
    asked = [(name, key, value) for name, key, value in wanted if value is not None]
    for _, key, value in asked:
        handle.set(key, float(value))
    refused = []
    for name, key, value in asked:
        # Only now, because a later setting may change an earlier one.
        got = float(handle.get(key))
        is_exact = name in ("pixel_format", "width_px", "height_px", "manual exposure")
        if abs(got - value) > (0.0 if is_exact else _TOLERANCE * abs(value)):
            is_format = name == "pixel_format"
            shown = (_letters(got), _letters(value)) if is_format else (f"{got:g}", f"{value:g}")
            refused.append(f"{name} {shown[0]} instead of {shown[1]}")
    return refused


def _fourcc(letters: str) -> float | None:
    return float(cv2.VideoWriter.fourcc(*letters)) if letters else None


def _letters(code: float) -> str:
    return int(code).to_bytes(4, "little", signed=True).decode("latin-1").strip("\0") or "none"


def _why_no_camera(camera: int | str, device: str) -> str:
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    if device not in found:
        there = f"this machine has {', '.join(found)}" if found else "this machine has no /dev/video* at all"
        return f"camera {camera} is not there; {there}; {INSTEAD}"
    if not os.access(device, os.R_OK | os.W_OK):
        return (
            f"camera {camera} may not be opened; expected the right to use {device}; "
            "add the user to group video"
        )
    return (
        f"camera {camera} ({device}) is there but cannot be opened; expected a capture device that no other "
        f"program uses (found {', '.join(found)}); close that program or try the next number"
    )
