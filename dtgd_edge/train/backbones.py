"""ResNet feature extractors with torchvision's parameter names, so that its weight files load.

He et al. 2015 (ResNet) and Zagoruyko & Komodakis 2016 (Wide ResNet). Only the stem and the stages
asked for are built; the classifier never is.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtgd_edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Architecture of a ResNet.

    Attributes:
        block: "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1; output four times wider).
        depths: blocks in stages 1 to 4.
        width: channels of stage 1 before expansion; doubled by each stage.
        inner_width: channels inside a bottleneck of stage 1 (wider than `width` in Wide ResNets).
    """

    block: str
    depths: tuple[int, int, int, int]
    width: int = 64
    inner_width: int = 64

    def channels(self, stage: int) -> int:
        """Output channels of a stage, counted from 1."""
        expansion = 4 if self.block == "bottleneck" else 1
        return self.width * (1 << (stage - 1)) * expansion

    def is_within(self, other: "BackboneSpec") -> bool:
        """Whether it is the other, or that with fewer blocks on some stages: its weights fit then."""
        fewer = all(a <= b for a, b in zip(self.depths, other.depths, strict=True))
        return fewer and replace(self, depths=other.depths) == other


BACKBONES = {
    "resnet18": BackboneSpec("basic", (2, 2, 2, 2)),
    "resnet34": BackboneSpec("basic", (3, 4, 6, 3)),
    "resnet50": BackboneSpec("bottleneck", (3, 4, 6, 3)),
    "wide_resnet50_2": BackboneSpec("bottleneck", (3, 4, 6, 3), inner_width=128),
    "resnet18_half": BackboneSpec("basic", (2, 2, 2, 2), width=32, inner_width=32),
    "resnet10_half": BackboneSpec("basic", (1, 1, 1, 1), width=32, inner_width=32),
    "resnet18_quarter": BackboneSpec("basic", (2, 2, 2, 2), width=16, inner_width=16),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the stride sits in the 3x3, as in torchvision."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Stem and the first `stages` stages of a ResNet.

    forward: float [B, 3, H, W], normalised, to one feature per stage:
    [B, C1, H/4, W/4], [B, C2, H/8, W/8], [B, C3, H/16, W/16], ...

    Args:
        spec: the architecture.
        stages: the last stage.
        start: where it begins: 0 with the stem, n with stage n, on what another network made.
        inputs: channels of that; read with a start other than 0 only.
    """

    def __init__(self, spec: BackboneSpec, stages: int = 3, start: int = 0, inputs: int = 0) -> None:
        super().__init__()
        self.spec = spec
        if start == 0:
            self.conv1 = nn.Conv2d(3, spec.width, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(spec.width)
            inputs = spec.width
        self.start = max(1, start)  # the first stage
        for stage in range(self.start, stages + 1):
            self.add_module(f"layer{stage}", _stage(spec, stage, inputs))
            inputs = spec.channels(stage)
        self.stages = stages

    def stem(self, x: Tensor) -> Tensor:
        """float [B, 3, H, W] to [B, width, H/4, W/4]."""
        return F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)

    def after_stem(self, x: Tensor) -> list[Tensor]:
        """One feature per stage, of what the stem made."""
        features = []
        for stage in range(self.start, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            features.append(x)
        return features

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.after_stem(self.stem(x))


def backbone_spec(name: str) -> BackboneSpec:
    """Look an architecture up by name.

    Raises:
        ConfigError: the name is not known.
    """
    try:
        return BACKBONES[name]
    except KeyError:
        known = ", ".join(BACKBONES)
        raise ConfigError(
            f"backbone {name!r} is not known; expected one of {known}; change teacher.backbone in the recipe"
        ) from None


def backbone_name_from_weights(state: dict[str, Tensor]) -> str | None:
    """Recognise the architecture of a torchvision-style state dict; None if it is none of ours."""

    def shape(key: str) -> tuple[int, ...]:
        return tuple(state[key].shape) if key in state else ()

    for name, spec in BACKBONES.items():
        blocks = sum(f"layer2.{i}.conv1.weight" in state for i in range(24))
        last = 3 if spec.block == "bottleneck" else 2
        first = shape("layer1.0.conv1.weight")
        if (
            blocks == spec.depths[1]
            and first[:2] == (spec.inner_width, spec.width)
            and f"layer1.0.conv{last}.weight" in state
            and f"layer1.0.conv{last + 1}.weight" not in state
        ):
            return name
    return None


def _stage(spec: BackboneSpec, stage: int, inputs: int) -> nn.Sequential:
    outputs = spec.channels(stage)
    inner = spec.inner_width * 2 ** (stage - 1)
    blocks: list[nn.Module] = []
    for index in range(spec.depths[stage - 1]):
        stride = 2 if index == 0 and stage > 1 else 1
        if spec.block == "bottleneck":
            blocks.append(Bottleneck(inputs, inner, outputs, stride))
        else:
            blocks.append(BasicBlock(inputs, outputs, stride))
        inputs = outputs
    return nn.Sequential(*blocks)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def set_requires_grad(module: nn.Module, requires_grad: bool) -> None:
    """Freeze or thaw all parameters of a module."""
    for parameter in module.parameters():
        parameter.requires_grad_(requires_grad)


# ImageNet statistics that torchvision's weights were trained with; R, G, B in [0, 1].
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406])
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225])
