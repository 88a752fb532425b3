"""GStreamer pipelines, and the Jetson's own cameras by way of one."""

import cv2

from dtgd_edge.errors import ConfigError, SourceNotFound
from dtgd_edge.runtime.source_config import CameraConfig
from dtgd_edge.runtime.sources.capture import LiveSource, opened

_CSI_SIZE_HW = (1080, 1920)
_CSI_FPS = 30.0


def open_pipeline(pipeline: str, description: str = "") -> LiveSource:
    """Open a GStreamer pipeline that ends in an appsink.

    Args:
        description: for people; "": the pipeline itself.

    Raises:
        ConfigError: it does not end in an appsink.
        SourceNotFound: this OpenCV has no GStreamer, or the pipeline does not start.
    """
    if "appsink" not in pipeline:
        raise ConfigError(
            f"pipeline {pipeline!r} has no appsink; expected it to end in "
            "'videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false'; add that"
        )
    name = description or f"pipeline {pipeline!r}"
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise SourceNotFound(
            f"{name} needs GStreamer, but this OpenCV ({cv2.__version__}) is built without; expected "
            "an OpenCV with it; on Jetson: pip uninstall opencv-python, then sudo apt install python3-opencv"
        )
    handle = opened(pipeline, cv2.CAP_GSTREAMER)
    if handle is None:
        raise SourceNotFound(
            f"{name} does not start; expected a camera or stream behind it; "
            f"try gst-launch-1.0 with {pipeline!r}"
        )
    return LiveSource(handle, name)


def open_csi(sensor: int, config: CameraConfig = CameraConfig()) -> LiveSource:
    """Open a camera on a Jetson's CSI connector.

    Raises:
        SourceNotFound: this OpenCV has no GStreamer, or there is no such camera.
    """
    return open_pipeline(csi_pipeline(sensor, config), f"CSI camera {sensor}")


def csi_pipeline(sensor: int, config: CameraConfig) -> str:
    """The pipeline of a Jetson's CSI camera: Argus, then BGR in ordinary memory, newest picture only."""
    height, width = config.size_hw or _CSI_SIZE_HW
    numerator = round((config.fps or _CSI_FPS) * 1000)
    fixed = ""
    if config.exposure_ms is not None:
        exposure_ns = round(config.exposure_ms * 1e6)
        fixed += f' exposuretimerange="{exposure_ns} {exposure_ns}"'
    if config.gain is not None:
        fixed += f' gainrange="{config.gain:g} {config.gain:g}"'
    return (
        f"nvarguscamerasrc sensor-id={sensor}{fixed} ! "
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={numerator}/1000 ! "
        "nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
        "appsink drop=true max-buffers=1 sync=false"
    )
