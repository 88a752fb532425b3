"""Picture files: find them, read them, write them. The only place that decodes a file."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import DataError, SinkError

Image = NDArray[Any]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def picture_paths(folder: Path) -> list[Path]:
    """List the pictures directly in a folder, by name.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a folder of pictures; check the path")
    try:
        files = [p for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError as exc:
        raise DataError(f"{folder} cannot be listed ({exc.strerror}); expected a folder of pictures") from exc
    paths = sorted(p for p in files if p.suffix.lower() in SUFFIXES)
    if not paths:
        kinds = ", ".join(SUFFIXES)
        raise DataError(f"{folder} holds no pictures; expected files ending in {kinds}; check the path")
    return paths


def read_picture(path: Path) -> Image:
    """Decode a PNG, JPEG, BMP or TIFF, turned upright as its EXIF says.

    Returns:
        uint8 or uint16 [H, W, 3], BGR; grey pictures have three equal channels, alpha is dropped.

    Raises:
        DataError: no such file, empty, truncated, damaged, or neither 8 nor 16 bit.
    """
    import cv2

    return _decoded(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)


def read_as_written(path: Path) -> Image:
    """Decode a picture as `write_picture` was given it, if its kind is lossless.

    Returns:
        uint8 or uint16, [H, W], BGR [H, W, 3] or BGRA [H, W, 4].

    Raises:
        DataError: as `read_picture`.
    """
    import cv2

    return _decoded(path, cv2.IMREAD_UNCHANGED)


def _decoded(path: Path, flags: int) -> Image:
    import cv2

    try:
        content = path.read_bytes()
    except OSError as exc:
        raise DataError(
            f"{path} cannot be read ({exc.strerror}); expected a picture; check the path"
        ) from exc
    if not content:
        raise DataError(f"{path} is empty; expected a picture; delete it or copy it again")
    if damage := _damage(content):
        raise DataError(f"{path} {damage}; expected a whole picture; delete it or copy it again")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:  # for instance more pixels than OpenCV's limit
        image = None
    if image is None:
        raise DataError(
            f"{path} cannot be decoded; expected PNG, JPEG, BMP or TIFF; delete it or save it again"
        )
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path} holds {image.dtype} pixels; expected 8 or 16 bits; convert it")
    return image


def write_picture(path: Path, image: Image) -> None:
    """Encode a picture by its suffix and write it whole or not at all.

    Args:
        path: ends in one of SUFFIXES.
        image: uint8 or uint16, [H, W] or BGR [H, W, 3].

    Raises:
        SinkError: the disk refused.
    """
    import cv2

    encoded, buffer = cv2.imencode(path.suffix, image)
    assert encoded, f"{path.suffix} of {image.dtype} {image.shape}"
    with written_whole(path, SinkError) as file:
        file.write(buffer.tobytes())


def _damage(content: bytes) -> str | None:
    """Find truncation and flipped bits, which decoders often paint over in grey without a word."""
    if content.startswith(_PNG_MAGIC):
        for kind, is_intact in _png_chunks(content):
            if not is_intact:
                return "is a damaged PNG (a checksum differs or the end is missing)"
            if kind == b"IEND":
                return None
        return "is a truncated PNG (its end is missing)"
    if content.startswith(b"\xff\xd8") and not _jpeg_ends(content):
        return "is a truncated JPEG (its end is missing)"
    if content.startswith(b"BM") and len(content) < int.from_bytes(content[2:6], "little"):
        return "is a truncated BMP (its end is missing)"
    return None


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bool]]:
    """Walk a PNG's chunks: type, and whether the chunk is there and its checksum holds."""
    at = len(_PNG_MAGIC)
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        end = at + 12 + length
        body, checksum = content[at + 4 : end - 4], content[end - 4 : end]
        yield body[:4], end <= len(content) and zlib.crc32(body) == int.from_bytes(checksum, "big")
        at = end


def _jpeg_ends(content: bytes) -> bool:
    """Whether a JPEG's end marker follows its first scan.

    Looking for the marker anywhere is not enough: an EXIF thumbnail has one of its own, and cameras
    append data of any length after the real one.
    """
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        if content[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        is_scan = content[at + 1] == 0xDA
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if is_scan:
            return content.find(b"\xff\xd9", at) >= 0
    return False
