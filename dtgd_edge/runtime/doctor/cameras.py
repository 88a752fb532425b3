"""OpenCV's way to cameras, and the cameras."""

import os
from pathlib import Path

from dtgd_edge.runtime.doctor.finding import Finding
from dtgd_edge.runtime.doctor.jetson import l4t_version


def check_opencv(root: Path) -> list[Finding]:
    """OpenCV and what it can read."""
    try:
        import cv2
    # A missing system library (libGL) is an ImportError, a mixed installation may be anything.
    except Exception as exc:
        fix = "pip install opencv-python; if a system library is missing: pip install opencv-python-headless"
        return [Finding("OpenCV", False, f"cannot be imported ({exc})", fix)]
    built = _build_information(cv2.getBuildInformation())
    detail = (
        f"{cv2.__version__}, FFmpeg {built.get('FFMPEG', 'NO')}, GStreamer {built.get('GStreamer', 'NO')}"
    )
    if built.get("GStreamer", "NO") == "YES":
        return [Finding("OpenCV", True, detail)]
    fix = "csi:// cameras need an OpenCV with GStreamer, which the pip one has not"
    if l4t_version(root):
        fix += ": pip uninstall opencv-python; sudo apt install python3-opencv"
    return [Finding("OpenCV", True, detail, fix)]


def _build_information(text: str) -> dict[str, str]:
    """First words of what OpenCV was built with: {"GStreamer": "YES", ...}."""
    pairs = (line.strip().partition(":") for line in text.splitlines())
    return {name: words.split()[0] for name, _, words in pairs if words.split()}


def check_cameras(root: Path) -> list[Finding]:
    """Video devices, and whether this user may open them."""
    devices = sorted((root / "dev").glob("video*"))
    if not devices:
        fix = "connect a camera, or use --source FOLDER or --source sample:"
        return [Finding("cameras", False, "no /dev/video*", fix)]
    names = ", ".join(f"/dev/{device.name}" for device in devices)
    if not any(os.access(device, os.R_OK | os.W_OK) for device in devices):
        fix = "sudo usermod -aG video $USER, then log in again"
        return [Finding("cameras", False, f"{names}, but this user may not open them", fix)]
    return [Finding("cameras", True, names)]
