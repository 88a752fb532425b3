"""The pretend line: data sets, an endless row of parts, and its video. Everything follows from the seed."""

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.pictures import write_picture
from dtgd_edge.pretend.defects import DEFECTS
from dtgd_edge.pretend.part import GOOD, PretendPart, draw_part


def write_dataset(folder: Path, *, parts: int = 60, seed: int = 0, size: int = 320) -> dict[str, int]:
    """Write a data set in the MVTec AD layout.

    Args:
        folder: must not exist yet, or be empty.
        parts: good parts to train on; a third as many good and a tenth as many of each defect (at least
            two) are there to test on. Part i of a folder does not depend on it.
        size: side of the pictures, pixels.

    Returns:
        Number of pictures in each subfolder, "train/good" and so on.

    Raises:
        ConfigError: parts, seed or size cannot be used.
        DataError: the folder holds something already.
        SinkError: the disk refused.
    """
    _check(parts, seed)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"{folder} is there and not an empty folder; expected a new one for the pictures; "
            "name another place or empty it"
        )
    counts = {"train/good": parts, "test/good": max(1, parts // 3)}
    counts |= {f"test/{defect}": max(2, parts // 10) for defect in DEFECTS}
    for section, (subfolder, count) in enumerate(list(counts.items()), start=1):
        defect = subfolder.split("/")[1]
        for index in range(count):
            # The section comes last and is never 0: [seed, index, 0] would be the line's [seed, index].
            part = draw_part(np.random.default_rng([seed, index, section]), defect, size)
            write_picture(folder / subfolder / f"{index:03d}.png", part.image)
            if defect != GOOD:
                mask_path = folder / "ground_truth" / defect / f"{index:03d}_mask.png"
                write_picture(mask_path, part.mask.astype(np.uint8) * np.uint8(255))
        if defect != GOOD:
            counts[f"ground_truth/{defect}"] = count
    return counts


def line_parts(seed: int = 0, defect_rate: float = 0.2, size: int = 320) -> Iterator[PretendPart]:
    """Let parts pass the camera for ever.

    Args:
        defect_rate: probability that a part has a defect, 0 to 1; each kind is equally likely.

    Raises:
        ConfigError: seed, rate or size cannot be used.
    """
    _check(1, seed)
    if not 0 <= defect_rate <= 1:
        raise ConfigError(
            f"a defect rate of {defect_rate} was given; expected 0 to 1; choose a share of the parts"
        )
    return (_line_part(seed, index, defect_rate, size) for index in itertools.count())


def write_line_video(
    path: Path,
    *,
    parts: int = 60,
    seed: int = 1,
    defect_rate: float = 0.2,
    size: int = 320,
    fps: float = 10.0,
) -> Path:
    """Write a video of the line, one triggered shot per frame, and `<stem>.truth.json` beside it.

    The truth is {"frames": [{"frame": 0, "defect": "good"}, ...]}.

    Args:
        path: ends in .avi; a video already there is replaced once the new one is whole.
        fps: frames per second, as the video says.

    Returns:
        The path.

    Raises:
        ConfigError: parts, seed, rate, size, or fps cannot be used, or the name does not end in .avi.
        DataError: the codec or the disk refused.
    """
    _check(parts, seed)
    if path.suffix.lower() != ".avi":
        raise ConfigError(
            f"{path.name} was given for the line video; expected a name ending in .avi; rename it"
        )
    if not 0 < fps <= 1000:
        raise ConfigError(
            f"{fps} frames per second were asked for; expected 0 to 1000; choose a rate in between"
        )
    line = itertools.islice(line_parts(seed, defect_rate, size), parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as beside:
            draft = Path(beside) / "line.avi"
            truth = {"frames": _filmed(draft, line, size, fps)}
            _check_film(draft, parts)
            with written_whole(path.with_name(f"{path.stem}.truth.json"), DataError) as file:
                file.write(json.dumps(truth, indent=1).encode())
            with draft.open("rb") as film, written_whole(path, DataError) as file:
                shutil.copyfileobj(film, file)
    except OSError as exc:
        raise DataError(
            f"{path} could not be written ({exc.strerror or exc}); expected room for a video; "
            "free some space or choose another place"
        ) from exc
    return path


def _line_part(seed: int, index: int, defect_rate: float, size: int) -> PretendPart:
    rng = np.random.default_rng([seed, index])
    is_defective, kind = rng.random() < defect_rate, int(rng.integers(len(DEFECTS)))
    return draw_part(rng, DEFECTS[kind] if is_defective else GOOD, size)


def _filmed(path: Path, parts: Iterable[PretendPart], size: int, fps: float) -> list[dict[str, int | str]]:
    """Film parts and list what each frame shows."""
    import cv2

    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, codec, fps, (size, size))
    if not writer.isOpened():
        raise DataError(
            "a Motion JPEG video could not be opened for writing; expected OpenCV's own encoder; "
            "install opencv-python-headless from PyPI"
        )
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 100)
    frames: list[dict[str, int | str]] = []
    for number, part in enumerate(parts):
        writer.write(part.image)
        frames.append({"frame": number, "defect": part.defect})
    writer.release()
    return frames


def _check_film(path: Path, parts: int) -> None:
    """Count the frames that arrived on the disk: the encoder does not say when the disk is full."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    found = 0
    while capture.grab():
        found += 1
    capture.release()
    if found != parts:
        raise DataError(
            f"the line video holds {found} frames when read back; expected {parts}; "
            "free some space or choose another place"
        )


def _check(parts: int, seed: int) -> None:
    if parts < 1:
        raise ConfigError(f"{parts} parts were asked for; expected at least 1; choose a larger number")
    if seed < 0:
        raise ConfigError(f"seed {seed} was given; expected 0 or more; choose another seed")
