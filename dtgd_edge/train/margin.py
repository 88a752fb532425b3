"""Mirrored surroundings around what the network sees as one picture.

At a picture's rim a convolution sees zeros in place of the part, and the decoder imitates what the teacher
makes of them worst of all: the rims of good parts would be the warmest places of their maps. With a margin
that happens outside of the map.
"""

import torch
from torch import Tensor

from dtgd_edge.train.networks import FINEST_STRIDE


def with_margin(pictures: Tensor, margin: int, dims: tuple[int, int] = (1, 2)) -> Tensor:
    """Let pictures go on mirrored beyond their rims, whose own pixels are not doubled.

    Args:
        pictures: any dtype; [N, H, W, 3] with the default dims.
        margin: pixels on each side, fewer than the picture has.
        dims: which dimensions are height and width.
    """
    # By index, not F.pad: that cannot mirror bytes with the channels last, and TensorRT takes a Gather.
    for dim in dims if margin else ():
        last = pictures.shape[dim] - 1
        places = torch.arange(-margin, last + margin + 1, device=pictures.device).abs()
        pictures = pictures.index_select(dim, last - (last - places).abs())
    return pictures


def without_margin(features: list[Tensor], margin: int) -> list[Tensor]:
    """Take the margin off features [N, C_k, H_k, W_k], the finest first."""
    if not margin:
        return features
    rims = [margin // (FINEST_STRIDE << level) for level in range(len(features))]
    return [f[:, :, rim:-rim, rim:-rim] for f, rim in zip(features, rims, strict=True)]
