"""Make the teacher that ships with the package: a half-width ResNet-18 that learned to see from an
ImageNet ResNet-18, on generated pictures only.

    python train/make_teacher.py resnet18_imagenet.safetensors --out teacher.safetensors --minutes 30

The student's three stages are projected by 1x1 convolutions onto the teacher's features and pulled
towards them by cosine distance per position (as FitNets, Romero et al. 2014, with the distance that
DTGD itself measures). The projections are thrown away. No photograph is used, so that the result
can be shipped; the file's metadata says how it was made.
"""

import argparse
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from dtgd_edge.train.backbones import BACKBONES, IMAGENET_MEAN, IMAGENET_STD, ResNet
from dtgd_edge.train.textures import FIELDS, leaves, smooth_noise, texture

SIZE_HW = (128, 128)


def scene(rng: np.random.Generator) -> np.ndarray:
    """Draw textured objects on a textured ground, lit unevenly: uint8 [128, 128, 3]."""
    picture = texture(rng, SIZE_HW).astype(np.float32)
    for _ in range(int(rng.integers(0, 4))):
        field = (leaves if rng.random() < 0.6 else FIELDS[rng.integers(len(FIELDS))])(rng, SIZE_HW)
        mask = (field > rng.uniform(-0.5, 1.5)).astype(np.float32)
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.3, 2.0))[..., None]
        if rng.random() < 0.3:  # a soft shadow or highlight instead of another material
            picture = picture * (1 + mask * rng.uniform(-0.5, 0.5))
        else:
            picture = picture * (1 - mask) + texture(rng, SIZE_HW) * mask
    light = 1 + rng.uniform(0, 0.4) * smooth_noise(rng, SIZE_HW, (2, 2))[..., None]
    picture = picture * light
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.0))
    return np.clip(picture, 0, 255).astype(np.uint8)


def batch(seed: int, step: int, size: int) -> Tensor:
    """Draw the normalised batch of a step: float [B, 3, 128, 128]."""
    rng = np.random.default_rng([seed, step])
    frames = torch.from_numpy(np.stack([scene(rng) for _ in range(size)]))
    x = frames.permute(0, 3, 1, 2).float() / 255
    return (x - IMAGENET_MEAN.view(1, 3, 1, 1)) / IMAGENET_STD.view(1, 3, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("weights", type=Path, help="ImageNet ResNet-18, .safetensors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet18_half", choices=list(BACKBONES))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    guide = ResNet(BACKBONES["resnet18"]).eval()
    guide.load_state_dict(load_file(options.weights), strict=False)
    pupil = ResNet(BACKBONES[options.backbone])
    widths = [(pupil.spec.channels(s), guide.spec.channels(s)) for s in (1, 2, 3)]
    projections = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in widths)
    for module in (guide, pupil, projections):
        module.to(memory_format=torch.channels_last)
    parameters = [*pupil.parameters(), *projections.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-3)

    started, budget, step = time.monotonic(), options.minutes * 60, 0
    loader = ThreadPoolExecutor(1)
    upcoming = loader.submit(batch, options.seed, 0, options.batch)
    while (spent := time.monotonic() - started) < budget:
        x = upcoming.result().to(memory_format=torch.channels_last)
        upcoming = loader.submit(batch, options.seed, step + 1, options.batch)
        warm_up = min(1.0, (step + 1) / 200)
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * warm_up * (0.5 + 0.5 * math.cos(math.pi * spent / budget))
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                wanted = guide(x)
            got = [project(f) for project, f in zip(projections, pupil(x), strict=True)]
        similarities = [
            F.cosine_similarity(a.float(), b.float()).mean() for a, b in zip(got, wanted, strict=True)
        ]
        loss = sum(1 - s for s in similarities)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        if step % 50 == 0:
            print(
                f"{spent:6.0f} s  step {step}  cosine " + " ".join(f"{s.item():.4f}" for s in similarities),
                flush=True,
            )

    state = {
        k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in pupil.state_dict().items()
    }
    how = {
        "backbone": options.backbone,
        "made_by": "train/make_teacher.py",
        "from": "ResNet-18, ImageNet-1k (torchvision, first-generation weights), by feature distillation",
        "pictures": "generated textures and scenes, no photographs",
        "steps": str(step),
        "batch": str(options.batch),
        "seed": str(options.seed),
        "cosine": json.dumps([round(s.item(), 4) for s in similarities]),
    }
    save_file(state, options.out, metadata=how)
    print(f"wrote {options.out} after {step} steps")


if __name__ == "__main__":
    main()
