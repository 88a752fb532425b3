import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.errors import DataError, SinkError
from dtgd_edge.pictures import SUFFIXES, picture_paths, read_picture, write_picture

cv2 = pytest.importorskip("cv2")
Image = NDArray[Any]


def _image(dtype: type = np.uint8, channels: int | None = 3) -> Image:
    shape = (40, 56) if channels is None else (40, 56, channels)
    small = np.random.default_rng(0).integers(0, 256, (5, 7, *shape[2:])).astype(np.uint8)
    image: Image = cv2.resize(small, (56, 40), interpolation=cv2.INTER_CUBIC)
    return image.astype(dtype) * (257 if dtype is np.uint16 else 1)


def _encoded(suffix: str, image: Image) -> bytes:
    buffer: NDArray[np.uint8] = cv2.imencode(suffix, image)[1]
    return buffer.tobytes()


def _exif_jpeg(image: Image, orientation: int, thumbnail: bytes = b"") -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0) + thumbnail
    jpeg = _encoded(".jpg", image)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".PNG"])
@pytest.mark.parametrize("channels", [None, 3])
def test_lossless_round_trip(tmp_path: Path, suffix: str, channels: int | None) -> None:
    image, path = _image(channels=channels), tmp_path / f"a{suffix}"
    write_picture(path, image)
    expected = image if channels else np.repeat(image[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_picture(path), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [None, 3])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, suffix: str, channels: int | None) -> None:
    image, path = _image(np.uint16, channels), tmp_path / f"a{suffix}"
    write_picture(path, image)
    picture = read_picture(path)
    assert picture.dtype == np.uint16
    np.testing.assert_array_equal(picture, image if channels else np.repeat(image[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_dropped(tmp_path: Path, suffix: str, dtype: type) -> None:
    image, path = _image(dtype, 4), tmp_path / f"a{suffix}"
    write_picture(path, image)
    np.testing.assert_array_equal(read_picture(path), image[..., :3])


@pytest.mark.parametrize("channels", [None, 3])
def test_jpeg_is_close(tmp_path: Path, channels: int | None) -> None:
    image, path = _image(channels=channels), tmp_path / "a.jpg"
    write_picture(path, image)
    picture = read_picture(path)
    assert picture.shape == (40, 56, 3) and picture.dtype == np.uint8
    expected = image if channels else np.repeat(image[..., None], 3, axis=2)
    assert np.abs(picture.astype(int) - expected).mean() < 6


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_exif_orientation_turns_the_picture_upright(tmp_path: Path, orientation: int, turns: int) -> None:
    image, path = _image(), tmp_path / "a.jpg"
    path.write_bytes(_encoded(".jpg", image))
    plain = read_picture(path)
    path.write_bytes(_exif_jpeg(image, orientation))
    np.testing.assert_array_equal(read_picture(path), np.rot90(plain, turns))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", [None, 3])
def test_every_truncation_is_refused(tmp_path: Path, suffix: str, channels: int | None) -> None:
    content, path = _encoded(suffix, _image(channels=channels)), tmp_path / f"a{suffix}"
    # The last four bytes of OpenCV's TIFF say only that no second picture follows.
    for length in [*range(0, len(content) - 5, len(content) // 20), len(content) - 5]:
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=path.name):
            read_picture(path)


def test_truncated_jpeg_with_a_thumbnail_is_refused(tmp_path: Path) -> None:
    thumbnail = _encoded(".jpg", _image()[:8, :8])
    content, path = _exif_jpeg(_image(), 1, thumbnail), tmp_path / "a.jpg"
    path.write_bytes(content)
    read_picture(path)
    path.write_bytes(content[:-300])
    assert b"\xff\xd9" in path.read_bytes()[-4096:]
    with pytest.raises(DataError, match="truncated JPEG"):
        read_picture(path)


def test_jpeg_followed_by_other_data_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(_encoded(".jpg", _image()) + bytes(10_000))
    assert read_picture(path).shape == (40, 56, 3)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.7, 0.99])
def test_flipped_byte_in_a_png_is_refused(tmp_path: Path, share: float) -> None:
    content, path = bytearray(_encoded(".png", _image())), tmp_path / "a.png"
    content[int(len(content) * share)] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a\.png"):
        read_picture(path)


def test_giant_picture_is_refused(tmp_path: Path) -> None:
    header = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, 1 << 19, 1 << 19, 1, 24, 0, 0, 0, 0, 0, 0)
    (tmp_path / "a.bmp").write_bytes(header + bytes(1000))
    with pytest.raises(DataError, match=r"a\.bmp"):
        read_picture(tmp_path / "a.bmp")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_picture(tmp_path)
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read_picture(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("this is no picture")
    with pytest.raises(DataError, match="cannot be decoded"):
        read_picture(tmp_path / "text.png")
    (tmp_path / "float.tif").write_bytes(_encoded(".tif", np.zeros((8, 8, 3), np.float32)))
    with pytest.raises(DataError, match="float32"):
        read_picture(tmp_path / "float.tif")


def test_paths_are_sorted_pictures_only(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.tiff", "notes.txt", "._a.jpg"):
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in picture_paths(tmp_path)] == ["a.JPG", "b.png", "c.tiff"]
    with pytest.raises(DataError, match="not a folder"):
        picture_paths(tmp_path / "a.JPG")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        picture_paths(tmp_path / "empty")


def test_a_refusing_disk_is_a_sink_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SinkError):
        write_picture(tmp_path / "file" / "a.png", _image())
