"""What a bundle says about itself: the records of `manifest.json`."""

from dataclasses import dataclass, field
from typing import Literal

from dtgd_edge.appearance import FrameStatistics
from dtgd_edge.errors import ConfigError
from dtgd_edge.geometry import Geometry

Precision = Literal["fp32", "fp16", "int8"]
Placement = Literal["float", "tensorrt", "cpu"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and fixed shape of a graph's input or output."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """What a threshold promises about good parts like those it was chosen from.

    With the stated confidence, the true share of good parts whose score lies above the threshold is at most
    `max_false_reject`. No shape of the scores' distribution is assumed.

    Attributes:
        max_false_reject: share of good parts, in (0, 1).
        confidence: in (0, 1).
        parts: different good parts it rests on.
        rank: the threshold is the rank-th largest of their scores; 1 is the largest.
        session: backend that scored them.
        device: where it ran, for people.
        data: their folder, as it was given.
        created: UTC, ISO 8601.
    """

    max_false_reject: float
    confidence: float
    parts: int
    rank: int
    session: str
    device: str
    data: str
    created: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """The score above which a part is NG, and where it comes from.

    Attributes:
        value: the threshold.
        rule: how it was chosen, in words.
        normals: number of held-out normal frames it was chosen from.
        promise: None: it promises nothing.
    """

    value: float
    rule: str
    normals: int
    promise: Promise | None = None


@dataclass(frozen=True, slots=True)
class MetricParity:
    """What a converted graph and the trained one reach on the same test pictures.

    Attributes:
        pictures: number of test pictures.
        image_auroc, aupro: of the converted graph, at the pictures' own resolution, in [0, 1]; None where
            they cannot be computed (no good, defective or marked parts).
        reference_image_auroc, reference_aupro: of the trained graph.
        image_auroc_limit, aupro_limit: loss above which export refuses, in points of 100.
        image_auroc_error: standard error of the image AUROC's change, in points of 100.
    """

    pictures: int
    image_auroc: float | None
    reference_image_auroc: float | None
    image_auroc_limit: float
    aupro: float | None
    reference_aupro: float | None
    aupro_limit: float
    image_auroc_error: float = 0.0


@dataclass(frozen=True, slots=True)
class ParityRecord:
    """How far a converted graph's verdicts are from the trained graph's, on the same frames.

    Attributes:
        session: what scored the frames, for instance "ONNX Runtime CPU".
        reference: what it was compared with.
        frames: number of frames.
        flips: verdicts that differ, each graph judged at its own threshold.
        smallest_margin: smallest distance of a score to the threshold, in units of the threshold.
        rank_correlation: Spearman's, of the scores.
        score_difference: largest absolute difference of two scores.
        map_difference: largest absolute difference of two map pixels.
        non_finite: scores or map pixels that are NaN or infinite.
        flip_limit: share of flips above which export refuses.
        stress_frames: black, white, noisy and saturated frames that gave finite scores and maps.
        metrics: None without test pictures.
        threshold: the bundle's threshold that flips and margin were counted at; None: the one it still has.
    """

    session: str
    reference: str
    frames: int
    flips: int
    smallest_margin: float
    rank_correlation: float
    score_difference: float
    map_difference: float
    non_finite: int
    flip_limit: float
    stress_frames: int = 0
    metrics: MetricParity | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Pooling:
    """How a graph's score follows from its map.

    The map is the linear enlargement of a coarse map; the score is the mean of the coarse map's largest
    pixels.

    Attributes:
        stride: a coarse pixel's side in pixels of the map: 1, the map itself, or an even number.
        top: so many of the largest are averaged; 1: the score is the maximum.
    """

    stride: int = 1
    top: int = 1

    def __post_init__(self) -> None:
        if self.top < 1 or (self.stride != 1 and (self.stride < 4 or self.stride % 2)):
            raise ConfigError(
                f"pooling of stride {self.stride} and top {self.top} is impossible; expected a stride of 1, "
                "4, 6, 8 ... and a top of at least 1; export the bundle again"
            )


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a bundle comes from.

    Attributes:
        checkpoint_sha256: digest of the checkpoint's weights.
        data: the folder it was trained on, as it was given.
        steps: training steps.
        teacher: name of the teacher's weights.
        created: UTC, ISO 8601.
        versions: library versions at export.
    """

    checkpoint_sha256: str
    data: str
    steps: int
    teacher: str
    created: str
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a bundle that is not an array.

    Attributes:
        schema: version of this record.
        name: what the bundle inspects.
        precision: arithmetic inside the graph.
        placement: where its Q/DQ nodes sit; "float" without any.
        graph_sha256: digest of graph.onnx.
        input: uint8 [N, H, W, 3] frames, RGB.
        outputs: score float32 [N], map float32 [N, H, W].
        geometry: how a frame becomes the input.
        threshold: the threshold of this graph in this precision.
        parity: proof that the verdicts are the trained model's, one record per kind of session.
        golden_tolerance: largest allowed difference of a golden score, in score units.
        frame_size_hw: size of all training frames; None when they differed.
        provenance: where it comes from.
        float_modules: modules that INT8 left in float because verdicts would have been lost otherwise.
        session: backend whose scores the threshold and the golden scores are.
        statistics: what normal frames look like; None in bundles that were made before this was measured.
        pooling: how the score follows from the map; None in older bundles.
    """

    schema: int
    name: str
    precision: Precision
    placement: Placement
    graph_sha256: str
    input: TensorSpec
    outputs: tuple[TensorSpec, TensorSpec]
    geometry: Geometry
    threshold: Threshold
    parity: tuple[ParityRecord, ...]
    golden_tolerance: float
    frame_size_hw: tuple[int, int] | None
    provenance: Provenance
    float_modules: tuple[str, ...] = ()
    session: str = "ort"
    statistics: FrameStatistics | None = None
    pooling: Pooling | None = None
