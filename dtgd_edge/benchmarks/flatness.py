"""Whether the memory of a run stays flat: the slope of its samples, with its confidence."""

import ctypes
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dtgd_edge.errors import DataError

# Neighbouring samples depend on each other, means of so many blocks hardly; Student's t for 95 % with
# BLOCKS - 2 degrees of freedom.
BLOCKS, STUDENT_T = 10, 2.306


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per step, with a 95 % confidence interval.

    Attributes:
        per_frame: bytes a frame.
        lowest, highest: ends of the interval.
        samples: number of samples.
    """

    per_frame: float
    lowest: float
    highest: float
    samples: int


def held_bytes() -> int:
    """Memory that this process holds: heap and stacks, after what is free was given back.

    Files that it maps, such as the index of SQLite's write-ahead log, come and go with the disk's cache and
    are no leak, and neither are garbage that waits for its collector and pages that the allocator keeps.

    Raises:
        DataError: the system does not say (it is not Linux).
    """
    gc.collect()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc has it
        trim(0)
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError as exc:
        raise DataError(
            "this system does not tell the memory of a process; expected /proc/self/smaps_rollup; "
            "soak on Linux"
        ) from exc
    sizes = [int(line.split()[1]) for line in lines if line.startswith("Anonymous:")]
    return sizes[0] * 1024


def slope_of(samples: Sequence[tuple[int, int]]) -> Slope:
    """Fit a straight line to the means of BLOCKS blocks of samples.

    Args:
        samples: (frame, bytes), in order; at least one per block.

    Raises:
        DataError: fewer.
    """
    if len(samples) < BLOCKS:
        raise DataError(
            f"{len(samples)} samples of the memory say nothing about its slope; expected {BLOCKS} or more; "
            "soak longer"
        )
    blocks = [block.mean(axis=0) for block in np.array_split(np.array(samples, np.float64), BLOCKS)]
    frames, sizes = np.array(blocks).T
    frames = frames - frames.mean()
    spread = float((frames**2).sum())
    slope = float((frames * sizes).sum()) / spread
    rest = sizes - sizes.mean() - slope * frames
    margin = STUDENT_T * float(np.sqrt((rest**2).sum() / (BLOCKS - 2) / spread))
    return Slope(slope, slope - margin, slope + margin, len(samples))
