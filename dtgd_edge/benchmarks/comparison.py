"""What a run of bundles, peers and ideal graphs side by side has found, as records and as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dtgd_edge.benchmarks.breakdown import COLUMNS, Breakdown
from dtgd_edge.benchmarks.contestant import RUNTIMES, Kind
from dtgd_edge.benchmarks.machine import Machine
from dtgd_edge.benchmarks.roofline import Roofline
from dtgd_edge.benchmarks.tables import MEASURES, Line, Spread
from dtgd_edge.benchmarks.timing import Ratio
from dtgd_edge.config import mapping_from_record
from dtgd_edge.percentiles import Percentiles

SHOWN_MEASURES = ("image_auroc", "pixel_ap", "aupro")
ACCURACY = f"accuracy: {' / '.join(MEASURES[key] for key in SHOWN_MEASURES)}"

NOTES = """\
Milliseconds of one call, with a frame that is already in memory. A peer is given a ready float32 tensor:
making the picture small, normalising it and putting its channels in order are not counted. A bundle is
given uint8 pixels; normalising is part of its graph, and the copy of its map is counted. Graphs take turns,
one frame each, all with the same threads and settings. Ratios are taken round by round: the median, and in
brackets the quartiles. OpenVINO is kept in float32, as the line keeps it; what it does with a peer when
left alone has a line of its own where that is another precision. So it is with TensorFloat-32 (tf32) in
ONNX Runtime on a GPU, where a call ends when the result is back in the CPU's memory. GMACs are billions of
multiplications, with their additions, in convolutions and matrix products. The file of a bundle holds golden
frames beside its graph.
"""
PEAK_NOTES = """\
The peak is the rate of the fastest ideal graph of an arithmetic, in any runtime of the device, with the same
threads and in the same rounds. An ideal graph is nothing but 3 x 3 convolutions or matrix products, 1.2 GMACs
of them in floats and 4.8 in integers on a CPU, one after the other. So the peak is what this device has been
seen to do, not what its data sheet promises. A graph's limit is the time that its GMACs take at the peaks of
the precisions they are in, if everything else took none.
"""
BREAKDOWN_NOTES = """\
The gap is the median time less the limit; then the part of it that is lost in convolutions, and what a call
consists of by ONNX Runtime's profile, taken after the clock had stopped. Convolutions: matrix products too,
and the rounding that is part of an integer kernel. Quantise: rounding that stands alone. Elementwise: the
cosine tail for the most part; sums, maxima and residual sums in INT8 too. Layout: what only moves values.
Other: pooling for the most part. The operators' times are the profile's; what passes between them is left
out, since most of it is the profiler's own.
"""
ROOFLINE_NOTES = """\
On the GPU a graph's limit is the longer one of two: its multiplications at the peak of the precision named
(all of them, also where a graph keeps some in a wider one), and its weights once from memory at the rate of
the copy, the size of the graph standing for them. What flows between layers is not counted, and a cache may
spare some weights the way; so both are lower bounds. Neither knows that a GPU must be told to start each
node: the last column is what so many tiny nodes, one after the other, take in the same runtime. Where that
is the larger part of the time, a frame at a time is too little work for this GPU.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One graph in one runtime.

    Attributes:
        name: of the bundle or the peer.
        kind: "ours" or "peer".
        precision: "fp32", "tf32", "fp16", "bf16", "int8" or "int8 as fp32".
        runtime: one of RUNTIMES.
        ms: milliseconds of a call.
        speed: the reference's time over this one's, in the same library; None: it does not run there.
        float_macs, integer_macs: multiplications of a call.
        size_bytes: of the file.
        limit_ms: what the multiplications take at the peaks, on a GPU the weights' way from memory if that
            is longer; None: no peak of that precision.
        above_limit: the time over that limit.
    """

    name: str
    kind: Kind
    precision: str
    runtime: str
    ms: Percentiles
    speed: Ratio | None
    float_macs: int
    integer_macs: int
    size_bytes: int
    limit_ms: float | None
    above_limit: Ratio | None


@dataclass(frozen=True, slots=True)
class Peak:
    """What an ideal graph reached in a runtime.

    Attributes:
        arithmetic: "fp32", "tf32", "fp16", "bf16" or "int8".
        runtime: one of RUNTIMES.
        graph: which ideal graph.
        gmacs_per_s: billions of multiplications a second, by the median call.
        is_limit: whether it is the fastest of its arithmetic on its device.
    """

    arithmetic: str
    runtime: str
    graph: str
    gmacs_per_s: float
    is_limit: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything of one run.

    Attributes:
        reference: name that ratios are relative to.
        rows: by runtime, in the contestants' order.
        peaks: all ideal graphs, the fastest first.
        breakdowns: of the graphs that ran in ONNX Runtime.
        accuracy: what the graphs of these names reached, by category.
        left_out: what was not timed, and why.
        frames: counted calls of each graph.
        warm_up: calls before that.
        threads: of each graph.
        machine: where.
        command: that was typed; "" when it was not a command.
        roofline: of the GPU; None without one.
    """

    reference: str
    rows: tuple[Row, ...]
    peaks: tuple[Peak, ...]
    breakdowns: tuple[Breakdown, ...]
    accuracy: tuple[Line, ...]
    left_out: dict[str, str]
    frames: int
    warm_up: int
    threads: int
    machine: Machine
    command: str
    roofline: Roofline | None = None

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return mapping_from_record(self)

    def text(self) -> str:
        """Markdown."""
        parts = [f"# Side by side, {self.frames} frames, {_threads(self.threads)}\n"]
        both = zip(self.times(), self.accuracies(), strict=True)
        parts += [_table([[*time, *accuracy] for time, accuracy in both]), NOTES]
        if self.accuracy:
            parts.append(f"The last columns are {ACCURACY}; the mean over the seeds.\n")
        if self.peaks:
            parts += ["## Distance to the limit\n", _table(self.peaks_reached()), PEAK_NOTES]
        if self.roofline is not None:
            parts += [
                "### The GPU's roofline\n",
                _table(self.roofs()),
                _roofs_text(self.roofline),
                ROOFLINE_NOTES,
            ]
        if self.breakdowns:
            parts += [_table(self.gaps()), BREAKDOWN_NOTES]
        parts += [f"Not timed: {name}: {reason}.\n" for name, reason in self.left_out.items()]
        m = self.machine
        packages = ", ".join(f"{name} {version}" for name, version in m.packages.items())
        parts.append(
            f"Machine: {m.cpu}, {m.cores} cores, {m.memory_mib / 1024:.0f} GiB, {m.system}, "
            f"Python {m.python}, {packages}; load {m.load}; {self.warm_up} calls to warm up.\n"
        )
        if self.command:
            parts.append(f"Command: `{self.command}`\n")
        return "\n".join(parts)

    def times(self) -> list[list[str]]:
        """The main table as text: a heading, then a line per row."""
        heading = ["graph", "precision", "runtime", "GMACs", "MiB", "p50 ms", "p95 ms", "p99 ms"]
        heading += [f"times as fast as {self.reference}", "times the limit"]
        return [
            heading,
            *(
                [
                    row.name,
                    row.precision,
                    RUNTIMES[row.runtime],
                    f"{(row.float_macs + row.integer_macs) / 1e9:.2f}",
                    f"{row.size_bytes / 2**20:.1f}",
                    _number(row.ms.p50),
                    _number(row.ms.p95),
                    _number(row.ms.p99),
                    _ratio(row.speed),
                    _ratio(row.above_limit),
                ]
                for row in self.rows
            ),
        ]

    def accuracies(self) -> list[list[str]]:
        """What the graph of each row reached: the categories as heading, then a line per row."""
        categories = [*dict.fromkeys(line.category for line in self.accuracy)]
        measures = {(line.method, line.category): line.measures for line in self.accuracy}
        return [
            categories,
            *([_accuracy(measures.get((row.name, c))) for c in categories] for row in self.rows),
        ]

    def peaks_reached(self) -> list[list[str]]:
        """The fastest ideal graph of each arithmetic in each runtime."""
        best: dict[tuple[str, str], Peak] = {}
        for peak in self.peaks:
            best.setdefault((peak.arithmetic, peak.runtime), peak)
        return [
            ["arithmetic", "runtime", "GMACs a second", "the peak", "with"],
            *(
                [
                    p.arithmetic,
                    RUNTIMES[p.runtime],
                    f"{p.gmacs_per_s:.0f}",
                    "yes" if p.is_limit else "",
                    p.graph,
                ]
                for p in best.values()
            ),
        ]

    def roofs(self) -> list[list[str]]:
        """What bounds each graph on the GPU: a heading, then a line per graph and precision."""
        heading = ["graph", "precision", "p50 ms", "GMACs ms", "weights ms", "nodes", "nodes alone ms"]
        lines = () if self.roofline is None else self.roofline.lines
        return [
            heading,
            *(
                [
                    line.name,
                    line.precision,
                    _fine(line.p50_ms),
                    _fine(line.macs_ms),
                    _fine(line.weights_ms),
                    "-" if line.nodes is None else str(line.nodes),
                    _fine(line.nodes_ms),
                ]
                for line in lines
            ),
        ]

    def gaps(self) -> list[list[str]]:
        """Where the time above the limit goes, in ONNX Runtime."""
        rows = {row.name: row for row in self.rows if row.runtime == "ort"}
        heading = ["graph", "limit ms", "gap ms", "of it convs ms", "operators ms", *COLUMNS]
        return [
            heading,
            *(
                [b.name, *_gap(rows[b.name], b), _number(b.ms), *(f"{b.shares[c]:.1%}" for c in COLUMNS)]
                for b in self.breakdowns
            ),
        ]


def _gap(row: Row, found: Breakdown) -> list[str]:
    assert row.ms.p50 is not None, "it was timed"
    if row.limit_ms is None:
        return ["-"] * 3
    convolutions = row.ms.p50 * found.shares["convolutions"]
    values = (row.limit_ms, row.ms.p50 - row.limit_ms, convolutions - row.limit_ms)
    return [_number(value) for value in values]


def _accuracy(measures: dict[str, Spread | None] | None) -> str:
    if measures is None:
        return "-"
    return " / ".join("-" if (m := measures[key]) is None else f"{m.mean:.3f}" for key in SHOWN_MEASURES)


def _ratio(ratio: Ratio | None) -> str:
    return "-" if ratio is None else f"{ratio.median:.2f} ({ratio.lower:.2f} to {ratio.upper:.2f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _fine(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _roofs_text(found: Roofline) -> str:
    return (
        f"Copy: {found.copy_gb_per_s:.0f} GB/s read and written. A call of one tiny node: "
        f"{found.floor_ms:.3f} ms; one more node: {found.node_us:.1f} us.\n"
    )


def _threads(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _table(lines: Sequence[Iterable[str]]) -> str:
    heading, *rows = ([cell.replace("|", "/") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heading, ["---"] * len(heading), *rows))
