"""What bounds a call on a GPU: multiplications, the weights' way from memory, or the starting of nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dtgd_edge.benchmarks.contestant import CUDA, Opened

Milliseconds = Sequence[float]
Timed = Sequence[tuple[Opened, Milliseconds]]


@dataclass(frozen=True, slots=True)
class RooflineLine:
    """What a graph needs at least.

    Attributes:
        name, precision: of the row.
        p50_ms: what it takes.
        macs_ms: its multiplications at the peak of their arithmetic; None: no such peak.
        weights_ms: its weights once from memory, at the rate of the copy.
        nodes: that one call starts; None where they were not counted.
        nodes_ms: a call of one tiny node, and so many more at what one more takes.
    """

    name: str
    precision: str
    p50_ms: float
    macs_ms: float | None
    weights_ms: float
    nodes: int | None
    nodes_ms: float | None


@dataclass(frozen=True, slots=True)
class Roofline:
    """The GPU's limits as they were measured.

    Attributes:
        copy_gb_per_s: bytes read and written a second by the copy.
        floor_ms: a call of one tiny node, to the device and back.
        node_us: what one more tiny node adds.
        lines: of the graphs, in the rows' order.
    """

    copy_gb_per_s: float
    floor_ms: float
    node_us: float
    lines: tuple[RooflineLine, ...]


def weights_limits(each: Opened, timed: Timed) -> Milliseconds | None:
    """Milliseconds that a graph's weights take from the device's memory, round by round."""
    for ideal, times in timed:
        if ideal.contestant.kind == "copy" and ideal.runtime == CUDA:
            return [
                float(ms)
                for ms in np.multiply(times, each.contestant.graph_bytes / ideal.contestant.moved_bytes)
            ]
    return None


def roofline(
    timed: Timed, macs_ms: Mapping[tuple[str, str], float | None], nodes: Mapping[str, int]
) -> Roofline | None:
    """Put together what the GPU's runs say; None where it was not measured.

    Args:
        timed: everybody's times.
        macs_ms: of the graphs at the peaks, by name and runtime.
        nodes: that a call starts, by name.
    """
    launches = {
        each.contestant.nodes: float(np.median(times))
        for each, times in timed
        if each.contestant.kind == "launch" and each.runtime == CUDA
    }
    copies = [
        each.contestant.moved_bytes / float(np.median(times)) / 1e6
        for each, times in timed
        if each.contestant.kind == "copy" and each.runtime == CUDA
    ]
    if not copies or len(launches) < 2:
        return None
    few, many = min(launches), max(launches)
    floor_ms = launches[few]
    node_ms = max(0.0, (launches[many] - floor_ms) / (many - few))
    lines = []
    for each, times in timed:
        if each.device != "GPU" or not each.contestant.is_measured:
            continue
        name, count = each.contestant.name, nodes.get(each.contestant.name)
        lines.append(
            RooflineLine(
                name=name,
                precision=each.precision,
                p50_ms=float(np.median(times)),
                macs_ms=macs_ms[name, each.runtime],
                weights_ms=each.contestant.graph_bytes / copies[0] / 1e6,
                nodes=count,
                nodes_ms=None if count is None else floor_ms + (count - few) * node_ms,
            )
        )
    return Roofline(copies[0], floor_ms, node_ms * 1e3, tuple(lines))
