"""The target: where a graph will run decides its Q/DQ placement, its calibration and its limits.

A target is one of the names "cpu", "tensorrt" and "auto", or a TOML file of the same tables and keys
(see export/targets).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dtgd_edge.config import record_from_toml
from dtgd_edge.errors import ConfigError
from dtgd_edge.runtime.doctor import finding

Int8Placement = Literal["cpu", "tensorrt"]
Rest = Literal["fp32", "fp16"]
Method = Literal["minmax", "entropy", "percentile"]

TARGETS = ("auto", "cpu", "tensorrt")


@dataclass(frozen=True, slots=True)
class CalibrationTarget:
    """How the ranges of INT8 activations are found.

    Attributes:
        method: "minmax" (everything seen fits), "entropy" (least information lost) or "percentile".
        frames: at most this many frames are looked at, evenly taken from those there are.
        percentile: share of the values that must fit, in per cent; for that method only.
    """

    method: Method = "percentile"
    frames: int = 32
    percentile: float = 99.9995

    def __post_init__(self) -> None:
        if self.frames < 1 or not 50 < self.percentile <= 100:
            raise ConfigError(
                f"calibration.frames is {self.frames} and calibration.percentile is {self.percentile:g}; "
                "expected at least 1 frame and a percentile above 50, at most 100"
            )


@dataclass(frozen=True, slots=True)
class LimitsTarget:
    """How far an INT8 graph may be from the trained one; float32 and float16 may flip no verdict.

    Attributes:
        flip_share: share of verdicts that may differ.
        image_auroc_points: image AUROC that may be lost, in points of 100; judged on test pictures.
        aupro_points: the same for AUPRO.
    """

    flip_share: float = 0.005
    image_auroc_points: float = 0.2
    aupro_points: float = 0.5

    def __post_init__(self) -> None:
        if min(self.flip_share, self.image_auroc_points, self.aupro_points) < 0 or self.flip_share > 1:
            raise ConfigError(
                "a limit is negative, or limits.flip_share is above 1; expected shares and points"
            )


@dataclass(frozen=True, slots=True)
class SensitivityTarget:
    """The search for modules to keep in float when INT8 loses verdicts.

    Attributes:
        search: look for them; off: refuse at once.
        attempts: graphs that are converted and judged before giving up.
        float_share: largest share of the convolutions' multiplications that may stay float.
    """

    search: bool = True
    attempts: int = 6
    float_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Target:
    """What an INT8 graph is made for.

    Attributes:
        placement: "cpu" (uint8 activations, outputs too: integer kernels of ONNX Runtime) or "tensorrt"
            (symmetric int8 on the inputs of Conv and MaxPool and on the skip side of residual Adds).
        rest: what is not quantised computes in "fp32" or "fp16"; "fp16" for tensorrt only.
        float_modules: modules that stay float, by name as in the scoring graph ("network.teacher.layer1");
            a name that starts with a dot matches wherever it occurs (".gate").
        float_nodes: single nodes of the ONNX graph that stay float, by name.
        calibration, limits, sensitivity: see there.
    """

    placement: Int8Placement = "cpu"
    rest: Rest = "fp32"
    float_modules: tuple[str, ...] = ()
    float_nodes: tuple[str, ...] = ()
    calibration: CalibrationTarget = field(default_factory=CalibrationTarget)
    limits: LimitsTarget = field(default_factory=LimitsTarget)
    sensitivity: SensitivityTarget = field(default_factory=SensitivityTarget)

    def __post_init__(self) -> None:
        if self.placement == "cpu" and self.rest == "fp16":
            raise ConfigError(
                "rest is 'fp16' with placement 'cpu'; expected 'fp32', because CPUs convolve no float16; "
                "set placement to 'tensorrt' or leave rest out"
            )


def target_from_name(name: str) -> Target:
    """Take a target by name, or read one from a TOML file; keys that it leaves out keep their defaults.

    Args:
        name: "cpu", "tensorrt", "auto" (tensorrt where an NVIDIA GPU and TensorRT answer, else cpu) or a
            path that ends in .toml.

    Raises:
        ConfigError: an unknown name, or see record_from_toml.
    """
    if name.endswith(".toml"):
        return record_from_toml(Path(name), Target)
    if name == "auto":
        name = "tensorrt" if _tensorrt_answers() else "cpu"
    if name == "cpu":
        return Target()
    if name == "tensorrt":
        return Target("tensorrt", "fp16")
    raise ConfigError(
        f"target {name!r} is not known; expected one of {', '.join(TARGETS)} or a file ending in .toml"
    )


def _tensorrt_answers() -> bool:
    libraries = ("tensorrt", "tensorrt_rtx")
    return finding("cuda").is_usable and any(finding(name).is_usable for name in libraries)
