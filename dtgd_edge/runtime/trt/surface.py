"""Every name of TensorRT's Python API that this package uses.

The tests compare these with the real bindings of TensorRT 10.3, 10.16 and 11.4, of the lean runtime and of
TensorRT for RTX, and check that no other file here uses a name that is not listed.
"""

# Needed to run a plan; in all of them.
RUN = (
    "__version__",
    "DataType.FLOAT",
    "DataType.UINT8",
    "ICudaEngine.create_execution_context",
    "ICudaEngine.get_tensor_dtype",
    "ICudaEngine.get_tensor_mode",
    "ICudaEngine.get_tensor_name",
    "ICudaEngine.get_tensor_shape",
    "ICudaEngine.num_io_tensors",
    "IExecutionContext.execute_async_v3",
    "IExecutionContext.set_tensor_address",
    "ILogger.ERROR",
    "ILogger.INTERNAL_ERROR",
    "ILogger.WARNING",
    "Runtime.deserialize_cuda_engine",
    "TensorIOMode.INPUT",
)

# Needed to build a plan; in all but the lean runtime.
BUILD = (
    "Builder.build_serialized_network",
    "Builder.create_builder_config",
    "Builder.create_network",
    "IBuilderConfig.progress_monitor",
    "IBuilderConfig.set_flag",
    "IBuilderConfig.set_memory_pool_limit",
    "INetworkDefinition.get_input",
    "INetworkDefinition.get_output",
    "INetworkDefinition.num_inputs",
    "INetworkDefinition.num_outputs",
    "ITensor.dtype",
    "ITensor.name",
    "ITensor.shape",
    "MemoryPoolType.WORKSPACE",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "OnnxParser.get_error",
    "OnnxParser.num_errors",
    "OnnxParser.parse",
    "ParserError.desc",
    "ParserError.node_name",
    "ParserError.node_operator",
)

# Used where it exists.
OPTIONAL = (
    "BuilderFlag.EXCLUDE_LEAN_RUNTIME",
    "BuilderFlag.VERSION_COMPATIBLE",
    "ComputeCapability",
    "IBuilderConfig.create_timing_cache",
    "IBuilderConfig.get_timing_cache",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "IBuilderConfig.set_timing_cache",
    "IProgressMonitor",
    "ITimingCache.serialize",
)
