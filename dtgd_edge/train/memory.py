"""A memory of good parts: how far each place's teacher features are from all that good parts have shown.

The student tells a defect by what it cannot denoise into the teacher's features; what it also imitates badly
on good parts, a busy texture for instance, it cannot tell from one. The memory knows such places by heart.
After PatchCore (Roth et al. 2022): pooled features of the second and third level, thinned out to a greedy
coreset. Its search has no place in a fixed graph; with few components and few prototypes it is a convolution.
The components are not those in which good parts differ most, but those along which synthetic anomalies move
features: the first are a part's own variety (its pose, its grain), in which a fine defect drowns.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtgd_edge.train.recipe import MemoryRecipe

# With fewer the coreset's worth depends on which they were; of so many it is made in half a minute.
MOST_PATCHES = 150_000
EQUAL = 1e-6  # of the mean square: closer than that is rounding
# Share of the good parts' own variety in what decides the components: it fills up what anomalies leave open.
VARIETY = 1e-3
POOL = 3
FEW = 32  # channels that are reduced at once
MEMORY_STRIDE = 8  # pixels per distance: the second level's grid


@dataclass(frozen=True, slots=True)
class Change:
    """Teacher features of good pictures and of their corrupted twins.

    Attributes:
        clean, corrupted: [B, C_k, H_k, W_k] of three levels.
        mask: float [B, 1, H, W], 1 where corrupted.
    """

    clean: list[Tensor]
    corrupted: list[Tensor]
    mask: Tensor


class Memory(nn.Module):
    """Distances between a teacher's features and the nearest prototype.

    Args:
        channels: of the teacher's second and third level.
        components: dimensions in which distances are taken.
        size: number of prototypes.
        weight: of the distances in the map, where each level has 1.
    """

    middle: Tensor
    deep: Tensor
    offset: Tensor
    prototypes: Tensor
    kernels: Tensor
    squares: Tensor

    def __init__(self, channels: tuple[int, int], components: int, size: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("middle", torch.zeros(components, channels[0], 1, 1))
        self.register_buffer("deep", torch.zeros(components, channels[1], 1, 1))
        self.register_buffer("offset", torch.zeros(components))
        self.register_buffer("prototypes", torch.zeros(size, components))
        # Of the prototypes, as a convolution takes them.
        self.register_buffer("kernels", torch.zeros(size, components, 1, 1), persistent=False)
        self.register_buffer("squares", torch.zeros(size), persistent=False)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], weight: float) -> "Memory":
        """Build one from its state, which has its sizes."""
        middle, deep = tensors["middle"], tensors["deep"]
        memory = cls((middle.shape[1], deep.shape[1]), middle.shape[0], len(tensors["prototypes"]), weight)
        memory.load_state_dict(tensors)
        memory._lay_out()
        return memory

    def _lay_out(self) -> None:
        """Bring the prototypes into the form that distances are computed with."""
        self.kernels.copy_(-2 * self.prototypes[:, :, None, None])
        self.squares.copy_(self.prototypes.square().sum(1))

    def project(self, levels: list[Tensor]) -> Tensor:
        """Teacher features [N, C_k, H_k, W_k] of three levels to patches [N, components, H_2, W_2].

        Pooling and enlarging are linear, so they come after the projection, on fewer channels.
        """
        _, middle, deep = (level.float() for level in levels)
        fine, coarse = F.conv2d(middle, self.middle), _pooled(F.conv2d(deep, self.deep))
        coarse = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return _pooled(fine) + coarse - self.offset[:, None, None]

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Teacher features [N, C_k, H_k, W_k] of three levels to float32 distances [N, 1, H_2, W_2]."""
        patches = self.project(levels)
        # |y - p|^2 = |y|^2 + (|p|^2 - 2 y p), and the second is a convolution: TensorRT for RTX has no
        # float32 product of matrices for Turing.
        nearest = _least(F.conv2d(patches, self.kernels, self.squares))
        return ((patches * patches).sum(1, keepdim=True) + nearest).clamp(min=0).sqrt()


@torch.inference_mode()
def memory_of(
    features: Iterable[list[Tensor]], changes: Iterable[Change], recipe: MemoryRecipe, frames: int, seed: int
) -> Memory:
    """Remember good parts.

    Args:
        features: the teacher's, of one good part (or tile) after another, [1, C_k, H_k, W_k] of three levels.
        changes: what synthetic anomalies do to such features; without any, distances are taken in the good
            parts' principal components.
        recipe: how much to remember.
        frames: how many parts there are.
        seed: decides which patches are looked at.
    """
    generator = torch.Generator().manual_seed(seed)
    patches, channels = _sampled(features, max(1, MOST_PATCHES // max(1, frames)), generator)
    mean = patches.mean(0)
    patches -= mean
    axes = _axes(patches, changes, recipe.components)
    points = patches @ axes
    chosen = points[_coreset(points, recipe.size)]
    memory = Memory(channels, axes.shape[1], len(chosen), recipe.weight)
    weights = axes.T[:, :, None, None]
    memory.middle.copy_(weights[:, : channels[0]])
    memory.deep.copy_(weights[:, channels[0] :])
    memory.offset.copy_(mean @ axes)
    memory.prototypes.copy_(chosen)
    memory._lay_out()
    return memory


def _axes(patches: Tensor, changes: Iterable[Change], components: int) -> Tensor:
    """Orthonormal directions in which distances are taken, [C, components]; patches [P, C] lie around 0."""
    moment = patches.new_zeros(patches.shape[1], patches.shape[1])
    for change in changes:
        moved = _moved(change)
        moment += moved.T @ moved
    variety = patches.T @ patches
    both = moment / moment.trace().clamp_min(EQUAL) + VARIETY * variety / variety.trace().clamp_min(EQUAL)
    # The last columns belong to the largest eigenvalues.
    axes: Tensor = torch.linalg.eigh(both).eigenvectors[:, -components:]
    return axes


def _moved(change: Change) -> Tensor:
    """How far anomalies move the patches that they cover, [P, C]."""
    apart = patches_of(change.corrupted) - patches_of(change.clean)
    covered = F.adaptive_avg_pool2d(change.mask, (apart.shape[2], apart.shape[3]))[:, 0] > 0.5
    return apart.permute(0, 2, 3, 1)[covered]


def _sampled(
    features: Iterable[list[Tensor]], count: int, generator: torch.Generator
) -> tuple[Tensor, tuple[int, int]]:
    """Some patches of each part, [P, C_2 + C_3], and both channel counts."""
    found = []
    for levels in features:
        patches = patches_of(levels).flatten(2).transpose(1, 2).flatten(0, 1)
        found.append(patches[torch.randperm(len(patches), generator=generator)[:count]])
        channels = levels[1].shape[1], levels[2].shape[1]
    return torch.cat(found), channels


def patches_of(levels: list[Tensor]) -> Tensor:
    """What a memory compares: features [N, C_k, H_k, W_k] of three levels to [N, C_2 + C_3, H_2, W_2]."""
    middle, deep = (_pooled(level.float()) for level in levels[1:])
    deep = F.interpolate(deep, size=middle.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([middle, deep], 1)


def _coreset(points: Tensor, size: int) -> list[int]:
    """Greedy k-centre: each next point is the one farthest from those chosen; equal ones are chosen once.

    Args:
        points: float [P, D], around 0.
        size: how many to choose.
    """
    squares = points.square().sum(1)
    chosen = [int(squares.argmin())]
    distances = torch.full_like(squares, torch.inf)
    equal = float(squares.mean()) * EQUAL
    while len(chosen) < size:
        last = chosen[-1]
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a b: one product of a matrix and a vector.
        distances = torch.minimum(distances, squares + squares[last] - 2 * (points @ points[last]))
        farthest = int(distances.argmax())
        if not distances[farthest] > equal:
            break
        chosen.append(farthest)
    return chosen


def _least(x: Tensor) -> Tensor:
    """The smallest of the channels, [N, C, H, W] to [N, 1, H, W]."""
    # By halves: ONNX Runtime's CPU reduces a second axis ten times as slowly as it compares two tensors.
    while x.shape[1] > FEW and x.shape[1] % 2 == 0:
        half = x.shape[1] // 2
        x = torch.minimum(x[:, :half], x[:, half:])
    return x.amin(1, keepdim=True)


def _pooled(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, POOL, stride=1, padding=POOL // 2)
