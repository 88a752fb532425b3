"""The networks of DTGD: teacher, denoising student with TNR, and the two put together.

Li et al., "Dual-Teacher Guided Denoising Distillation for Anomaly Detection", IEEE Access 2025
(doi 10.1109/access.2025.3616789). The abstract names the parts and where they sit; their inner form
is this project's reading of it and of its relatives (RD4AD, DeSTSeg, URD). Shapes below are for a
ResNet-18 teacher and student at 256 x 256.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtgd_edge.train.backbones import BackboneSpec, BasicBlock, ResNet, backbone_spec, set_requires_grad
from dtgd_edge.train.recipe import Shared, StudentRecipe, TNRForm

LEVELS = 3
FINEST_STRIDE = 4  # pixels per position of the first level; each further level doubles it
COSINE_EPSILON = 1e-6
# The stage that an encoder begins with, by what it shares; 0 is the stem.
_FIRST_STAGE: dict[Shared, int] = {"nothing": 0, "stem": 1, "stage1": 2}


@dataclass(frozen=True, slots=True)
class StudentFeatures:
    """What the student makes of a batch; one entry per level, finest first.

    An encoder that shares the teacher's first stage has nothing of its own there: its lists begin with the
    second level then, and end with the last one like all others.

    Attributes:
        cleaned: encoder features after TNR, projected to the teacher's channels (F_k).
        decoded: decoder features, projected to the teacher's channels (D_k); always all levels.
        gates: logits of the keep-gates, [B, 1, H_k, W_k]; empty without TNR.
    """

    cleaned: list[Tensor]
    decoded: list[Tensor]
    gates: list[Tensor]


class TNR(nn.Module, ABC):
    """Teacher-guided noise removal: look at student and anomaly teacher, gate, clean."""

    def __init__(self, channels: int, teacher_channels: int) -> None:
        super().__init__()
        inner = min(128, max(32, channels // 4))
        self.squeeze_student = _conv_bn_relu(channels, inner, 1)
        self.squeeze_teacher = _conv_bn_relu(teacher_channels, inner, 1)
        self.mix = nn.Sequential(
            _conv_bn_relu(3 * inner + 1, inner, 3),
            # 5 x 5 instead of a dilated 3 x 3: the same reach, and PyTorch 2.13's bfloat16 gradient of a
            # dilated depthwise convolution in channels_last is garbage on the CPU.
            nn.Conv2d(inner, inner, 5, padding=2, groups=inner, bias=False),
            _conv_bn_relu(inner, inner, 1),
        )
        self.gate = nn.Conv2d(inner, 1, 3, padding=1)
        assert self.gate.bias is not None
        nn.init.constant_(self.gate.bias, 2.0)  # keep nearly everything at first

    def forward(self, encoded: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Clean one level.

        Args:
            encoded: student feature after ReLU, [B, C, H, W].
            teacher: anomaly teacher's feature of the same level, [B, C', H, W], detached.

        Returns:
            The cleaned feature [B, C, H, W] and the gate's logits [B, 1, H, W].
        """
        e = self.squeeze_student(encoded)  # [B, m, H, W]
        a = self.squeeze_teacher(teacher)  # [B, m, H, W]
        c = cosine(e, a).unsqueeze(1).to(e.dtype)  # [B, 1, H, W]
        mixed = self.mix(torch.cat([e, a, (e - a).abs(), c], 1))  # [B, m, H, W]
        gate = self.gate(mixed)  # [B, 1, H, W]
        return self.clean(encoded, teacher, mixed, gate), gate

    @abstractmethod
    def clean(self, encoded: Tensor, teacher: Tensor, mixed: Tensor, gate: Tensor) -> Tensor:
        """The cleaned feature, [B, C, H, W], not negative."""


class SubtractingTNR(TNR):
    """Subtract what the anomaly teacher says is noise.

    The teacher's feature reaches the student only through a narrow, gated subtraction, so that
    the student cannot reach zero loss by copying it. Starts as the identity.
    """

    def __init__(self, channels: int, teacher_channels: int) -> None:
        super().__init__(channels, teacher_channels)
        self.noise = nn.Conv2d(self.gate.in_channels, channels, 1)
        assert self.noise.bias is not None
        nn.init.zeros_(self.noise.weight)
        nn.init.zeros_(self.noise.bias)

    def clean(self, encoded: Tensor, teacher: Tensor, mixed: Tensor, gate: Tensor) -> Tensor:
        return F.relu(encoded - torch.sigmoid(-gate) * self.noise(mixed))


class InjectingTNR(TNR):
    """Mix the anomaly teacher's own feature in where the gate calls it normal, as URD does.

    For comparison: where the gate errs, the student can copy the defect.
    """

    def __init__(self, channels: int, teacher_channels: int) -> None:
        super().__init__(channels, teacher_channels)
        self.detail = _conv_bn_relu(teacher_channels, channels, 1)

    def clean(self, encoded: Tensor, teacher: Tensor, mixed: Tensor, gate: Tensor) -> Tensor:
        share = torch.sigmoid(gate)
        detail: Tensor = self.detail(teacher)
        return share * detail + (1 - share) * encoded


_TNR_FORMS: dict[TNRForm, type[TNR]] = {"subtract": SubtractingTNR, "inject": InjectingTNR}


class Decoder(nn.Module):
    """Bottleneck feature back to three levels: basic blocks and bilinear enlargement.

    Args:
        encoder: what made the bottleneck.
        spec: channels of each level.
        skips: the finest level that gets the encoder's feature too, as all coarser ones do; 0: none.
        depth: blocks on each level.
    """

    def __init__(self, encoder: BackboneSpec, spec: BackboneSpec, skips: int = 0, depth: int = 2) -> None:
        super().__init__()
        self.skips = skips
        wide = spec.channels(LEVELS + 1)
        self.bottom = BasicBlock(encoder.channels(LEVELS + 1), wide, 1)
        blocks = []
        for level in range(LEVELS, 0, -1):
            outputs = spec.channels(level)
            inputs = wide + encoder.channels(level) if 0 < skips <= level else wide
            more = [BasicBlock(outputs, outputs, 1) for _ in range(depth - 1)]
            blocks.append(nn.Sequential(BasicBlock(inputs, outputs, 1), *more))
            wide = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, bottleneck: Tensor, cleaned: list[Tensor]) -> list[Tensor]:
        """[B, 512, 8, 8] to [[B, 64, 64, 64], [B, 128, 32, 32], [B, 256, 16, 16]].

        Args:
            bottleneck: the deepest encoder feature.
            cleaned: the encoder's own features, of its last levels; read with skips only.
        """
        x = self.bottom(bottleneck)
        levels = []
        for level, block in zip(range(LEVELS, 0, -1), self.blocks, strict=True):
            size = (x.shape[2] * 2, x.shape[3] * 2)
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            has_skip = 0 < self.skips <= level
            x = block(torch.cat([x, cleaned[level - LEVELS - 1]], 1) if has_skip else x)
            levels.append(x)
        return levels[::-1]


class Student(nn.Module):
    """Denoising encoder-decoder with TNR after each encoder block that has a teacher level."""

    def __init__(self, teacher_spec: BackboneSpec, recipe: StudentRecipe) -> None:
        super().__init__()
        spec = backbone_spec(recipe.backbone)
        start = _FIRST_STAGE[recipe.shares]
        self.shares = start > 0
        shared = teacher_spec.channels(1) if start == 2 else teacher_spec.width
        self.encoder = ResNet(spec, LEVELS + 1, start, shared)
        levels = range(1, LEVELS + 1)
        pairs = [(spec.channels(k), teacher_spec.channels(k)) for k in levels]
        own = pairs[self.encoder.start - 1 :]
        form = _TNR_FORMS.get(recipe.tnr)
        self.tnr = None if form is None else nn.ModuleList(form(*pair) for pair in own)
        decoder = spec if recipe.decoder == "auto" else backbone_spec(recipe.decoder)
        skips = self.encoder.start if recipe.skips else 0
        self.decoder = Decoder(spec, decoder, skips, recipe.decoder_blocks)
        self.cleaned_heads = nn.ModuleList(_head(*pair) for pair in own)
        self.decoded_heads = nn.ModuleList(
            _head(decoder.channels(k), teacher_spec.channels(k)) for k in levels
        )
        # Not TNR: its gate would start saturated, where "keep nearly everything" is meant.
        for module in (*self.encoder.modules(), *self.decoder.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, teacher: list[Tensor]) -> StudentFeatures:
        """Denoise a batch.

        Args:
            x: what the encoder begins with, from DTGD.encoder_input.
            teacher: the anomaly teacher's features of the same pictures, detached.
        """
        levels, gates = [], []
        if not self.shares:
            x = self.encoder.stem(x)  # [B, 64, 64, 64]
        for place, level in enumerate(range(self.encoder.start, LEVELS + 1)):
            x = self.encoder.get_submodule(f"layer{level}")(x)
            if self.tnr is not None:
                x, gate = self.tnr[place](x, teacher[level - 1])
                gates.append(gate)
            levels.append(x)
        bottleneck = self.encoder.get_submodule(f"layer{LEVELS + 1}")(x)  # [B, 512, 8, 8]
        cleaned = [head(f) for head, f in zip(self.cleaned_heads, levels, strict=True)]
        decoded = [
            head(d) for head, d in zip(self.decoded_heads, self.decoder(bottleneck, levels), strict=True)
        ]
        return StudentFeatures(cleaned, decoded, gates)


class DTGD(nn.Module):
    """Everything that scores: the anomaly teacher and the student.

    In variant F the teacher is the normal teacher too: it sees the clean picture as the one and the
    corrupted picture as the other. In variant U training keeps the normal teacher apart (tuning.py).

    Args:
        teacher: a feature extractor of three levels; frozen here.
        student: its backbone resolved.
    """

    def __init__(self, teacher: ResNet, student: StudentRecipe) -> None:
        super().__init__()
        self.teacher = teacher
        self.student = Student(teacher.spec, student)
        self.shares = student.shares
        set_requires_grad(self.teacher, False)
        self.train()

    def start_encoder(self) -> None:
        """Copy the teacher's stages into the encoder, before training; the last stage stays random."""
        self.student.encoder.load_state_dict(self.teacher.state_dict(), strict=False)

    def encoder_input(self, x: Tensor, teacher: list[Tensor], stem: Tensor | None = None) -> Tensor:
        """What the student's encoder begins with: the pictures, or what it shares of the teacher, detached.

        Args:
            x: normalised pictures, [B, 3, 256, 256].
            teacher: the teacher's features of them.
            stem: what the teacher's stem makes of them; None: it is computed, where it is needed.
        """
        if self.shares == "nothing":
            return x
        if self.shares == "stage1":
            return teacher[0].detach()
        with torch.no_grad():
            return self.teacher.stem(x) if stem is None else stem

    def train(self, mode: bool = True) -> "DTGD":
        """Switch the student; the teacher's batch norms always use their stored statistics."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, x: Tensor) -> tuple[list[Tensor], StudentFeatures]:
        """Score-time path: the picture itself is what the anomaly teacher sees."""
        stem = self.teacher.stem(x)
        teacher = self.teacher.after_stem(stem)
        return teacher, self.student(self.encoder_input(x, teacher, stem), teacher)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine over channels in float32, whatever the inputs: [B, C, H, W] x 2 to [B, H, W].

    Half precision overflows in the squares of large features and merges near-equal ones into ties.
    """
    a, b = a.float(), b.float()
    # The constant bounds the gradient at features that are all zero, which ReLU leaves now and then.
    norms = torch.sqrt(((a * a).sum(1) + COSINE_EPSILON) * ((b * b).sum(1) + COSINE_EPSILON))
    return (a * b).sum(1) / norms


def _conv_bn_relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _head(inputs: int, outputs: int) -> nn.Module:
    return nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
