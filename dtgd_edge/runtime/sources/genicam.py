"""GenICam cameras (GigE Vision, USB3 Vision, CoaXPress) through Harvester and the vendor's GenTL file."""

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dtgd_edge.errors import ConfigError, SourceNotFound
from dtgd_edge.runtime.source_config import CameraConfig
from dtgd_edge.runtime.sources.genicam_formats import check_format
from dtgd_edge.runtime.sources.genicam_source import CallbackMaker, GenicamSource, reason, release
from dtgd_edge.runtime.uri_options import options_from_uri, split_uri

# A Harvester, and what makes its callbacks.
Library = tuple[Any, CallbackMaker]


@dataclass(frozen=True, slots=True)
class GenicamOptions(CameraConfig):
    """What stands behind the "?" of genicam://; what is left out comes from the camera's record.

    Attributes:
        cti: GenTL files of the vendor.
    """

    cti: tuple[str, ...] = ()


def open_genicam(
    uri: str, camera: CameraConfig, library: Callable[[], Library] | None = None
) -> GenicamSource:
    """Open a camera by its serial number, or by its place among those that are there.

    Args:
        uri: "genicam://SERIAL?cti=FILE", cti once or more, and keys of `camera`, which win over it.
        camera: what it is asked for; the same every time, so that it comes back as it was.
        library: gives the Harvester; None: the installed one.

    Raises:
        SourceNotFound: no Harvester, no GenTL file, no such camera, or it refuses what it is asked for.
        ConfigError: the name is not complete, or the camera has no such setting at all.
    """
    place = split_uri(uri)[0]
    options = options_from_uri(uri, GenicamOptions)
    if not place or not options.cti:
        raise ConfigError(
            f"source {uri!r} names no {'GenTL file' if place else 'camera'}; expected "
            "genicam://SERIAL?cti=FILE; the vendor's .cti file is often in $GENICAM_GENTL64_PATH"
        )
    for file in options.cti:
        if not Path(file).expanduser().is_file():
            raise SourceNotFound(
                f"GenTL file {file} is not there; expected the vendor's .cti file; install its software"
            )
    harvester, make_callback = (library or _installed_library)()
    acquirer = None
    try:
        for file in options.cti:
            harvester.add_file(str(Path(file).expanduser().absolute()))
        harvester.update()
        name, acquirer = _acquirer(harvester, place, options.cti)
        _set_up(acquirer.remote_device.node_map, _merged(options, camera), name)
        return GenicamSource(harvester, acquirer, name, make_callback)
    except BaseException:
        release(harvester, acquirer)
        raise


def _installed_library() -> Library:
    try:
        from harvesters.core import Callback, Harvester
    except ImportError as exc:
        raise SourceNotFound(
            "GenICam cameras need the package harvesters, which is not here; expected it installed; "
            "pip install 'dtgd-edge[camera]'"
        ) from exc

    class Calls(Callback):  # type: ignore[misc]
        """A function as one of Harvester's callbacks."""

        def __init__(self, function: Callable[[], None]) -> None:
            self._function = function

        def emit(self, context: object = None) -> None:
            self._function()

    return Harvester(), Calls


def _merged(options: GenicamOptions, camera: CameraConfig) -> CameraConfig:
    chosen = {}
    for key in (field.name for field in fields(CameraConfig)):
        value = getattr(options, key)
        chosen[key] = getattr(camera, key) if value in (None, "") else value
    return CameraConfig(**chosen)


def _acquirer(harvester: Any, place: str, cti: tuple[str, ...]) -> tuple[str, Any]:
    """Find and open the camera; its description and Harvester's acquirer."""
    serials = [str(info.serial_number) for info in harvester.device_info_list]
    if place in serials:
        index = serials.index(place)
    elif place.isdecimal() and int(place) < len(serials):
        index = int(place)
    else:
        found = f"found {', '.join(serials)}" if serials else "found none"
        raise SourceNotFound(
            f"GenICam camera {place} is not there ({found} through {', '.join(cti)}); expected its serial "
            "number; check cable and power, and that no other program or source of this one uses the file"
        )
    is_main = threading.current_thread() is threading.main_thread()
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        return f"GenICam camera {serials[index]}", harvester.create(index)
    except Exception as exc:
        raise SourceNotFound(
            f"GenICam camera {place} cannot be opened ({reason(exc)}); expected one that no other program "
            "uses; close that program"
        ) from exc
    finally:
        if is_main:
            # Harvester takes Ctrl-C for itself, but a run must end by it as with every other source.
            signal.signal(signal.SIGINT, on_interrupt)


def _set_up(node_map: Any, camera: CameraConfig, name: str) -> None:
    """Ask the camera for its settings and check that its pictures can be read."""
    absent: list[str] = []
    refused: list[str] = []
    for nodes, value, is_needed in _settings(camera):
        node = next((found for n in nodes if (found := getattr(node_map, n, None)) is not None), None)
        if node is None:
            absent += [nodes[0]] if is_needed else []
            continue
        try:
            node.value = value
        except Exception as exc:
            refused.append(f"{nodes[0]} = {value} ({reason(exc)})")
    if absent:
        raise ConfigError(
            f"{name} has no setting {', '.join(absent)}; expected only settings that it has; remove the key "
            "and set it in the vendor's program"
        )
    if refused:
        raise SourceNotFound(
            f"{name} refuses {'; '.join(refused)}; expected values that it takes; see the vendor's program"
        )
    check_format(str(node_map.PixelFormat.value), name)


def _settings(camera: CameraConfig) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
    """Names of a node (newer first), its value, whether the camera must have it; in the order to set them."""
    if camera.pixel_format:
        yield ("PixelFormat",), camera.pixel_format, True
    if camera.size_hw is not None:
        yield ("Width",), camera.width_px, True
        yield ("Height",), camera.height_px, True
    if camera.exposure_ms is not None:
        yield ("ExposureAuto",), "Off", False
        yield ("ExposureTime", "ExposureTimeAbs"), camera.exposure_ms * 1000.0, True
    if camera.gain is not None:
        yield ("GainAuto",), "Off", False
        yield ("Gain",), camera.gain, True
    # Last, because size and exposure decide which rates there are.
    if camera.fps is not None:
        yield ("AcquisitionFrameRateEnable",), True, False
        yield ("AcquisitionFrameRate", "AcquisitionFrameRateAbs"), camera.fps, True
