"""Plan to open engine. Call nothing here before a CUDA device has answered."""

from collections.abc import Sequence
from typing import Any

from dtgd_edge.bundle import TensorSpec
from dtgd_edge.errors import BackendError, PlanMismatch
from dtgd_edge.runtime.collection import collection_paused
from dtgd_edge.runtime.trt.builder import dtype_name, require_tensors
from dtgd_edge.runtime.trt.library import Library
from dtgd_edge.runtime.trt.log import TrtLog


class Engine:
    """A deserialised plan with one execution context.

    Args:
        library: the one that built it, or the lean runtime.
        content: the plan.
        inputs, outputs: what the manifest says its tensors are.

    Raises:
        PlanMismatch: TensorRT does not take the plan, or its tensors are others.
        BackendError: TensorRT has no memory for it.
    """

    def __init__(
        self,
        library: Library,
        content: bytes,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        self._library = library
        self._log = TrtLog(library.module)
        try:
            with collection_paused():
                self._runtime: Any = library.module.Runtime(self._log.logger)
        except (TypeError, RuntimeError) as exc:  # pybind's words for a factory that returned nothing
            raise BackendError(
                f"{library.title} cannot start: {self._log.reason()}; expected a GPU it supports; "
                "run dtgd-edge doctor"
            ) from exc
        self._engine: Any = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise PlanMismatch(
                f"{library.title} does not take the plan: {self._log.reason()}; expected one that was built "
                "for this GPU by this version; run: dtgd-edge build --force"
            )
        require_tensors(library, self._tensors(), (inputs, outputs), PlanMismatch)
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise BackendError(
                f"{library.title} has no memory to run the plan in: {self._log.reason()}; "
                "expected some free; close what else uses the device"
            )

    def bind(self, name: str, address: int) -> None:
        """Tell where on the device a tensor lies.

        Raises:
            BackendError: TensorRT refuses.
        """
        if not self._context.set_tensor_address(name, address):
            raise self._failure(f"refuses the address of {name!r}")

    def enqueue(self, stream: int) -> None:
        """Queue one scoring in a CUDA stream.

        Raises:
            BackendError: TensorRT refuses.
        """
        if not self._context.execute_async_v3(stream):
            raise self._failure("failed while scoring")

    def close(self) -> None:
        """Give the device's memory back, in the order TensorRT wants."""
        self._context = None
        self._engine = None
        self._runtime = None

    def _tensors(self) -> tuple[list[TensorSpec], list[TensorSpec]]:
        engine = self._engine
        inputs: list[TensorSpec] = []
        outputs: list[TensorSpec] = []
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            dtype = dtype_name(self._library, engine.get_tensor_dtype(name))
            spec = TensorSpec(name, dtype, tuple(engine.get_tensor_shape(name)))
            is_input = engine.get_tensor_mode(name) == self._library.module.TensorIOMode.INPUT
            (inputs if is_input else outputs).append(spec)
        return inputs, outputs

    def _failure(self, what: str) -> BackendError:
        reason = self._log.reason()
        self._log.clear()
        return BackendError(
            f"{self._library.title} {what}: {reason}; expected scores; restart, and run doctor if it recurs"
        )
