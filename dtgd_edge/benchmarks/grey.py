"""The grey bundle: the smallest scoring graph whose verdicts anybody can compute by hand.

Its map is the distance of a pixel's brightness from mid-grey in units of 32 grey levels, its score the map's
maximum. What the line does with verdicts can so be compared with the truth, and a frame costs microseconds.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import Bundle, Golden, Manifest, Provenance, TensorSpec, Threshold
from dtgd_edge.geometry import Geometry

GRAPH = Path(__file__).with_name("grey.onnx")
SIDE = 64
MIDDLE, SCALE = 128.0, 32.0


def grey_bundle(threshold: float = 2.0) -> Bundle:
    """Make the bundle; at threshold 2, pixels darker than 64 or brighter than 192 are NG."""
    graph = GRAPH.read_bytes()
    manifest = Manifest(
        schema=1,
        name="grey",
        precision="fp32",
        placement="float",
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        input=TensorSpec("frames", "uint8", (1, SIDE, SIDE, 3)),
        outputs=(TensorSpec("score", "float32", (1,)), TensorSpec("map", "float32", (1, SIDE, SIDE))),
        geometry=Geometry(size_hw=(SIDE, SIDE)),
        threshold=Threshold(threshold, "set by hand", 3),
        parity=(),
        golden_tolerance=1e-3,
        frame_size_hw=None,
        provenance=Provenance("0" * 64, "none", 0, "none", "2026-01-01T00:00:00+00:00"),
    )
    frames = np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in (128, 160, 255)])
    score = np.array([grey_score(frame) for frame in frames], np.float32)
    return Bundle(manifest, graph, Golden(frames, score))


def grey_score(prepared: NDArray[np.uint8]) -> float:
    """The score that the graph computes, by another way.

    Args:
        prepared: uint8 [SIDE, SIDE, 3], as Geometry.apply returns it.
    """
    return float(np.abs(prepared.astype(np.float64).mean(axis=2) - MIDDLE).max() / SCALE)


def empty_bundle(geometry: Geometry) -> Bundle:
    """A bundle for the null session, which computes nothing, with another geometry."""
    grey = grey_bundle()
    shape = (1, *geometry.size_hw)
    manifest = replace(
        grey.manifest,
        input=TensorSpec("frames", "uint8", (*shape, 3)),
        outputs=(grey.manifest.outputs[0], TensorSpec("map", "float32", shape)),
        geometry=geometry,
    )
    return replace(grey, manifest=manifest)
