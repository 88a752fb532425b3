import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dtgd_edge.train.margin import with_margin, without_margin


def test_pictures_go_on_mirrored() -> None:
    picture = torch.arange(2 * 5 * 7 * 3, dtype=torch.float32).view(2, 5, 7, 3)
    grown = with_margin(picture, 3)
    mirrored = F.pad(picture.permute(0, 3, 1, 2), (3, 3, 3, 3), "reflect").permute(0, 2, 3, 1)
    assert torch.equal(grown, mirrored)


def test_bytes_and_masks_too() -> None:
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 6, 6, 3), np.uint8))
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., 1, 2] = 1
    assert with_margin(frames, 2).dtype == torch.uint8
    grown = with_margin(mask, 2, dims=(2, 3))
    assert grown.shape == (1, 1, 10, 10)
    assert grown[0, 0, 1, 4] == 1 and grown[0, 0, 3, 4] == 1, "the defect is mirrored with its picture"


@pytest.mark.parametrize("margin", [0, 16, 32])
def test_the_margin_comes_off_every_level(margin: int) -> None:
    side = 64 + 2 * margin
    levels = [torch.rand(1, 2, side // stride, side // stride) for stride in (4, 8, 16)]
    inner = without_margin(levels, margin)
    assert [tuple(f.shape[2:]) for f in inner] == [(16, 16), (8, 8), (4, 4)]
    rim = margin // 4
    assert torch.equal(inner[0], levels[0][:, :, rim : rim + 16, rim : rim + 16])
