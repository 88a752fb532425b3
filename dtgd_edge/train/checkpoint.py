"""A training run on disk: a folder with `checkpoint.json`, one weight file and the frames to judge by.

`checkpoint.json` names the weight file and its digest and is replaced last, so that a kill at any
moment leaves either the old checkpoint or the new one.
"""

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from dtgd_edge.atomic import written_whole
from dtgd_edge.config import mapping_from_record, record_from_mapping
from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.backbones import ResNet, backbone_spec
from dtgd_edge.train.memory import Memory
from dtgd_edge.train.networks import DTGD, LEVELS
from dtgd_edge.train.recipe import Recipe
from dtgd_edge.workspace import CHECKPOINT

SCHEMA = 1
FRAMES = "frames.npz"


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """What `checkpoint.json` says.

    Attributes:
        schema: version of this record.
        recipe: with the backbones resolved.
        step: optimiser steps done.
        weights: name of the weight file in the same folder.
        weights_sha256: its digest.
        teacher: where the teacher's weights come from, for people.
        data: the folder trained on, as it was given.
        frame_size_hw: size of all training pictures; None when they differ.
        loss: of the last step.
        source: digest of the weights that a compact checkpoint was distilled from; None: it is a full one.
    """

    schema: int
    recipe: Recipe
    step: int
    weights: str
    weights_sha256: str
    teacher: str
    data: str
    frame_size_hw: tuple[int, int] | None
    loss: float
    source: str | None = None

    @property
    def graph(self) -> Literal["full", "compact"]:
        """Which graph it makes."""
        return "full" if self.source is None else "compact"


@dataclass(frozen=True, slots=True, eq=False)
class JudgingFrames:
    """Prepared frames kept with a checkpoint, so that export needs no data folder.

    Attributes:
        normals: uint8 [N, H, W, 3], held-out good parts: level calibration, threshold, parity.
        defects: uint8 [M, H, W, 3], the same with the synthetic family that training never saw.
        masks: bool [M, H, W], where.
        fitted: uint8 [K, H, W, 3], training pictures, good and corrupted: INT8 calibration.
    """

    normals: NDArray[np.uint8]
    defects: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    fitted: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint opened: its record and its tensors (see loop.py and teaching.py for their prefixes)."""

    record: CheckpointRecord
    tensors: dict[str, Tensor]
    folder: Path

    @classmethod
    def open(cls, folder: Path) -> "Checkpoint":
        """Read a checkpoint folder.

        Raises:
            DataError: it is not one, it is damaged, or another version or architecture wrote it.
        """
        path = folder / CHECKPOINT if folder.is_dir() else folder
        try:
            values = msgspec.json.decode(path.read_bytes())
            schema = int(values["schema"])
        except FileNotFoundError:
            raise DataError(
                f"{folder} is not a checkpoint; expected a folder with {CHECKPOINT}; check the path"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise DataError(f"{path} cannot be read ({exc}); expected a checkpoint; train again") from exc
        if schema != SCHEMA:
            raise DataError(
                f"{path} has schema {schema}; this dtgd-edge reads {SCHEMA}; use the version that wrote it"
            )
        try:
            record = record_from_mapping(values, CheckpointRecord, str(path))
        except ConfigError as exc:
            raise DataError(f"{exc}, or train again") from exc
        return cls(record, _tensors(path.parent / record.weights, record.weights_sha256), path.parent)

    def frames(self) -> JudgingFrames:
        """Read the judging frames.

        Raises:
            DataError: they are missing or damaged.
        """
        path = self.folder / FRAMES
        try:
            # From memory: numpy leaves a file open when it is not an archive.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                return JudgingFrames(arrays["normals"], arrays["defects"], arrays["masks"], arrays["fitted"])
        except Exception as exc:  # zip, zlib and numpy each have their own errors for a damaged file
            raise DataError(
                f"{path} cannot be read ({exc}); expected the checkpoint's frames; train again"
            ) from exc

    def network(self) -> DTGD:
        """Build the averaged network in eval mode; its one teacher is the anomaly teacher.

        Raises:
            DataError: the weights are of another architecture.
        """
        recipe = self.record.recipe
        learnt = recipe.teacher.variant != "frozen"
        with self._architecture_checked():
            network = DTGD(self._teacher("tuned_average." if learnt else "teacher."), recipe.student)
            network.student.load_state_dict(tensors_under(self.tensors, "average."))
        return network.eval()

    def memory(self) -> Memory | None:
        """Build the memory of good parts; None: the recipe asks for none, or training has not ended yet.

        Raises:
            DataError: its tensors do not fit each other.
        """
        tensors = tensors_under(self.tensors, "memory.")
        if not tensors:
            return None
        with self._architecture_checked():
            return Memory.from_tensors(tensors, self.record.recipe.memory.weight).eval()

    def normal_teacher(self) -> ResNet:
        """Build the teacher that training started from, in eval mode.

        Raises:
            DataError: the weights are of another architecture.
        """
        with self._architecture_checked():
            return self._teacher("teacher.").eval()

    def _teacher(self, prefix: str) -> ResNet:
        teacher = ResNet(backbone_spec(self.record.recipe.teacher.backbone), LEVELS)
        teacher.load_state_dict(tensors_under(self.tensors, prefix))
        return teacher

    @contextlib.contextmanager
    def _architecture_checked(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ConfigError) as exc:
            reason = str(exc).splitlines()[-1].strip()
            raise DataError(
                f"{self.folder} holds weights of another architecture than its recipe describes ({reason}); "
                "train again"
            ) from exc


def tensors_under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def optimiser_tensors(optimiser: torch.optim.Adam, module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Adam's state as <prefix><moment>.<parameter> tensors; none before its first step.

    Args:
        optimiser: of the parameters of `module`, in their order.
        module: names them.
        prefix: ends in a point.
    """
    names = [name for name, _ in module.named_parameters()]
    return {
        f"{prefix}{moment}.{names[index]}": value
        for index, state in optimiser.state_dict()["state"].items()
        for moment, value in state.items()
    }


def restore_optimiser(
    optimiser: torch.optim.Adam, module: nn.Module, tensors: dict[str, Tensor], prefix: str
) -> None:
    """Put Adam's state back, as `optimiser_tensors` named it."""
    moments = {m: tensors_under(tensors, f"{prefix}{m}.") for m in ("step", "exp_avg", "exp_avg_sq")}
    state = optimiser.state_dict()
    state["state"] = {
        index: {moment: values[name] for moment, values in moments.items()}
        for index, (name, _) in enumerate(module.named_parameters())
        if name in moments["step"]
    }
    optimiser.load_state_dict(state)


def save_checkpoint(
    folder: Path, tensors: dict[str, Tensor], record: Callable[[str, str], CheckpointRecord]
) -> None:
    """Write weights, then the record that names them, then drop older weights.

    Args:
        folder: the run's folder.
        tensors: everything that resuming and scoring need.
        record: makes the record from the weight file's name and digest.

    Raises:
        DataError: the disk refused; an older checkpoint stays usable.
    """
    content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    name = f"weights-{digest[:12]}.safetensors"
    with written_whole(folder / name, DataError) as file:
        file.write(content)
    with written_whole(folder / CHECKPOINT, DataError) as file:
        file.write(msgspec.json.format(msgspec.json.encode(mapping_from_record(record(name, digest)))))
    for old in folder.glob("weights-*.safetensors"):
        if old.name != name:
            old.unlink()


def save_frames(folder: Path, frames: JudgingFrames) -> None:
    """Write the judging frames beside the checkpoint.

    Raises:
        DataError: the disk refused.
    """
    with written_whole(folder / FRAMES, DataError) as file:
        np.savez_compressed(
            file, normals=frames.normals, defects=frames.defects, masks=frames.masks, fitted=frames.fitted
        )


def _tensors(path: Path, digest: str) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise DataError(
            f"{path} cannot be read ({exc.strerror}); expected the checkpoint's weights; train again"
        ) from exc
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{path} was changed after it was written (its SHA-256 differs); copy it again")
    try:
        return load(content)
    except SafetensorError as exc:
        raise DataError(f"{path} is not a safetensors file ({exc}); train again") from exc


def device_from_name(name: str) -> torch.device:
    """Turn "auto", "cpu" or "cuda" into a device.

    Raises:
        ConfigError: an unknown name, or CUDA asked for and not there.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not known; expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda was asked for, but PyTorch finds no CUDA device; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
