"""From a map to the anomalous areas in it."""

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.verdict import Region

LIMIT = 16


def regions_above(
    anomaly_map: NDArray[np.float32], threshold: float, limit: int = LIMIT
) -> tuple[Region, ...]:
    """Find the areas above the threshold; pixels that touch at an edge or a corner belong together.

    Args:
        anomaly_map: float32 [H, W], finite.
        threshold: pixels above it are anomalous.
        limit: at most so many regions.

    Returns:
        Largest peak first. Never empty: when no pixel is above the threshold (the frame is smaller than
        the graph's grid, say) the map's largest pixel stands for the area.
    """
    import cv2

    mask = np.asarray(anomaly_map > threshold, np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        peak_y, peak_x = divmod(int(anomaly_map.argmax()), anomaly_map.shape[1])
        return (Region(peak_x, peak_y, 1, 1, 1, float(anomaly_map[peak_y, peak_x])),)
    inside = np.ascontiguousarray(mask[top : top + height, left : left + width])
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    peaks = np.full(count, -np.inf, np.float32)
    hit = inside.astype(bool)
    np.maximum.at(peaks, labels[hit], anomaly_map[top : top + height, left : left + width][hit])
    # Label 0 is the ground between the areas; its peak is still minus infinity, so it sorts last.
    order = np.argsort(-peaks, kind="stable")[: min(limit, count - 1)]
    return tuple(
        Region(
            left + int(stats[label, cv2.CC_STAT_LEFT]),
            top + int(stats[label, cv2.CC_STAT_TOP]),
            int(stats[label, cv2.CC_STAT_WIDTH]),
            int(stats[label, cv2.CC_STAT_HEIGHT]),
            int(stats[label, cv2.CC_STAT_AREA]),
            float(peaks[label]),
        )
        for label in order
    )
