"""Visual anomaly detection on production lines."""
