"""SHA-256 of what a verdict rests on: the frame's pixels, the bundle's file."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.errors import BundleError


def pixels_digest(image: NDArray[Any]) -> str:
    """Digest the raw pixels of a frame.

    Args:
        image: [H, W], [H, W, 1] (the same as [H, W]), [H, W, 3] or [H, W, 4], any plain number type.

    Returns:
        64 hexadecimal digits: SHA-256 of "dtype height width channels\\n" and the pixels row by row,
        little-endian.
    """
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    channels = image.shape[2:] or (1,)
    plain = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
    header = " ".join(map(str, (image.dtype.name, *image.shape[:2], *channels)))
    digest = hashlib.sha256(f"{header}\n".encode())
    digest.update(plain.data)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Digest a file, as `sha256sum` does.

    Raises:
        BundleError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as exc:
        raise BundleError(
            f"{path} cannot be read ({exc.strerror}); expected the file that judges, so that the audit log "
            "can name it; check the path"
        ) from exc
    return digest.hexdigest()
