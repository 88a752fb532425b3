"""A small evaluation with two misses, a false alarm and a file name that tries to break out."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dtgd_edge.geometry import Geometry
from dtgd_edge.manifest import Threshold
from dtgd_edge.pictures import write_picture
from dtgd_edge.train.data import Part
from dtgd_edge.train.evaluate import Evaluation, evaluate
from dtgd_edge.train.report import About, Album
from dtgd_edge.verdict import Scores

NASTY = "\"><script>alert(1)<b>&amp;'$title.png"
THRESHOLD = 0.5
GEOMETRY = Geometry((64, 64))
# Kind, brightness of a square on black, which is also the score; None: a good part without one.
PARTS = [
    ("good", 0.0),
    ("good", 0.1),
    ("good", 0.7),
    ("good", 0.2),
    ("stain", 0.3),
    ("stain", 0.9),
    ("<i>dent", 0.4),
    ("<i>dent", 0.8),
    ("<i>dent", 0.6),
]


@dataclass(frozen=True)
class Case:
    """An evaluation with its pictures and what was evaluated."""

    parts: list[Part]
    evaluation: Evaluation
    album: Album
    about: About


def brightness(frames: NDArray[np.uint8]) -> Scores:
    """Score a frame by its brightest pixel, in [0, 1]."""
    maps = frames[..., 0].astype(np.float32) / np.float32(255)
    return Scores(maps.max(axis=(1, 2)), maps)


def made_parts(folder: Path, parts: list[tuple[str, float]] = PARTS) -> list[Part]:
    """Write pictures of 80 x 100 px and the masks of the defective ones."""
    made = []
    for index, (kind, value) in enumerate(parts):
        picture, mask = np.zeros((80, 100, 3), np.uint8), np.zeros((80, 100), np.uint8)
        picture[20:60, 30:70] = round(255 * value)
        mask[20:60, 30:70] = 255
        name = {0: NASTY, 1: os.fsdecode(b"caf\xe9.png")}.get(index, f"{index:03}.png")
        path, mask_path = folder / kind / name, folder / "masks" / f"{index}.png"
        write_picture(path, picture)
        write_picture(mask_path, mask)
        is_defective = kind != "good"
        made.append(Part(path, is_defective, kind, (mask_path,) if is_defective else ()))
    return made


def made_case(parts: list[Part]) -> Case:
    """Evaluate parts."""
    album = Album(GEOMETRY, THRESHOLD)
    return Case(
        parts,
        evaluate(brightness, parts, GEOMETRY, threshold=THRESHOLD, watch=album.add),
        album,
        About(
            scored="bundles/<b>tiny.dtgd",
            kind="bundle",
            precision="fp32",
            sha256="0" * 64,
            session="CPU",
            trained="1 step on nothing",
            geometry=GEOMETRY,
            threshold=Threshold(THRESHOLD, "set by hand", 3),
            data="pictures/",
            created="2026-01-02T03:04:05+00:00",
            machine="a machine",
            versions={"dtgd-edge": "1.2.3"},
        ),
    )


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return made_case(made_parts(tmp_path / "test"))
