"""Training on several processes that torchrun starts: one batch, one set of weights, one voice.

Each process takes its places of the recipe's batch; whatever is summed or averaged over a batch (batch
statistics, the areas that losses divide by, gradients) is summed over all processes, so that any number of
them does what one would do.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from dtgd_edge.errors import ConfigError, ProcessLost
from dtgd_edge.train.checkpoint import device_from_name

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

_ENVIRONMENT = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_ENDED = "dtgd_edge/ended"


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train together, as one of them sees them; alone it is the only one.

    Attributes:
        rank: this process's number, from 0.
        size: how many there are.
        device: this process's own.
        cores: CPU cores that are this process's share of the machine.
    """

    rank: int
    size: int
    device: torch.device
    cores: int

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    def places(self, batch: int) -> range:
        """Which places of a batch this process makes.

        Raises:
            ConfigError: the batch cannot be split evenly.
        """
        if batch % self.size:
            raise ConfigError(
                f"optimiser.batch is {batch} and {self.size} processes train together; expected a batch that "
                f"{self.size} divides; change the recipe or torchrun's --nproc-per-node"
            )
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def shared(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that its gradients are averaged over all processes, each with an equal share.

        Its batch norms are replaced, in place, by ones that use the statistics of the whole batch; names and
        parameters stay. Alone, the module itself is returned.
        """
        if self.size == 1:
            return module
        if self.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        else:
            _share_batch_norms(module)
        return nn.parallel.DistributedDataParallel(
            module,
            device_ids=None if self.device.index is None else [self.device.index],
            gradient_as_bucket_view=True,
        )

    def from_first(self, make: Callable[[], T]) -> T:
        """Make something in the first process and hand it to all."""
        if self.size == 1:
            return make()
        box = [make() if self.is_first else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    @contextlib.contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Run the block in the first process, then in the others: they find what it downloaded or wrote."""
        if self.size > 1 and not self.is_first:
            dist.barrier()
        yield
        if self.size > 1 and self.is_first:
            dist.barrier()

    def any(self, here: bool) -> bool:
        """Tell all processes whether something holds in one of them."""
        if self.size == 1:
            return here
        flag = torch.tensor(here, dtype=torch.int32, device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())


@contextlib.contextmanager
def joined(device: str) -> Iterator[World]:
    """Join the processes that torchrun started: gloo between CPUs, NCCL between GPUs, one for each.

    Without torchrun this process is alone. Inside a group that is joined already, that one is used. When one
    process fails, all end, and only the one that failed first raises its own error.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: the device is not there, there are more processes than GPUs, or the environment is not
            torchrun's.
        ProcessLost: another process failed.
    """
    if _size() > 1:
        yield _world(device)
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World(0, 1, device_from_name(device), _cores())
        return
    missing = [name for name in _ENVIRONMENT if name not in os.environ]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']} but {missing[0]} is not set; expected the environment "
            "that torchrun makes; start with torchrun, or unset WORLD_SIZE"
        )
    from torch.distributed.rendezvous import rendezvous  # not in every build of PyTorch

    store, rank, size = next(rendezvous("env://"))
    with _one_voice(store, rank, size):
        own = own_device(device)
        dist.init_process_group(
            "nccl" if own.type == "cuda" else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            device_id=own if own.type == "cuda" else None,
        )
        yield _world(device)
    # Not after an error: NCCL would wait for processes that may never answer, and this one ends anyway.
    dist.destroy_process_group()


def own_device(name: str) -> torch.device:
    """The device of a process among several: the GPU of its place on this machine, or the CPU.

    Raises:
        ConfigError: there is none for it.
    """
    device = device_from_name(name)
    if device.type == "cpu":
        return device
    place, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= there:
        raise ConfigError(
            f"process {place + 1} on this machine finds {there} GPUs; expected one GPU for each process; "
            "lower torchrun's --nproc-per-node, or train with --device cpu"
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


def mean_over_processes(value: Tensor) -> Tensor:
    """Average a tensor of the same shape over all processes; differentiable."""
    size = _size()
    return value if size == 1 else _Sum.apply(value) / size  # type: ignore[no-untyped-call]


def area(weights: Tensor) -> Tensor:
    """What a process divides its own weighted sum by.

    Alone it is the sum of the weights, at least 1. With several processes it is that of the whole batch,
    divided by their number: the mean of their quotients is then the whole batch's.
    """
    return mean_over_processes(weights.sum()).clamp_min(1 / _size())


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of all processes' batches, each as large as this one's.

    The same as nn.SyncBatchNorm, which refuses tensors that are not on a GPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """float [B, C, H, W] to the same."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = mean_over_processes(wide.mean((0, 2, 3)))  # [C]
        centred = wide - mean[:, None, None]
        variance = mean_over_processes(centred.square().mean((0, 2, 3)))  # [C]
        with torch.no_grad():
            count = _size() * x.numel() / x.shape[1]
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _Sum(torch.autograd.Function):
    """Sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        total = value.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


def _share_batch_norms(module: nn.Module) -> None:
    for parent in list(module.modules()):
        for name, norm in parent.named_children():
            if isinstance(norm, nn.BatchNorm2d):
                shared = SharedBatchNorm2d(norm.num_features, norm.eps, norm.momentum)
                shared.weight, shared.bias = norm.weight, norm.bias
                for buffer, value in norm.named_buffers():
                    setattr(shared, buffer, value)
                setattr(parent, name, shared.train(norm.training))


@contextlib.contextmanager
def _one_voice(store: "Store", rank: int, size: int) -> Iterator[None]:
    """Let only the process that ends first say why; the others end because it did."""
    try:
        yield
    except BaseException as error:
        if not _ends_first(store):
            raise ProcessLost(
                f"process {rank} of {size} ends because another one did; expected all to go on; "
                "that one said why",
                is_told=True,
            ) from error
        if _is_lost_contact(error):
            raise ProcessLost(
                f"process {rank} of {size} lost another one, which ended without a word; expected all to go "
                "on; find out what killed it (memory?), then go on with --resume"
            ) from error
        raise


def _ends_first(store: "Store") -> bool:
    try:
        return store.add(_ENDED, 1) == 1
    except RuntimeError:  # its keeper is gone too
        return True


def _is_lost_contact(error: BaseException) -> bool:
    """Whether it is gloo's or NCCL's word for a process that no longer answers; gloo's has no type."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _world(device: str) -> World:
    return World(dist.get_rank(), dist.get_world_size(), own_device(device), _cores())


def _size() -> int:
    # Some builds of PyTorch, such as those for Jetson, have no torch.distributed inside.
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _cores() -> int:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, here // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
