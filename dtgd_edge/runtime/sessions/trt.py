"""A bundle's plan on an NVIDIA GPU, by TensorRT, TensorRT for RTX or the lean runtime."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtgd_edge.bundle import Bundle, TensorSpec
from dtgd_edge.errors import BackendError, PlanMismatch
from dtgd_edge.runtime.cuda import Cuda, HostBuffer, open_cuda
from dtgd_edge.runtime.cuda_driver import driver_fault
from dtgd_edge.runtime.plan import Plan
from dtgd_edge.runtime.plans import PlanCache
from dtgd_edge.runtime.session import Session, SessionSpec, check_frames, check_golden, spec_of_bundle
from dtgd_edge.runtime.trt.build import BuildOptions, plan_from_bundle, require_placement
from dtgd_edge.runtime.trt.choose import kept_plan, runner_of_plan, why_no_plan
from dtgd_edge.runtime.trt.engine import Engine
from dtgd_edge.runtime.trt.library import Library, libraries_for_run
from dtgd_edge.verdict import Scores


@dataclass(frozen=True, slots=True, eq=False)
class _Tensor:
    """A tensor's memory, allocated once: where TensorRT sees it, and what the CPU reads or writes."""

    name: str
    host: HostBuffer
    values: NDArray[np.generic]
    address: int
    is_shared: bool


class TrtSession(Session):
    """Scores on the GPU. The thread that opens it owns it: no other may score.

    Args:
        bundle: from Bundle.open.
        library: "auto", "tensorrt", "rtx" or "lean".
        build: whether to build a plan that the cache has not (minutes); else its lack is an error.
        plans: the cache; None: this user's.
        plan: to run this one, whatever the cache has.
        cuda: an open device, which the session closes; None: the first that answers.
        is_captured: whether to replay a CUDA graph, where capture works.
        is_timed: whether to take device times; see `device_ms`.
        memory_limit_mib: as BuildOptions.
        say: is told the progress of a build.

    Raises:
        BackendUnavailable: no GPU answers, or a library is missing.
        PlanMismatch: no plan for this graph, GPU and version is kept, or a damaged one, and none may be made.
        BackendError: the device or TensorRT refuses.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        library: str = "auto",
        build: bool = False,
        plans: PlanCache | None = None,
        plan: Plan | None = None,
        cuda: Cuda | None = None,
        is_captured: bool = True,
        is_timed: bool = False,
        memory_limit_mib: int | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        spec_of_bundle(bundle, "tensorrt", "")
        require_placement(bundle)
        self._owner = threading.get_ident()
        self._cuda: Cuda | None = cuda if cuda is not None else open_cuda()
        self._engine: Engine | None = None
        try:
            options = BuildOptions(library, memory_limit_mib=memory_limit_mib)
            self._open(bundle, plans or PlanCache(), plan, options, build, say)
            self._allocate(bundle)
            self._events = [self._cuda.event() for _ in range(4)] if is_timed else []
            self._graph = self._captured() if is_captured else None
        except BaseException:
            self.close()
            raise

    @property
    def spec(self) -> SessionSpec:
        return self._spec

    @property
    def plan(self) -> Plan:
        """The plan that runs."""
        return self._plan

    @property
    def is_graph_captured(self) -> bool:
        """Whether a CUDA graph is replayed."""
        return self._graph is not None

    @property
    def device_ms(self) -> dict[str, float]:
        """Device time of the last scoring by events, milliseconds; {} unless the session is timed.

        "copy in", "compute" and "copy out"; a captured graph can only be timed as one "device".
        """
        if not self._events or self._cuda is None:
            return {}
        a, b, c, d = self._events
        if self._graph is not None:
            return {"device": self._cuda.elapsed_ms(a, d)}
        names = ("copy in", "compute", "copy out")
        return {
            name: self._cuda.elapsed_ms(*pair)
            for name, pair in zip(names, ((a, b), (b, c), (c, d)), strict=True)
        }

    def score(self, frames: NDArray[np.uint8]) -> Scores:
        if self._cuda is None:
            raise BackendError("the TensorRT session is closed; expected an open one; open it again")
        if threading.get_ident() != self._owner:
            raise BackendError(
                "the TensorRT session was opened by another thread; expected the one that opened it; "
                "open a session in each thread that scores"
            )
        check_frames(frames, self._spec)
        np.copyto(self._input.values, frames)
        if self._graph is not None:
            self._mark(0)
            self._cuda.launch(self._graph)
            self._mark(3)
        else:
            self._queue(self._mark)
        self._cuda.synchronise()
        score, anomaly_map = (np.array(output.values, np.float32) for output in self._outputs)
        return Scores(score, anomaly_map)

    def close(self) -> None:
        engine, self._engine = self._engine, None
        cuda, self._cuda = self._cuda, None
        if engine is not None:
            engine.close()
        if cuda is not None:
            cuda.close()

    def _open(
        self,
        bundle: Bundle,
        plans: PlanCache,
        plan: Plan | None,
        options: BuildOptions,
        may_build: bool,
        say: Callable[[str], None],
    ) -> None:
        assert self._cuda is not None
        cuda = self._cuda
        libraries = libraries_for_run(options.library)
        if plan is None:
            plan = kept_plan(bundle, plans, libraries, cuda.gpu, is_damage_error=not may_build)
        if plan is None and not may_build:
            raise PlanMismatch(why_no_plan(bundle, plans, libraries, cuda.gpu))
        is_kept = plan is not None
        if plan is None:
            plan = plan_from_bundle(bundle, options, plans, cuda.gpu, cuda.free_mib(), say)
        try:
            self._run(bundle, plan, libraries)
        except PlanMismatch as exc:
            if not may_build or not is_kept:
                raise
            say(f"building again: {exc}")
            options = replace(options, is_forced=True)
            plan = plan_from_bundle(bundle, options, plans, cuda.gpu, cuda.free_mib(), say)
            self._run(bundle, plan, libraries)

    def _run(self, bundle: Bundle, plan: Plan, libraries: list[Library]) -> None:
        assert self._cuda is not None
        library = runner_of_plan(libraries, plan)
        self._engine = Engine(library, plan.engine, (bundle.manifest.input,), bundle.manifest.outputs)
        self._plan = plan
        device = f"{self._cuda.gpu.name} ({library.title}, {self._cuda.binding})"
        self._spec = spec_of_bundle(bundle, "tensorrt", device)

    def _allocate(self, bundle: Bundle) -> None:
        self._input = self._tensor(bundle.manifest.input)
        self._outputs = [self._tensor(output) for output in bundle.manifest.outputs]

    def _tensor(self, spec: TensorSpec) -> _Tensor:
        assert self._cuda is not None and self._engine is not None
        # Where CPU and GPU share memory, both work on the same bytes and nothing is copied.
        is_shared = self._cuda.gpu.is_integrated
        dtype = np.dtype(spec.dtype)
        size_bytes = int(np.prod(spec.shape)) * dtype.itemsize
        host = self._cuda.host_buffer(size_bytes, is_shared)
        address = host.device_address if is_shared else self._cuda.device_buffer(size_bytes)
        self._engine.bind(spec.name, address)
        host.array[:] = 0
        return _Tensor(spec.name, host, host.array.view(dtype).reshape(spec.shape), address, is_shared)

    def _queue(self, mark: Callable[[int], None]) -> None:
        assert self._cuda is not None and self._engine is not None
        mark(0)
        if not self._input.is_shared:
            self._cuda.copy_in(self._input.address, self._input.host)
        mark(1)
        self._engine.enqueue(self._cuda.stream)
        mark(2)
        for output in self._outputs:
            if not output.is_shared:
                self._cuda.copy_out(output.host, output.address)
        mark(3)

    def _mark(self, index: int) -> None:
        if self._events and self._cuda is not None:
            self._cuda.record(self._events[index])

    def _captured(self) -> Any | None:
        """Run once, which lets TensorRT set itself up, then capture; None where that does not work."""
        assert self._cuda is not None
        self._queue(lambda index: None)
        self._cuda.synchronise()
        graph = self._cuda.capture(lambda: self._queue(lambda index: None))
        if graph is None:
            return None
        try:
            self._cuda.launch(graph)
            self._cuda.synchronise()
        except BackendError:
            return None
        return graph


def prove_plan(bundle: Bundle, plan: Plan, cache: PlanCache) -> float | None:
    """Score the golden frames with a plan, and throw it away if it disagrees.

    Returns:
        The largest difference of a score; None where the plan cannot run: no GPU, or another than it is for.

    Raises:
        BackendError: it fails or disagrees.
    """
    if driver_fault():
        return None
    cuda = open_cuda()
    if cuda.gpu.capability not in plan.record.key.targets:
        cuda.close()
        return None
    try:
        with TrtSession(bundle, plan=plan, cuda=cuda) as session:
            return check_golden(bundle, session)
    except BackendError:
        cache.discard(plan.record.key)
        raise
