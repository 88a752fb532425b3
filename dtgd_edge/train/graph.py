"""The scoring graph: frames in, score and map out; everything that training needed is gone.

Distilling means: take the averaged network, fold its batch norms, calibrate each level's distance on
held-out good frames, and put normalisation, cosine tail, blur and pooling inside as buffers.
"""

import copy
import functools
import math
import operator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dtgd_edge.geometry import TileGrid
from dtgd_edge.train.backbones import IMAGENET_MEAN, IMAGENET_STD
from dtgd_edge.train.checkpoint import Checkpoint, JudgingFrames
from dtgd_edge.train.levels import LevelRule
from dtgd_edge.train.margin import with_margin, without_margin
from dtgd_edge.train.memory import MEMORY_STRIDE, Memory
from dtgd_edge.train.networks import DTGD, FINEST_STRIDE, LEVELS, cosine
from dtgd_edge.train.recipe import ScoringRecipe
from dtgd_edge.train.stitching import Stitch, cut
from dtgd_edge.verdict import Scores

MAP_STRIDE = FINEST_STRIDE  # the tail works at this resolution


class Tail(nn.Module):
    """Features to score and map, in float32 throughout.

    Attributes:
        centre, scale: what is taken off each level's distance, and then divides it; see LevelRule.
            A memory's are the last.
    """

    centre: Tensor
    scale: Tensor
    kernel: Tensor
    edge: Tensor

    def __init__(
        self,
        size_hw: tuple[int, int],
        levels: int,
        recipe: ScoringRecipe,
        grid: TileGrid | None = None,
        memory: Memory | None = None,
    ) -> None:
        super().__init__()
        self.size_hw = size_hw
        strides = [MAP_STRIDE << k for k in range(levels)]
        self.weight = float(levels)  # of all levels together; each distance's own is in its scale
        if memory is not None:
            strides.append(MEMORY_STRIDE)
            self.weight += memory.weight
        self.stitches = nn.ModuleList()
        if grid is not None:
            self.stitches.extend(Stitch(grid, stride) for stride in strides)
        self.grid_hw = (size_hw[0] // MAP_STRIDE, size_hw[1] // MAP_STRIDE)
        self.fusion = recipe.fusion
        self.top = recipe.top
        self.register_buffer("centre", torch.zeros(len(strides)))
        self.register_buffer("scale", torch.ones(len(strides)))
        kernel = gaussian_kernel(recipe.blur_sigma)
        self.register_buffer("kernel", kernel)
        # Zero padding darkens the rim; dividing by the blurred constant undoes it.
        ones = torch.ones(1, 1, *self.grid_hw)
        self.register_buffer("edge", 1 / F.conv2d(ones, kernel, padding=kernel.shape[-1] // 2))

    def forward(
        self, teacher: list[Tensor], decoded: list[Tensor], remembered: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Distances to score [N] and map [N, H, W]; tiles are ordered by `cut`.

        Args:
            teacher, decoded: features whose cosines are taken, [N, C_k, H_k, W_k].
            remembered: the memory's distances, [N, 1, H_2, W_2], if there is one.
        """
        # 1 - cosine first, then the constants: folding them into one would lose digits near 0.
        distances = [1 - cosine(a, d).unsqueeze(1) for a, d in zip(teacher, decoded, strict=True)]
        if remembered is not None:
            distances.append(remembered)
        levels = []
        for k, distance in enumerate(distances):
            level = (distance - self.centre[k]) / self.scale[k]
            if self.stitches:
                level = self.stitches[k](level)
            if level.shape[2:] != self.grid_hw:
                level = F.interpolate(level, size=self.grid_hw, mode="bilinear", align_corners=False)
            levels.append(level)
        if self.fusion == "product":
            fused = functools.reduce(operator.mul, levels)
        else:
            fused = sum(levels[1:], levels[0]) / self.weight
        smooth = F.conv2d(fused, self.kernel, padding=self.kernel.shape[-1] // 2) * self.edge
        flat = smooth.flatten(1)  # [N, H/4 * W/4]
        score = flat.amax(1) if self.top == 1 else flat.topk(self.top, 1).values.mean(1)
        large = F.interpolate(smooth, size=self.size_hw, mode="bilinear", align_corners=False)
        return score, large.squeeze(1)


class ScoringGraph(nn.Module):
    """uint8 [N, H, W, 3] RGB frames to `score` float32 [N] and `map` float32 [N, H, W].

    Args:
        network: DTGD in eval mode; it is copied and its batch norms are folded.
        size_hw: height and width of the frames.
        recipe: blur and pooling.
        grid: the tiles that the network sees as one batch; None: the frame is not cut.
        margin: mirrored pixels around the frame or each tile, see Geometry.
        memory: of good parts' teacher features, a further level of the map; None: there is none.
    """

    gain: Tensor
    offset: Tensor

    def __init__(
        self,
        network: DTGD,
        size_hw: tuple[int, int],
        recipe: ScoringRecipe,
        grid: TileGrid | None = None,
        margin: int = 0,
        memory: Memory | None = None,
    ) -> None:
        super().__init__()
        self.network = fold_batch_norms(copy.deepcopy(network).eval())
        self.memory = memory
        self.tail = Tail(size_hw, LEVELS, recipe, grid, memory)
        self.grid = grid
        self.margin = margin
        self.register_buffer("gain", (1 / (255 * IMAGENET_STD)).view(1, 3, 1, 1))
        self.register_buffer("offset", (-IMAGENET_MEAN / IMAGENET_STD).view(1, 3, 1, 1))
        self.dtype = torch.float32

    def half(self) -> "ScoringGraph":
        """Put the convolutions into float16; normalisation, cosines and tail stay float32."""
        self.network.half()
        self.dtype = torch.float16
        return self

    def features(self, frames: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The teacher's and the decoder's features of uint8 frames; of tiles, as `cut` orders them."""
        # Cast before cutting and permuting: TensorRT does neither with uint8.
        values = frames.float()
        return self.tile_features(values if self.grid is None else cut(values, self.grid))

    def tile_features(self, tiles: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The same of what the network sees as one picture, [N, h, w, 3], 0 to 255."""
        values = with_margin(tiles.float(), self.margin)
        x = values.permute(0, 3, 1, 2) * self.gain + self.offset
        teacher, student = self.network(x.to(self.dtype))
        return without_margin(teacher, self.margin), without_margin(student.decoded, self.margin)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        teacher, decoded = self.features(frames)
        score, anomaly_map = self.tail(teacher, decoded, self.remembered(teacher))
        return score, anomaly_map

    @property
    def level_rule(self) -> LevelRule:
        """How its levels are weighed, from good frames."""
        return LevelRule(self.tail.fusion, None if self.memory is None else self.memory.weight)

    def remembered(self, teacher: list[Tensor]) -> Tensor | None:
        """The memory's distances for the teacher's features, [N, 1, H_2, W_2]; None without one."""
        return None if self.memory is None else self.memory(teacher)

    @torch.inference_mode()
    def score(self, frames: NDArray[np.uint8]) -> Scores:
        """Score prepared frames, uint8 [N, H, W, 3], on the device the graph is on."""
        device = self.gain.device
        scores, maps = [], []
        for frame in frames:  # one at a time, as the line does: memory stays flat
            score, anomaly_map = self(torch.from_numpy(np.ascontiguousarray(frame))[None].to(device))
            scores.append(score.float().cpu().numpy())
            maps.append(anomaly_map.float().cpu().numpy())
        return Scores(np.concatenate(scores), np.concatenate(maps))


def distil(checkpoint: Checkpoint, frames: JudgingFrames | None = None) -> ScoringGraph:
    """Turn a checkpoint into its scoring graph.

    Args:
        checkpoint: from training.
        frames: its judging frames, if they have been read already.

    Raises:
        DataError: the checkpoint's weights or frames are not usable.
    """
    recipe = checkpoint.record.recipe
    geometry = recipe.geometry
    graph = ScoringGraph(
        checkpoint.network(),
        geometry.size_hw,
        recipe.scoring,
        geometry.tile_grid,
        geometry.margin,
        checkpoint.memory(),
    ).eval()
    calibrate_levels(graph, (frames or checkpoint.frames()).normals)
    return graph


@torch.inference_mode()
def calibrate_levels(graph: ScoringGraph, normals: NDArray[np.uint8]) -> None:
    """Set each level's centre and scale from good frames, so that none dominates the sum by its unit."""
    found = []
    for frame in normals:
        teacher, decoded = graph.features(torch.from_numpy(frame)[None])
        distances = [1 - cosine(a, d) for a, d in zip(teacher, decoded, strict=True)]
        remembered = graph.remembered(teacher)
        found.append(distances if remembered is None else [*distances, remembered])
    values = [torch.cat([d.flatten() for d in level]).numpy() for level in zip(*found, strict=True)]
    for level, (centre, scale) in enumerate(graph.level_rule.constants(values)):
        graph.tail.centre[level] = centre
        graph.tail.scale[level] = scale


def fold_batch_norms(module: nn.Module) -> DTGD:
    """Fold every batch norm that directly follows a convolution into it; in place, eval mode only."""
    for parent in list(module.modules()):
        previous: tuple[str, nn.Conv2d] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and previous is not None:
                setattr(parent, previous[0], fuse_conv_bn_eval(previous[1], child))
                setattr(parent, name, nn.Identity())
            previous = (name, child) if isinstance(child, nn.Conv2d) else None
    assert not any(isinstance(m, nn.BatchNorm2d) for m in module.modules())
    assert isinstance(module, DTGD)
    return module


def gaussian_kernel(sigma: float) -> Tensor:
    """A normalised Gaussian, float32 [1, 1, K, K], cut at three sigma; 1 x 1 when sigma is 0."""
    reach = math.ceil(3 * sigma)
    x = torch.arange(-reach, reach + 1, dtype=torch.float32)
    line = torch.exp(-(x**2) / (2 * max(sigma, 1e-6) ** 2))
    kernel = torch.outer(line, line)
    return (kernel / kernel.sum()).view(1, 1, x.numel(), x.numel())
