"""The recipe: everything that decides a training run, the seed included."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dtgd_edge.config import record_from_toml
from dtgd_edge.errors import ConfigError
from dtgd_edge.geometry import Geometry
from dtgd_edge.train.synth import FAMILIES

Variant = Literal["frozen", "tuned", "thin"]
TNRForm = Literal["subtract", "inject", "off"]
Fusion = Literal["calibrated", "sum", "product"]
Shared = Literal["nothing", "stem", "stage1"]


@dataclass(frozen=True, slots=True)
class TeacherRecipe:
    """The two teachers, which start as one network.

    Attributes:
        backbone: a name from dtgd_edge.train.backbones, or "auto": whatever the weights are for.
        weights: "auto", "imagenet", "shipped", "random" or a path to .safetensors or .pth.
        variant: "frozen": one network that never learns is both teachers (F); "tuned": the anomaly
            teacher is a copy that learns from the synthetic anomalies, and the one that ships (U);
            "thin": the one network that is both learns to see as the teacher of a full checkpoint does,
            for a compact graph; `dtgd-edge distil` sets it (see compact.py).
        learning_rate: of a tuned or thin teacher, the highest; it falls as the student's does.
    """

    backbone: str = "auto"
    weights: str = "auto"
    variant: Variant = "frozen"
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ConfigError(
                f"teacher.learning_rate is {self.learning_rate:g}; expected more than 0; "
                'for a teacher that does not learn, set teacher.variant to "frozen"'
            )


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    """The denoising encoder-decoder.

    Attributes:
        backbone: "auto" (a ResNet-18 as wide as the teacher) or a ResNet name.
        tnr: what stands after each encoder block: "subtract" takes the noise off, "inject" mixes the
            anomaly teacher's feature in where the gate calls it normal (as URD does), "off" nothing.
        skips: give the decoder the cleaned encoder features too, level by level; never what is shared.
        start: the encoder's first weights: "teacher" copies the teacher's, which must have the same backbone,
            "random" learns from scratch, "auto" copies where it can.
        shares: what the encoder takes from the teacher instead of computing it itself: "nothing", the "stem"
            or also "stage1". No noise is removed from what is shared; that is left to the stages behind it.
        decoder: "auto" (as wide as the encoder) or the name of a ResNet of basic blocks, whose widths it has.
        decoder_blocks: residual blocks on each of the decoder's levels.
    """

    backbone: str = "auto"
    tnr: TNRForm = "subtract"
    skips: bool = False
    start: Literal["auto", "teacher", "random"] = "auto"
    shares: Shared = "nothing"
    decoder: str = "auto"
    decoder_blocks: Literal[1, 2] = 2


@dataclass(frozen=True, slots=True)
class LossRecipe:
    """Weights of the losses; 0 switches a term off.

    Attributes:
        encoder_consistency: share of the cleaned encoder features in the consistency loss (alpha).
        global_consistency: share of the whole-map cosine in the consistency loss (beta).
        dissimilarity: weight of the dissimilarity loss.
        dissimilarity_form: "hinge" (relative to the normal teacher) or "mask" (regression to the mask; made
            for a tuned teacher, which is itself trained towards it; with a frozen one weigh it 0.1 at most).
        hinge_margin: how much less similar than the normal target is asked for (delta).
        gate: weight of the gates' cross-entropy.
        agreement: weight of the difference between the distances that a compact graph and the full one find.
    """

    encoder_consistency: float = 0.5
    global_consistency: float = 1.0
    dissimilarity: float = 0.5
    dissimilarity_form: Literal["hinge", "mask"] = "hinge"
    hinge_margin: float = 0.1
    gate: float = 0.2
    agreement: float = 1.0


@dataclass(frozen=True, slots=True)
class SynthRecipe:
    """Synthetic anomalies.

    Attributes:
        families: kinds to train on; a kind named twice is drawn twice as often.
        held_out: kind kept out of training, to judge the export by; must not be in families.
        clean_share: share of training pictures left uncorrupted.
        on_object: share of anomalies placed on the object, where one stands out from its ground.
    """

    families: tuple[str, ...] = (
        *("texture",) * 5,
        *("missing",) * 2,
        "scratch",
        "spots",
        "warp",
        "stain",
        "blur",
    )
    held_out: str = "cutpaste"
    clean_share: float = 0.25
    on_object: float = 0.8


@dataclass(frozen=True, slots=True)
class AugmentRecipe:
    """Changes under which a good part stays a good part.

    What is "auto" is decided from the good pictures when training starts (dtgd_edge.train.symmetry); a
    checkpoint's recipe holds what was decided.

    Attributes:
        flip_horizontal, flip_vertical: mirror half of the pictures.
        turns: turn by a random multiple of a half (2) or quarter (4) turn; 1: do not.
        rotate_degrees: turn by up to this much each way; 180: any orientation.
        shift: move by up to this share of the side.
        light: change brightness and contrast by up to this share.
        symmetry: "none": what is "auto" changes nothing, except for a shift by 0.02.
    """

    flip_horizontal: bool | Literal["auto"] = "auto"
    flip_vertical: bool | Literal["auto"] = "auto"
    turns: Literal[1, 2, 4, "auto"] = "auto"
    rotate_degrees: float | Literal["auto"] = "auto"
    shift: float | Literal["auto"] = "auto"
    light: float = 0.1
    symmetry: Literal["auto", "none"] = "auto"

    def __post_init__(self) -> None:
        for name, most in (("rotate_degrees", 180.0), ("shift", 0.5), ("light", 1.0)):
            value = getattr(self, name)
            if value != "auto" and not 0 <= value <= most:
                raise ConfigError(f"augment.{name} is {value:g}; expected 0 to {most:g}; correct that key")

    def settled(self, found: "AugmentRecipe") -> "AugmentRecipe":
        """Replace what is "auto" by what another recipe says."""
        missing = {name: getattr(found, name) for name in DECIDED if getattr(self, name) == "auto"}
        return replace(self, **missing)


# Keys of AugmentRecipe that the pictures decide where they are "auto".
DECIDED = ("flip_horizontal", "flip_vertical", "turns", "rotate_degrees", "shift")


@dataclass(frozen=True, slots=True)
class OptimiserRecipe:
    """The schedule: Adam, a short warm-up, then a cosine to zero.

    Attributes:
        steps: number of optimiser steps.
        batch: pictures a step; tiles, where the geometry has some.
        learning_rate: the highest.
        warm_up: share of the steps with a rising learning rate.
        clip: largest gradient norm.
        average: decay of the weight average that is shipped.
    """

    steps: int = 2000
    batch: int = 8
    learning_rate: float = 2e-3
    warm_up: float = 0.05
    clip: float = 1.0
    average: float = 0.999

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2:
            raise ConfigError(
                f"optimiser.steps is {self.steps} and optimiser.batch is {self.batch}; "
                "expected at least 1 step of 2 pictures"
            )


@dataclass(frozen=True, slots=True)
class ScoringRecipe:
    """How distances become a map and a score; all of it ends up inside the graph.

    Attributes:
        fusion: of the levels' distances: "calibrated" adds them in units of each level's good parts,
            "sum" adds them as they are, "product" multiplies them.
        blur_sigma: of the Gaussian, in pixels of the quarter-resolution map.
        top: the score is the mean of this many largest map pixels; 1: the maximum.
        threshold_quantile: quantile of the held-out normals' scores.
        threshold_margin: distance kept above that quantile, as a share of its distance to the median.
    """

    fusion: Fusion = "calibrated"
    blur_sigma: float = 1.0
    top: int = 1
    threshold_quantile: float = 0.995
    threshold_margin: float = 0.5


@dataclass(frozen=True, slots=True)
class MemoryRecipe:
    """The memory of good parts' features (dtgd_edge.train.memory), a further level of the map.

    Attributes:
        size: number of prototypes; 0: no memory.
        components: directions in which distances are taken.
        weight: in the sum of the levels, each of which has 1.
    """

    size: int = 2048
    components: int = 128
    weight: float = 2.0

    def __post_init__(self) -> None:
        if self.size < 0 or self.components < 1 or not self.weight > 0:
            raise ConfigError(
                f"memory.size is {self.size}, memory.components {self.components} and memory.weight "
                f"{self.weight:g}; expected 0 or more, 1 or more and more than 0; for no memory set size to 0"
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training run, as a TOML file of the same tables and keys spells it."""

    seed: int = 0
    holdout: float = 0.1
    geometry: Geometry = field(default_factory=Geometry)
    teacher: TeacherRecipe = field(default_factory=TeacherRecipe)
    student: StudentRecipe = field(default_factory=StudentRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    synth: SynthRecipe = field(default_factory=SynthRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    scoring: ScoringRecipe = field(default_factory=ScoringRecipe)
    memory: MemoryRecipe = field(default_factory=MemoryRecipe)

    def __post_init__(self) -> None:
        known = (*self.synth.families, self.synth.held_out)
        for name in known:
            if name not in FAMILIES:
                raise ConfigError(
                    f"synthetic anomaly {name!r} is not known; expected some of {', '.join(FAMILIES)}"
                )
        if self.synth.held_out in self.synth.families:
            raise ConfigError(
                f"synth.held_out {self.synth.held_out!r} is also in synth.families; it would judge what it "
                "trained; take it out of one of them"
            )
        height, width = self.geometry.size_hw
        if self.augment.turns == 4 and height != width:
            raise ConfigError(
                f"augment.turns is 4 and geometry.size_hw is {height}x{width}; expected a square picture for "
                "quarter turns; use turns = 2 or another size"
            )
        if not self.synth.families:
            raise ConfigError("synth.families is empty; expected at least one kind of synthetic anomaly")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file; keys that it leaves out keep their defaults.

    Raises:
        ConfigError: see record_from_toml.
    """
    return record_from_toml(path, Recipe)
