"""From a map to the anomalous areas in it."""

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.verdict import Region

LIMIT = 16


def regions_above(
    anomaly_map: NDArray[np.float32],
    threshold: float,
    limit: int = LIMIT,
    *,
    inside: NDArray[np.bool_] | None = None,
    smallest_area_px: int = 0,
    zone: str = "",
) -> tuple[Region, ...]:
    """Find the areas above the threshold; pixels that touch at an edge or a corner belong together.

    Args:
        anomaly_map: float32 [H, W], finite.
        threshold: pixels above it are anomalous.
        limit: at most so many regions.
        inside: bool [H, W], where to look, at least one pixel; None: everywhere.
        smallest_area_px: regions of fewer pixels are left out.
        zone: name that the regions get.

    Returns:
        Largest peak first. Empty only when all regions were too small: when no pixel is above the threshold
        (the frame is smaller than the graph's grid, say) the map's largest pixel stands for the area.
    """
    import cv2

    above = anomaly_map > threshold
    mask = np.asarray(above if inside is None else above & inside, np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        if smallest_area_px > 1:
            return ()
        looked_at = anomaly_map if inside is None else np.where(inside, anomaly_map, -np.inf)
        peak_y, peak_x = divmod(int(looked_at.argmax()), anomaly_map.shape[1])
        return (Region(peak_x, peak_y, 1, 1, 1, float(anomaly_map[peak_y, peak_x]), zone),)
    cut = np.ascontiguousarray(mask[top : top + height, left : left + width])
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cut, connectivity=8)
    peaks = np.full(count, -np.inf, np.float32)
    hit = cut.astype(bool)
    np.maximum.at(peaks, labels[hit], anomaly_map[top : top + height, left : left + width][hit])
    peaks[stats[:, cv2.CC_STAT_AREA] < smallest_area_px] = -np.inf
    # Label 0 is the ground between the areas; its peak is still minus infinity, so it sorts last.
    order = np.argsort(-peaks, kind="stable")[: min(limit, np.count_nonzero(peaks > -np.inf))]
    return tuple(
        Region(
            left + int(stats[label, cv2.CC_STAT_LEFT]),
            top + int(stats[label, cv2.CC_STAT_TOP]),
            int(stats[label, cv2.CC_STAT_WIDTH]),
            int(stats[label, cv2.CC_STAT_HEIGHT]),
            int(stats[label, cv2.CC_STAT_AREA]),
            float(peaks[label]),
            zone,
        )
        for label in order
    )
