"""Tiny pictures and masks, written where a test wants them."""

from pathlib import Path

import numpy as np

from dtgd_edge.pictures import write_picture

SIZE_HW = (24, 40)


def write_pictures(
    folder: Path, names: int | tuple[str, ...], seed: int, size_hw: tuple[int, int] = SIZE_HW
) -> list[Path]:
    """Pictures of noise, no two alike: 000.png, 001.png and so on, or as named."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    listed = [f"{index:03}.png" for index in range(names)] if isinstance(names, int) else names
    paths = [folder / name for name in listed]
    for path in paths:
        write_picture(path, rng.integers(0, 256, (*size_hw, 3), np.uint8))
    return paths


def write_mask(
    path: Path, size_hw: tuple[int, int] = SIZE_HW, value: int = 255, left: int = 10, width: int = 10
) -> Path:
    """A mask of `value` in five rows from the fourth on; 0 marks nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size_hw, np.uint8)
    mask[4:9, left : left + width] = value
    write_picture(path, mask)
    return path
