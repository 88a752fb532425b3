"""The teacher's weights: torchvision's ImageNet files, a file of your own, or the one that ships here."""

import hashlib
import http.client
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dtgd_edge.atomic import written_whole
from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.train.backbones import ResNet, backbone_name_from_weights, backbone_spec
from dtgd_edge.train.networks import LEVELS
from dtgd_edge.train.recipe import Recipe, TeacherRecipe
from dtgd_edge.workspace import cache_folder

SHIPPED = "resnet18_half_generated.safetensors"


@dataclass(frozen=True, slots=True)
class ImageNetFile:
    """A published weight file, pinned by its digest.

    Attributes:
        url: where torchvision publishes it (first-generation weights).
        sha256: hexadecimal; torchvision's file names end in its first eight digits.
    """

    url: str
    sha256: str


# torchvision names each file by the first eight digits of its SHA-256 and verifies just those.
IMAGENET = {
    "resnet18": ImageNetFile(
        "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    ),
    "resnet34": ImageNetFile(
        "https://download.pytorch.org/models/resnet34-b627a593.pth",
        "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
    ),
    "resnet50": ImageNetFile(
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    ),
    "wide_resnet50_2": ImageNetFile(
        "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth", "95faca4d"
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A frozen feature extractor and what is known about it.

    Attributes:
        network: stages 1 to 3, in eval mode.
        backbone: architecture name.
        origin: where the weights come from, for people.
    """

    network: ResNet
    backbone: str
    origin: str


def load_teacher(recipe: TeacherRecipe, say: Callable[[str], None]) -> Teacher:
    """Load the teacher that a recipe asks for.

    Args:
        recipe: backbone and weights.
        say: is told which weights were taken when the recipe left the choice open.

    Raises:
        ConfigError: the weights belong to another backbone than the recipe names.
        DataError: a file is missing, damaged or not a ResNet, or a download failed.
    """
    wanted = None if recipe.backbone == "auto" else recipe.backbone
    if recipe.weights == "random":
        name = wanted or "resnet18"
        return Teacher(ResNet(backbone_spec(name), LEVELS).eval(), name, "random weights")
    if recipe.weights == "imagenet":
        state, origin = imagenet_weights(wanted or "resnet18"), "ImageNet (torchvision)"
    elif recipe.weights == "shipped":
        state, origin = shipped_weights(), "shipped with dtgd-edge"
    elif recipe.weights == "auto":
        try:
            state, origin = imagenet_weights(wanted or "resnet18"), "ImageNet (torchvision)"
            say(f"teacher: {origin}")
        except DataError as exc:
            if wanted not in (None, backbone_name_from_weights(shipped_weights())):
                raise
            state, origin = shipped_weights(), "shipped with dtgd-edge"
            say(
                f"teacher: the smaller one that ships with dtgd-edge, because ImageNet weights are not here "
                f"({exc}); --weights PATH gives a better one"
            )
    else:
        state, origin = weights_from_file(Path(recipe.weights)), Path(recipe.weights).name
    return Teacher(*_network(state, wanted, origin), origin)


def resolved(recipe: Recipe, teacher_backbone: str) -> Recipe:
    """Fill in what the recipe leaves to the teacher: both backbones and the encoder's first weights.

    Raises:
        ConfigError: the encoder is to start as the teacher, which has another backbone.
    """
    student, start = recipe.student.backbone, recipe.student.start
    if student == "auto":
        # A denoiser needs no more than a ResNet-18 as wide as the teacher's first stage.
        student = teacher_backbone if teacher_backbone.startswith("resnet18") else "resnet18"
    fits = backbone_spec(student).is_within(backbone_spec(teacher_backbone))
    if start == "auto":
        start = "teacher" if fits else "random"
    if start == "teacher" and not fits:
        raise ConfigError(
            f"student.start is teacher, but the student is a {student} and the teacher a {teacher_backbone}; "
            "expected the same backbone; set student.backbone to the teacher's or start to random"
        )
    return replace(
        recipe,
        teacher=replace(recipe.teacher, backbone=teacher_backbone),
        student=replace(recipe.student, backbone=student, start=start),
    )


def weights_from_file(path: Path) -> dict[str, Tensor]:
    """Read a state dict from .safetensors or .pth; pickled code is never run.

    Raises:
        DataError: missing, damaged or of another kind.
    """
    if not path.is_file():
        raise DataError(
            f"weights {str(path)!r} are not a file; expected imagenet, shipped, random or a path to "
            ".safetensors or .pth; check the path"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError) as exc:
        raise DataError(f"{path} cannot be read as weights ({_first_line(exc)}); copy it again") from exc
    except Exception as exc:  # torch raises pickle's and zip's own errors for foreign content
        raise DataError(
            f"{path} is not a plain weight file ({type(exc).__name__}); expected a state dict"
        ) from exc
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(
            f"{path} does not hold a state dict of tensors; save model.state_dict() and try again"
        )
    return state


def shipped_weights() -> dict[str, Tensor]:
    """Read the teacher that ships with the package (see train/README.md for how it was made)."""
    resource = files("dtgd_edge.train") / "weights" / SHIPPED
    return weights_from_file(Path(str(resource)))


def imagenet_weights(backbone: str) -> dict[str, Tensor]:
    """Read torchvision's ImageNet weights from the cache, downloading them once.

    Raises:
        ConfigError: there is no such file for this backbone.
        DataError: the download failed or its digest differs.
    """
    if backbone not in IMAGENET:
        raise ConfigError(
            f"no ImageNet weights are published for {backbone!r}; expected one of {', '.join(IMAGENET)}"
        )
    published = IMAGENET[backbone]
    path = cache_folder() / Path(published.url).name
    if not path.is_file():
        _download(published, path)
    return weights_from_file(path)


def _download(published: ImageNetFile, path: Path) -> None:
    try:
        with urllib.request.urlopen(published.url, timeout=10) as response:
            content: bytes = response.read()
    except (OSError, http.client.HTTPException) as exc:  # URLError is an OSError
        reason = getattr(exc, "reason", exc)
        raise DataError(
            f"{published.url} cannot be downloaded ({reason}); expected a network connection; "
            f"fetch it elsewhere, put it at {path}, or pass --weights PATH"
        ) from exc
    digest = hashlib.sha256(content).hexdigest()
    if not digest.startswith(published.sha256):
        raise DataError(
            f"{published.url} has SHA-256 {digest[:16]}...; expected {published.sha256}...; "
            "the download was damaged or replaced, try again"
        )
    with written_whole(path, DataError) as file:
        file.write(content)


def _network(state: dict[str, Tensor], wanted: str | None, origin: str) -> tuple[ResNet, str]:
    found = backbone_name_from_weights(state)
    if found is None:
        raise DataError(f"{origin} holds no ResNet weights with torchvision's names; choose another file")
    if wanted not in (None, found):
        raise ConfigError(
            f"{origin} holds {found} weights; expected {wanted}; change teacher.backbone or the file"
        )
    network = ResNet(backbone_spec(found), LEVELS)
    needed = network.state_dict()
    # num_batches_tracked is only a counter, and some published files leave it out.
    missing = [k for k in needed if k not in state and not k.endswith("num_batches_tracked")]
    if missing:
        raise DataError(f"{origin} lacks {missing[0]} (and {len(missing) - 1} more); choose a complete file")
    try:
        network.load_state_dict(
            {k: state.get(k, v).float() if v.is_floating_point() else v for k, v in needed.items()}
        )
    except RuntimeError as exc:
        raise DataError(
            f"{origin} does not fit {found} ({str(exc).splitlines()[-1].strip()}); choose another file"
        ) from exc
    return network.eval(), found


def _first_line(error: Exception) -> str:
    """What an error says, on one line; an EOFError says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
