"""Pictures to checkpoint: recipe, data, synthetic anomalies, networks, losses, loop, metrics, graph."""
