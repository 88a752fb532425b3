"""What makes training quicker on a device: convolutions tried out, bfloat16, a compiler."""

import contextlib
import importlib.util
from collections.abc import Iterator

import torch

from dtgd_edge.errors import ConfigError


@contextlib.contextmanager
def tuned_convolutions(device: torch.device) -> Iterator[None]:
    """Let cuDNN try what is quickest for shapes that never change, with float32 as TF32."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
        yield


@contextlib.contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """bfloat16 where the processor multiplies it; elsewhere it is emulated and slower than float32."""
    if device.type == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        probe = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        has_bfloat16 = bool(probe())
    with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16):
        yield


def check_compiler(device: torch.device) -> None:
    """Make sure that torch.compile can be used.

    Raises:
        ConfigError: it cannot.
    """
    if device.type != "cuda":
        raise ConfigError(
            f"compiling was asked for on the {device.type}; expected a CUDA device; leave --compile out"
        )
    if importlib.util.find_spec("triton") is None:
        raise ConfigError(
            "compiling was asked for, but triton is not installed; expected it beside PyTorch; "
            "install it with: pip install triton, or leave --compile out"
        )
