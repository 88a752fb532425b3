"""Measures the line the way it is used: stage by stage, with percentiles and the machine's fingerprint."""
