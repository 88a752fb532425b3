"""Bundle to cached plan: for the GPU that is here, or ahead of time for RTX cards."""

from collections.abc import Callable
from dataclasses import dataclass

from dtgd_edge.atomic import written_whole
from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import BackendError, ConfigError
from dtgd_edge.runtime.cuda_driver import Gpu
from dtgd_edge.runtime.plan import Built, Plan, PlanKey
from dtgd_edge.runtime.plans import PlanCache
from dtgd_edge.runtime.trt.builder import BuildRequest, plan_from_onnx, require_tensors
from dtgd_edge.runtime.trt.library import Library, library_for_build, sorted_capabilities, this_platform

SMALL_BOARD_MIB = 8 * 1024 + 512
LEAST_LIMIT_MIB = 128
VERSION_COMPATIBLE = "version_compatible"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a plan is to be built.

    Attributes:
        library: "auto", "tensorrt" or "rtx".
        capabilities: compute capabilities to build for, TensorRT for RTX only; (): that of the GPU that
            is here, or, without one, all that the library knows.
        memory_limit_mib: workspace for the builder; None: half of what is free on boards of up to 8 GB,
            no limit elsewhere.
        is_version_compatible: whether the lean runtime shall run it; full TensorRT only.
        is_forced: build even if the cache has it.
    """

    library: str = "auto"
    capabilities: tuple[str, ...] = ()
    memory_limit_mib: int | None = None
    is_version_compatible: bool = False
    is_forced: bool = False

    def __post_init__(self) -> None:
        if self.memory_limit_mib is not None and self.memory_limit_mib < 1:
            raise ConfigError(f"memory limit {self.memory_limit_mib} MiB was given; expected at least 1")


def plan_from_bundle(
    bundle: Bundle,
    options: BuildOptions,
    cache: PlanCache,
    gpu: Gpu | None,
    free_mib: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    library: Library | None = None,
) -> Plan:
    """Take a bundle's plan from the cache, or build it.

    Args:
        bundle: to build; its Q/DQ nodes, if any, placed for TensorRT.
        options: how.
        cache: where it is kept.
        gpu: the device that answered; None without one.
        free_mib: memory that is free on it.
        say: is told the progress.
        library: to build with; None: as `options` say.

    Raises:
        BackendUnavailable: no library that could, or no GPU for it.
        ConfigError: compute capabilities that the library does not know.
        BackendError: TensorRT refuses the graph, or the folder cannot be written.
    """
    require_placement(bundle)
    library = library or library_for_build(options.library, has_gpu=gpu is not None)
    key = plan_key(bundle, library, gpu, options)
    request = BuildRequest(
        targets=key.targets if library.capabilities else (),
        memory_limit_mib=options.memory_limit_mib or default_limit_mib(gpu, free_mib),
        is_version_compatible=options.is_version_compatible,
    )

    def build() -> Built:
        where = f"for compute capability {', '.join(key.targets)}" + (f" ({key.gpu})" if key.gpu else "")
        say(f"building the {bundle.manifest.precision} engine {where} with {library.title}")
        path = cache.folder / f"{library.name}-{_file_name(f'{library.version}-{key.gpu}')}.timing"
        known = path.read_bytes() if path.is_file() else b""
        made = plan_from_onnx(library, bundle.graph, request, say, known)
        manifest = bundle.manifest
        require_tensors(
            library, (made.inputs, made.outputs), ((manifest.input,), manifest.outputs), BackendError
        )
        if made.timing_cache:
            with written_whole(path, BackendError) as file:
                file.write(made.timing_cache)
        return Built(made.engine, made.inputs, made.outputs, request.memory_limit_mib)

    return cache.provide(key, build, is_forced=options.is_forced, say=say)


def plan_key(bundle: Bundle, library: Library, gpu: Gpu | None, options: BuildOptions) -> PlanKey:
    """What a bundle's plan is called here.

    Raises:
        ConfigError: compute capabilities that the library does not know.
    """
    is_ahead = bool(library.capabilities)
    flags = ("strongly_typed", VERSION_COMPATIBLE) if options.is_version_compatible else ("strongly_typed",)
    return PlanKey(
        graph_sha256=bundle.manifest.graph_sha256,
        precision=bundle.manifest.precision,
        library=library.name,
        version=library.version,
        platform=this_platform(),
        gpu="" if is_ahead or gpu is None else gpu.name,
        targets=_targets(library, gpu, options.capabilities),
        flags=flags,
    )


def require_placement(bundle: Bundle) -> None:
    """Refuse Q/DQ nodes that TensorRT refuses, before minutes are spent.

    Raises:
        BackendError: the bundle is quantised for the CPU.
    """
    if bundle.manifest.placement == "cpu":
        raise BackendError(
            f"bundle {bundle.manifest.name!r} is quantised for the CPU (uint8 activations), which TensorRT "
            "refuses; expected its own placement; run: dtgd-edge export --precision int8 --target tensorrt"
        )


def default_limit_mib(gpu: Gpu | None, free_mib: int | None) -> int | None:
    """Workspace for a builder that was given none: half of what is free on a board of up to 8 GB."""
    if gpu is None or free_mib is None or gpu.memory_mib > SMALL_BOARD_MIB:
        return None
    return max(LEAST_LIMIT_MIB, free_mib // 2)


def _targets(library: Library, gpu: Gpu | None, wanted: tuple[str, ...]) -> tuple[str, ...]:
    known, targets = library.capabilities, sorted_capabilities(wanted)
    if not known:
        if targets and (gpu is None or targets != (gpu.capability,)):
            raise ConfigError(
                f"compute capability {', '.join(targets)} was asked of {library.title}, which builds only "
                "for the GPU it runs on; leave that option out, or choose --library rtx"
            )
        return (gpu.capability,) if gpu else ()
    if not targets:
        targets = (gpu.capability,) if gpu else known
    if strange := [target for target in targets if target not in known]:
        raise ConfigError(
            f"compute capability {', '.join(strange)} is not known to {library.title}; expected some of "
            f"{', '.join(known)}; choose from these, or use the full TensorRT on the device itself"
        )
    return targets


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in text)
