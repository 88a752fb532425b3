"""Checkpoint to bundle: ONNX, precision inside the graph, parity, golden frames."""
