"""The two teachers of a training run: what they make of a batch, and how one learns beside the student.

`Teaching` itself is variant F. tuning.py is variant U, thinning.py is for compact graphs.
"""

import copy
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dtgd_edge.train.backbones import ResNet, set_requires_grad
from dtgd_edge.train.checkpoint import optimiser_tensors, restore_optimiser, tensors_under
from dtgd_edge.train.networks import DTGD
from dtgd_edge.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Seen:
    """What the teachers make of a batch, the finest level first.

    Attributes:
        normal: the normal teacher's features of the clean pictures (N_k), detached.
        anomalous: the anomaly teacher's features of the corrupted pictures (A_k), detached.
        learnt: the learning teacher's features of the clean pictures and, behind them, the corrupted ones;
            None: it does not learn in this step.
        target: the features that it is trained by, of the same pictures; None likewise.
        distances: what a compact student's distances to the teacher should be, [B, H_k, W_k]; None: anything.
    """

    normal: list[Tensor]
    anomalous: list[Tensor]
    learnt: list[Tensor] | None = None
    target: list[Tensor] | None = None
    distances: list[Tensor] | None = None


class Teaching:
    """Variant F: one network that never learns is both teachers.

    Args:
        network: of the training run.

    Attributes:
        normal: the teacher as it came, which a checkpoint keeps.
    """

    def __init__(self, network: DTGD) -> None:
        self.normal = network.teacher

    def see(self, teacher: nn.Module, both: Tensor, step: int) -> Seen:
        """Show a batch to the teachers.

        Args:
            teacher: the network's, as it is to be called.
            both: the clean pictures and, behind them, the corrupted ones, normalised: [2 B, 3, H, W].
            step: counted from 1.
        """
        with torch.no_grad():
            return Seen(*halves(teacher(both)))

    def loss(self, seen: Seen, mask: Tensor, step: int) -> Tensor:
        """What the teacher lowers by learning, a scalar; 0 while it does not learn.

        Args:
            seen: of this step.
            mask: float [B, 1, H, W], 1 where the picture was corrupted.
            step: counted from 1.
        """
        return mask.new_zeros(())

    def agreement(self, seen: Seen, decoded: list[Tensor]) -> Tensor:
        """What else the student lowers, a scalar: how far its distances are from the wanted ones.

        Args:
            seen: of this step.
            decoded: the student's features of the corrupted pictures.
        """
        return decoded[0].new_zeros((), dtype=torch.float32)

    def update(self, rate: float, decay: float) -> None:
        """Take a step along the gradients.

        Args:
            rate: share of the highest learning rate in force.
            decay: of the average that ships.
        """

    def shipped(self) -> ResNet:
        """The teacher that scores frames once training has ended."""
        return self.normal

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds of a teacher that learns."""
        return {}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put a checkpoint's tensors back."""


class LearningTeacher(Teaching):
    """A teacher that learns beside the student. Nothing of it ships but the average.

    The average has the same decay as the student's: an averaged student reads and is compared with the
    features of the steps it averages over, not with those of the last one.

    Args:
        network: of the training run; its teacher is thawed and changed from now on. The teacher's batch
            norms keep their statistics.
        recipe: of the training run.

    Attributes:
        normal: the teacher as it came, a frozen copy.
        average: the learning teacher's averaged state; this is what ships.
    """

    def __init__(self, network: DTGD, recipe: Recipe) -> None:
        self._teacher: ResNet = network.teacher
        self.normal = copy.deepcopy(network.teacher)
        self.average = {name: value.detach().clone() for name, value in self._teacher.state_dict().items()}
        self._recipe = recipe
        rate = recipe.teacher.learning_rate
        self._optimiser = torch.optim.Adam(self._teacher.parameters(), rate, (0.5, 0.999))
        set_requires_grad(self._teacher, True)

    @abstractmethod
    def see(self, teacher: nn.Module, both: Tensor, step: int) -> Seen: ...

    @abstractmethod
    def loss(self, seen: Seen, mask: Tensor, step: int) -> Tensor: ...

    def update(self, rate: float, decay: float) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.teacher.learning_rate * rate
        nn.utils.clip_grad_norm_(self._teacher.parameters(), self._recipe.optimiser.clip)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        average_into(self.average, self._teacher, decay)

    def shipped(self) -> ResNet:
        teacher = copy.deepcopy(self._teacher).requires_grad_(False)
        teacher.load_state_dict(self.average)
        return teacher

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it: tuned., tuned_average. and tuned_adam.<moment>. tensors."""
        tensors = {f"tuned.{name}": value for name, value in self._teacher.state_dict().items()}
        tensors |= {f"tuned_average.{name}": value for name, value in self.average.items()}
        return tensors | optimiser_tensors(self._optimiser, self._teacher, "tuned_adam.")

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self._teacher.load_state_dict(tensors_under(tensors, "tuned."))
        for name, value in tensors_under(tensors, "tuned_average.").items():
            self.average[name].copy_(value)
        restore_optimiser(self._optimiser, self._teacher, tensors, "tuned_adam.")


def halves(features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Part features of the clean pictures from those of the corrupted ones behind them; detached."""
    pairs = [f.detach().chunk(2) for f in features]
    return [a for a, _ in pairs], [b for _, b in pairs]


@torch.no_grad()
def average_into(average: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    """Move an average towards a module's state; counters are copied."""
    state = module.state_dict()
    numbers = [name for name, value in state.items() if value.is_floating_point()]
    # All at once: one by one they would keep a GPU waiting.
    multi_average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    multi_average([average[name] for name in numbers], [state[name] for name in numbers], 1)
    for name in state.keys() - set(numbers):
        average[name].copy_(state[name])
