"""GenICam cameras: a pretend Harvester, and where it is installed, the GenTL producer that comes with it."""

import importlib.util
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.errors import ConfigError, SourceLost, SourceNotFound
from dtgd_edge.runtime.source import Frame
from dtgd_edge.runtime.source_config import CameraConfig
from dtgd_edge.runtime.sources.genicam import open_genicam
from dtgd_edge.runtime.sources.genicam_formats import FORMATS
from dtgd_edge.runtime.sources.genicam_source import GenicamSource
from dtgd_edge.runtime.sources.opening import open_source
from tests.runtime.sources.harvester import HW, Buffer, Harvester, Node

RED_BGR = (10, 40, 200)


@pytest.fixture
def cti(tmp_path: Path) -> Path:
    path = tmp_path / "vendor.cti"
    path.touch()
    return path


def opened(
    harvester: Harvester, cti: Path, place: str = "SN17", more: str = "", camera: CameraConfig | None = None
) -> GenicamSource:
    uri = f"genicam://{place}?cti={cti}{more}"
    return open_genicam(uri, camera or CameraConfig(), lambda: (harvester, lambda function: function))


def first_of(harvester: Harvester, cti: Path) -> Frame:
    with opened(harvester, cti) as source:
        return next(iter(source))


def collect(source: GenicamSource, frames: list[Frame]) -> None:
    """Keep the frames that came before an error."""
    for frame in source:
        frames.append(frame)


def ramp(dtype: type = np.uint8, elements: int = HW[0] * HW[1]) -> np.ndarray:
    return (np.arange(elements) * 7 + 3).astype(dtype)


@pytest.mark.parametrize(("place", "index"), [("SN17", 0), ("0", 0), ("1", 1)])
def test_a_camera_is_named_by_its_serial_number_or_else_its_place(place: str, index: int, cti: Path) -> None:
    harvester = Harvester()
    with opened(harvester, cti, place) as source:
        assert source.is_live
        assert ("SN17", "1")[index] in source.description
    assert harvester.created == [index]
    assert harvester.files == [str(cti)]


def test_settings_are_set_by_their_genicam_names_and_the_uri_wins(cti: Path) -> None:
    harvester = Harvester()
    camera = CameraConfig(640, 480, 30.0, "Mono12", 2.5, 6.0)
    with opened(harvester, cti, more="&pixel_format=BayerRG8&fps=12", camera=camera):
        assert harvester.acquirer.values() == {
            "PixelFormat": "BayerRG8",
            "Width": 640,
            "Height": 480,
            "ExposureAuto": "Off",
            "ExposureTimeAbs": 2500.0,
            "GainAuto": "Off",
            "Gain": 6.0,
            "AcquisitionFrameRate": 12.0,
        }


def test_what_is_not_asked_for_stays_as_it_is(cti: Path) -> None:
    harvester = Harvester()
    before = harvester.acquirer.values()
    with opened(harvester, cti):
        assert harvester.acquirer.values() == before


def test_all_settings_that_a_camera_lacks_are_named_in_one_error(cti: Path) -> None:
    harvester = Harvester()
    for name in ("Gain", "ExposureTimeAbs"):
        del harvester.acquirer.nodes[name]
    with pytest.raises(ConfigError, match="has no setting ExposureTime, Gain;"):
        opened(harvester, cti, more="&gain=3&exposure_ms=2")
    assert (harvester.acquirer.destroyed, harvester.resets) == (1, 1)


def test_values_that_a_camera_refuses_are_named_with_its_reason(cti: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"Gain = 99\.0 \(Value = 99\.0 must be smaller than 24\.0\)"):
        opened(Harvester(), cti, more="&gain=99")


def test_an_unknown_pixel_format_names_the_known(cti: Path) -> None:
    harvester = Harvester()
    harvester.acquirer.nodes["PixelFormat"] = Node("YUV422_8")
    with pytest.raises(SourceNotFound, match=r"'YUV422_8'.*Mono8.*BayerRG8.*BGR8"):
        opened(harvester, cti)
    assert harvester.resets == 1


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("genicam://SN17", "names no GenTL file"),
        ("genicam://?cti=a.cti", "names no camera"),
        ("genicam://SN17?ctl=a.cti", "did you mean 'cti'"),
        ("genicam://SN17?cti=a.cti&width_px=640", "width_px"),
    ],
)
def test_a_name_that_is_not_complete(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_genicam(uri, CameraConfig())


def test_a_gentl_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"none\.cti is not there"):
        opened(Harvester(), tmp_path / "none.cti")


def test_a_camera_that_is_not_there_names_those_that_are(cti: Path) -> None:
    harvester = Harvester()
    with pytest.raises(SourceNotFound, match=r"SN99 is not there \(found SN17, 1"):
        opened(harvester, cti, "SN99")
    harvester.device_info_list.clear()
    with pytest.raises(SourceNotFound, match=r"0 is not there \(found none"):
        opened(harvester, cti, "0")
    assert harvester.resets == 2


def test_a_camera_in_use(cti: Path) -> None:
    harvester = Harvester()
    harvester.refuses = "resource in use"
    with pytest.raises(SourceNotFound, match=r"cannot be opened \(resource in use\)"):
        opened(harvester, cti)


def test_without_the_package(cti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "harvesters.core", None)
    with pytest.raises(SourceNotFound, match=r"pip install 'dtgd-edge\[camera\]'"):
        open_source(f"genicam://SN17?cti={cti}")


def test_ctrl_c_stays_as_it_was(cti: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with opened(Harvester(), cti):
        assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("Mono8", np.uint8), ("Mono10", np.uint16), ("Mono12", np.uint16), ("Mono16", np.uint16)],
)
def test_grey_pictures_are_copied_before_their_buffer_is_queued(name: str, dtype: type, cti: Path) -> None:
    buffer = Buffer(ramp(dtype), name)
    frame = first_of(Harvester(buffer), cti)
    assert buffer.queued == 1
    assert frame.image is not None and frame.image.dtype == dtype
    np.testing.assert_array_equal(frame.image, ramp(dtype).reshape(HW))
    assert frame.index == 0 and frame.capture_ms >= 0


@pytest.mark.parametrize("name", ["RGB8", "BGR8", "RGBa8", "BGRa8"])
def test_colour_pictures_become_bgr(name: str, cti: Path) -> None:
    colour = dict(zip("BGRa", (*RED_BGR, 255), strict=True))
    pixel = [colour[letter] for letter in name[:-1]]
    frame = first_of(Harvester(Buffer(np.tile(np.uint8(pixel), HW[0] * HW[1]), name)), cti)
    np.testing.assert_array_equal(frame.image, np.full((*HW, 3), RED_BGR, np.uint8))


@pytest.mark.parametrize("order", ["RG", "GR", "GB", "BG"])
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16)])
def test_bayer_pictures_become_bgr(order: str, bits: int, dtype: type, cti: Path) -> None:
    blue, green, red = RED_BGR
    pattern = {
        "RG": ((red, green), (green, blue)),
        "GR": ((green, red), (blue, green)),
        "GB": ((green, blue), (red, green)),
        "BG": ((blue, green), (green, red)),
    }[order]
    mosaic = np.tile(np.array(pattern, dtype), (HW[0] // 2, HW[1] // 2))
    frame = first_of(Harvester(Buffer(mosaic.ravel().copy(), f"Bayer{order}{bits}")), cti)
    np.testing.assert_array_equal(frame.image, np.full((*HW, 3), RED_BGR, dtype))
    assert f"Bayer{order}{bits}" in FORMATS


def test_padding_behind_each_row_is_left_out(cti: Path) -> None:
    padded = np.full((HW[0], HW[1] + 2), 255, np.uint16)
    padded[:, : HW[1]] = ramp(np.uint16).reshape(HW)
    frame = first_of(Harvester(Buffer(padded.ravel(), "Mono12", x_padding=4)), cti)
    np.testing.assert_array_equal(frame.image, ramp(np.uint16).reshape(HW))


def test_damaged_buffers_are_faults_and_silence_is_none(cti: Path) -> None:
    short = Buffer(ramp(elements=5), "Mono8")
    empty = Buffer(ramp(), "Mono8")
    empty.payload.components.clear()
    shows = ["silence", "incomplete", Buffer(ramp(), "Mono8"), short, empty, Buffer(ramp(), "Mono8"), "gone"]
    harvester = Harvester(*shows)
    frames: list[Frame] = []
    with pytest.raises(SourceLost, match=r"SN17 failed \(GenTL exception: device lost\)"):
        collect(opened(harvester, cti), frames)
    assert [frame.image is None for frame in frames] == [True, False, True, True, False]
    assert all((f.fault or "damaged picture: ").startswith("damaged picture: ") for f in frames)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert short.queued == empty.queued == 1
    assert (harvester.acquirer.destroyed, harvester.resets) == (1, 1)


def test_many_damaged_buffers_in_a_row_are_a_loss(cti: Path) -> None:
    frames: list[Frame] = []
    with pytest.raises(SourceLost, match="6 damaged pictures in a row"):
        collect(opened(Harvester(*["incomplete"] * 20), cti), frames)
    assert len(frames) == 5


def test_a_camera_that_cannot_be_given_back_is_left(cti: Path, caplog: pytest.LogCaptureFixture) -> None:
    harvester = Harvester("gone")

    def destroy() -> None:
        raise RuntimeError("device lost")

    harvester.acquirer.destroy = destroy  # type: ignore[method-assign]
    with pytest.raises(SourceLost):
        list(opened(harvester, cti))
    assert harvester.resets == 1
    assert "not given back cleanly: device lost" in caplog.text


def test_closing_from_another_thread_ends_it_and_gives_the_camera_back_once(cti: Path) -> None:
    harvester = Harvester(Buffer(ramp(), "Mono8"))
    source = opened(harvester, cti)
    frames: list[Frame] = []
    reader = threading.Thread(target=lambda: frames.extend(source), daemon=True)
    reader.start()
    assert harvester.acquirer.started.wait(5)
    source.close()
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    assert (harvester.acquirer.destroyed, harvester.resets) == (1, 1)


def test_closed_before_it_is_iterated(cti: Path) -> None:
    harvester = Harvester(Buffer(ramp(), "Mono8"))
    source = opened(harvester, cti)
    source.close()
    assert list(source) == []
    assert not harvester.acquirer.started.is_set()
    assert (harvester.acquirer.destroyed, harvester.resets) == (1, 1)


def _simulator() -> Path | None:
    spec = importlib.util.find_spec("genicam")
    has_harvester = importlib.util.find_spec("harvesters") is not None
    path = Path(spec.origin).parent / "viky.cti" if spec and spec.origin and has_harvester else None
    return path if path is not None and path.is_file() else None


@pytest.mark.skipif(_simulator() is None, reason="no Harvester with a simulator here")
def test_the_real_harvester_and_its_simulator() -> None:
    uri = f"genicam://1?cti={_simulator()}"
    # Several in one process, one after the other, as when a camera is opened again.
    for more, shape in (("", (400, 400, 3)), ("&pixel_format=Mono8&width_px=320&height_px=240", (240, 320))):
        with open_genicam(f"{uri}{more}&fps=100", CameraConfig()) as source:
            frames = [frame for frame, _ in zip(source, range(2), strict=False)]
        assert [frame.image.shape for frame in frames if frame.image is not None] == [shape] * 2
    with pytest.raises(ConfigError, match="no setting ExposureTime, Gain"):
        open_genicam(f"{uri}&exposure_ms=1&gain=1", CameraConfig())
    with pytest.raises(SourceNotFound, match=r"SN99 is not there \(found 0, 1, 2"):
        open_genicam(f"genicam://SN99?cti={_simulator()}", CameraConfig())
