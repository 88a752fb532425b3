"""ONNX to plan, strongly typed: precision is what the graph says."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dtgd_edge.bundle import TensorSpec
from dtgd_edge.errors import BackendError, BackendUnavailable
from dtgd_edge.runtime.collection import collection_paused
from dtgd_edge.runtime.trt.library import Library
from dtgd_edge.runtime.trt.log import TrtLog, progress_monitor

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What a plan is to be built for.

    Attributes:
        targets: compute capabilities to build for; () for the GPU that is here.
        memory_limit_mib: workspace the builder may use; None: as much as TensorRT likes.
        is_version_compatible: whether the lean runtime, also a newer one, shall run it.
    """

    targets: tuple[str, ...] = ()
    memory_limit_mib: int | None = None
    is_version_compatible: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BuiltPlan:
    """A serialised engine.

    Attributes:
        engine: what trtexec calls an engine file.
        inputs, outputs: its tensors.
        timing_cache: to hand to the next build; b"" where there is none.
    """

    engine: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    timing_cache: bytes = b""


def plan_from_onnx(
    library: Library,
    graph: bytes,
    request: BuildRequest,
    say: Callable[[str], None] = lambda text: None,
    timing_cache: bytes = b"",
) -> BuiltPlan:
    """Build a plan.

    Args:
        library: one that can build.
        graph: ONNX of fixed shapes, its weights inside.
        request: what for.
        say: is told the progress.
        timing_cache: from an earlier build of the same library on the same GPU.

    Raises:
        BackendUnavailable: this library cannot do what is asked.
        BackendError: TensorRT refuses the graph, or fails; with its own words.
    """
    log = TrtLog(library.module)
    builder = _builder(library, log)
    network = builder.create_network(1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.module.OnnxParser(network, log.logger)  # owns the weights until the plan is built
    with collection_paused():
        is_parsed = parser.parse(graph)
    if not is_parsed:
        raise BackendError(
            f"{library.title} refuses the graph: {_parser_errors(parser, log)}; "
            "expected operations that its ONNX parser knows; export for --target tensorrt"
        )
    config = _config(library, builder, request, log)
    config.progress_monitor = progress_monitor(library.module, log, say)
    cache = _timing_cache(library, config, timing_cache)
    log.clear()
    with collection_paused():
        plan = builder.build_serialized_network(network, config)
    if log.is_interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise BackendError(
            f"{library.title} built no engine: {log.reason()}; expected one; {_advice(log, request)}"
        )
    return BuiltPlan(
        engine=bytes(plan),
        inputs=tuple(tensor_spec(library, network.get_input(i)) for i in range(network.num_inputs)),
        outputs=tuple(tensor_spec(library, network.get_output(i)) for i in range(network.num_outputs)),
        timing_cache=b"" if cache is None else bytes(config.get_timing_cache().serialize()),
    )


def tensor_spec(library: Library, tensor: Any) -> TensorSpec:
    """Describe a network's tensor."""
    return TensorSpec(str(tensor.name), dtype_name(library, tensor.dtype), tuple(tensor.shape))


def dtype_name(library: Library, dtype: Any) -> str:
    """numpy's name of the two types that frames and scores have; of others, TensorRT's."""
    types = library.module.DataType
    return {types.FLOAT: "float32", types.UINT8: "uint8"}.get(dtype, str(dtype))


def require_tensors(
    library: Library,
    found: tuple[Sequence[TensorSpec], Sequence[TensorSpec]],
    expected: tuple[Sequence[TensorSpec], Sequence[TensorSpec]],
    error: type[BackendError],
) -> None:
    """Refuse inputs and outputs that are not the manifest's; the order of outputs does not matter.

    Raises:
        BackendError: of the given kind.
    """
    for role, have, want in zip(("inputs", "outputs"), found, expected, strict=True):
        if {_readable(t) for t in have} != {_readable(t) for t in want}:
            raise error(
                f"{library.title} sees the {role} {', '.join(map(_readable, have)) or 'none'}; "
                f"the manifest says {', '.join(map(_readable, want))}; export the bundle again"
            )


def _readable(tensor: TensorSpec) -> str:
    return f"{tensor.name!r} {tensor.dtype} {list(tensor.shape)}"


def _builder(library: Library, log: TrtLog) -> Any:
    try:
        with collection_paused():
            builder = library.module.Builder(log.logger)
    except (TypeError, RuntimeError) as exc:  # pybind's words for a factory that returned nothing
        raise BackendUnavailable(
            f"{library.title} cannot start a builder ({log.reason()}); expected a GPU it supports; "
            "run dtgd-edge doctor"
        ) from exc
    return builder


def _config(library: Library, builder: Any, request: BuildRequest, log: TrtLog) -> Any:
    module, config = library.module, builder.create_builder_config()
    if config is None:
        raise BackendError(f"{library.title} makes no builder configuration: {log.reason()}; run doctor")
    if request.memory_limit_mib is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, request.memory_limit_mib << 20)
    if request.targets:
        config.num_compute_capabilities = len(request.targets)
        for index, target in enumerate(request.targets):
            capability = getattr(module.ComputeCapability, "SM" + target.replace(".", ""))
            if not config.set_compute_capability(capability, index):
                raise BackendError(
                    f"{library.title} refuses compute capability {target}: {log.reason()}; "
                    f"expected some of {', '.join(library.capabilities)}; choose others"
                )
    if request.is_version_compatible:
        flags = module.BuilderFlag
        if library.capabilities or not hasattr(flags, "VERSION_COMPATIBLE"):
            raise BackendUnavailable(
                f"{library.title} builds no version-compatible plans; expected the full TensorRT; "
                "leave that option out"
            )
        config.set_flag(flags.VERSION_COMPATIBLE)
        # Without code of the host inside, so that loading a plan never runs code that came with it.
        config.set_flag(flags.EXCLUDE_LEAN_RUNTIME)
    return config


def _timing_cache(library: Library, config: Any, content: bytes) -> Any | None:
    """Give the builder what earlier builds measured; TensorRT for RTX measures nothing while building."""
    if library.capabilities or not hasattr(config, "create_timing_cache"):
        return None
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        logger.debug("the timing cache is of another GPU or version, or damaged; starting with an empty one")
        cache = config.create_timing_cache(b"")
        if cache is None or not config.set_timing_cache(cache, False):
            return None
    return cache


def _parser_errors(parser: Any, log: TrtLog) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    if not errors:
        return log.reason()
    first, text = errors[0], " ".join(errors[0].desc().split())
    node = f"node {first.node_name()!r} ({first.node_operator()}): " if first.node_operator() else ""
    if text in ("", "false"):  # what a failed check of the operator's own prints
        text = "the operator is not supported"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{node}{text}{more}"


def _advice(log: TrtLog, request: BuildRequest) -> str:
    if any(word in log.reason().lower() for word in ("memory", "workspace")):
        if request.memory_limit_mib is not None:
            return f"raise --memory-limit-mib above {request.memory_limit_mib}"
        return "close what else uses memory"
    return "export the bundle again for --target tensorrt, or update TensorRT"
