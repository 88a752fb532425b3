"""Write the public names of an installed TensorRT as JSON: `python make.py MODULE OUT.json`.

The bindings wheels need the big libraries only for nine factory functions; stub libraries that define them
let the bindings be imported anywhere. For one version:

    pip install --no-deps --target B tensorrt-cu13-bindings==11.4.0.106
    nm -D --undefined-only B/tensorrt_bindings/tensorrt.so | awk '{print $2}' \\
      | grep -E '^(createInfer|createNv|get[A-Z]|initLib)' | sed 's/.*/void* &(){return 0;}/' > B/stub.c
    for n in $(readelf -d B/tensorrt_bindings/tensorrt.so | grep -oE 'libnv[a-z_]+\\.so\\.[0-9]+'); do
      gcc -w -shared -fPIC -Wl,-soname,$n -o B/$n B/stub.c; done
    LD_LIBRARY_PATH=B PYTHONPATH=B python make.py tensorrt_bindings 11.4.0.106.json
"""

import importlib
import json
import sys
from pathlib import Path

CLASSES = (
    "Builder",
    "BuilderFlag",
    "ComputeCapability",
    "DataType",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "ILogger",
    "INetworkDefinition",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "TensorIOMode",
)


def surface(module_name: str) -> dict[str, object]:
    """Its version, and the names of the module and of the classes above."""
    module = importlib.import_module(module_name)
    names = {name for name in dir(module) if not name.startswith("_")} | {"__version__"}
    for cls in CLASSES:
        if hasattr(module, cls):
            names |= {f"{cls}.{name}" for name in dir(getattr(module, cls)) if not name.startswith("_")}
    return {"module": module_name, "version": module.__version__, "names": sorted(names)}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(surface(sys.argv[1]), indent=0) + "\n")
