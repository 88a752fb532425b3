"""Which TensorRT is here, and what it can do. Features are looked for; versions are never parsed."""

import importlib
import platform
import re
import sys
from dataclasses import dataclass
from typing import Any

from dtgd_edge.errors import BackendUnavailable, ConfigError

MODULES = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx", "lean": "tensorrt_lean"}
LIBRARIES = ("auto", *MODULES)
_TITLES = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX", "lean": "TensorRT's lean runtime"}
_INSTALL = (
    "run: python -m pip install 'dtgd-edge[tensorrt]' (on Jetson, TensorRT comes with JetPack), "
    "or 'dtgd-edge[rtx]' for GeForce and RTX cards"
)


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """One installed TensorRT.

    Attributes:
        name: "tensorrt", "rtx" or "lean".
        module: the Python module.
    """

    name: str
    module: Any

    @property
    def version(self) -> str:
        """As the module says; compared for equality, never parsed."""
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        """For people: "TensorRT for RTX 1.7.1.116"."""
        return f"{_TITLES[self.name]} {self.version}"

    @property
    def can_build(self) -> bool:
        """Whether it makes plans; the lean runtime only runs them."""
        return hasattr(self.module, "Builder") and hasattr(self.module, "OnnxParser")

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Compute capabilities it can build for ahead of time; () if only for the GPU that is here."""
        if not hasattr(self.module, "ComputeCapability"):
            return ()
        found = [re.fullmatch(r"SM(\d+)(\d)", name) for name in dir(self.module.ComputeCapability)]
        return sorted_capabilities(f"{match[1]}.{match[2]}" for match in found if match)

    def knows(self, capability: str) -> bool:
        """Whether it makes plans for a GPU of this compute capability, "8.7"."""
        return not self.capabilities or capability in self.capabilities

    @property
    def is_strongly_typed(self) -> bool:
        """Whether it takes precision from the graph alone, as the bundles want it."""
        flags = getattr(self.module, "NetworkDefinitionCreationFlag", None)
        return hasattr(flags, "STRONGLY_TYPED")


def installed_libraries(wanted: str = "auto") -> tuple[list[Library], list[str]]:
    """Import what is installed; importing is harmless without a GPU.

    Args:
        wanted: one of LIBRARIES.

    Returns:
        The libraries, and for each that is installed but broken why.

    Raises:
        ConfigError: an unknown name.
    """
    if wanted not in LIBRARIES:
        raise ConfigError(f"library {wanted!r} is not known; expected one of {', '.join(LIBRARIES)}")
    found, faults = [], []
    for name, module in MODULES.items():
        if wanted in ("auto", name):
            try:
                found.append(Library(name, importlib.import_module(module)))
            except ModuleNotFoundError as exc:
                if exc.name != module:
                    faults.append(f"{module}: {exc}")
            except (ImportError, OSError) as exc:  # a shared library of its own is missing
                faults.append(f"{module}: {exc}")
    return found, faults


def library_for_build(wanted: str, has_gpu: bool) -> Library:
    """Choose what makes plans here.

    Args:
        wanted: one of LIBRARIES; "auto" prefers the full TensorRT, which needs the GPU.
        has_gpu: whether a CUDA device has answered.

    Raises:
        BackendUnavailable: nothing that can build is installed, or it needs a GPU that is not here.
    """
    found, faults = installed_libraries(wanted)
    builders = [library for library in found if library.can_build and library.is_strongly_typed]
    usable = [library for library in builders if has_gpu or library.capabilities]
    if usable:
        return usable[0]
    if builders:
        raise BackendUnavailable(
            f"{builders[0].title} is installed but no NVIDIA GPU answers; expected one, because it builds "
            "for that GPU; build on the device, or install 'dtgd-edge[rtx]' to build for RTX cards here"
        )
    state = "; ".join([*faults, *(f"{library.title} cannot build typed networks" for library in found)])
    raise BackendUnavailable(
        f"no TensorRT that can build is installed ({state or 'none found'}); "
        f"expected tensorrt 10 or newer, or tensorrt_rtx; {_INSTALL}"
    )


def libraries_for_run(wanted: str) -> list[Library]:
    """Everything here that could run a plan, the preferred first.

    Raises:
        BackendUnavailable: nothing is installed.
    """
    found, faults = installed_libraries(wanted)
    if not found:
        raise BackendUnavailable(
            f"no TensorRT is installed ({'; '.join(faults) or 'none found'}); "
            f"expected tensorrt, tensorrt_rtx or tensorrt_lean; {_INSTALL}"
        )
    return found


def sorted_capabilities(capabilities: Any) -> tuple[str, ...]:
    """Without doubles, the oldest first.

    Raises:
        ConfigError: one is not of the form 8.6.
    """
    unique = set(capabilities)
    for capability in unique:
        if not re.fullmatch(r"\d+\.\d", capability):
            raise ConfigError(
                f"compute capability {capability!r} is not known; expected numbers such as 8.6 or 12.0; "
                "NVIDIA lists them per GPU"
            )
    return tuple(sorted(unique, key=float))


def this_platform() -> str:
    """What plans never cross: "linux-x86_64"."""
    return f"{sys.platform}-{platform.machine().lower()}"
