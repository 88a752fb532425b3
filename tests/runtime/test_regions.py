"""Anomalous areas in a map."""

import numpy as np

from dtgd_edge.runtime.regions import regions_above
from dtgd_edge.verdict import Region


def test_areas_touch_at_corners_and_come_by_peak() -> None:
    anomaly_map = np.full((20, 30), -0.5, np.float32)
    anomaly_map[2:4, 3:6] = 2.5
    anomaly_map[4, 6] = 3.0  # touches the first at a corner
    anomaly_map[10:12, 20:22] = 4.0
    assert regions_above(anomaly_map, 2.0) == (
        Region(20, 10, 2, 2, 4, 4.0),
        Region(3, 2, 4, 3, 7, 3.0),
    )


def test_the_threshold_itself_is_not_above() -> None:
    anomaly_map = np.full((8, 8), 2.0, np.float32)
    anomaly_map[5, 1] = 2.5
    assert regions_above(anomaly_map, 2.0) == (Region(1, 5, 1, 1, 1, 2.5),)


def test_the_peak_stands_in_when_nothing_is_above() -> None:
    anomaly_map = np.zeros((8, 9), np.float32)
    anomaly_map[5, 7] = 1.5
    assert regions_above(anomaly_map, 2.0) == (Region(7, 5, 1, 1, 1, 1.5),)


def test_the_whole_frame() -> None:
    assert regions_above(np.full((8, 9), 3.0, np.float32), 2.0) == (Region(0, 0, 9, 8, 72, 3.0),)


def test_many_specks_leave_the_highest() -> None:
    anomaly_map = np.zeros((64, 64), np.float32)
    peaks = np.random.default_rng(0).permutation(np.arange(3, 3 + 32 * 32, dtype=np.float32))
    anomaly_map[::2, ::2] = peaks.reshape(32, 32)
    found = [region.peak for region in regions_above(anomaly_map, 2.0)]
    assert found == sorted(peaks.tolist(), reverse=True)[:16]
