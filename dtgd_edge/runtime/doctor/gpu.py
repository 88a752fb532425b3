"""The driver's devices and what their compute capability means for a bundle."""

from pathlib import Path

from dtgd_edge.errors import BackendUnavailable
from dtgd_edge.runtime.cuda_driver import cuda_gpus
from dtgd_edge.runtime.doctor.finding import Finding, version_of


def check_gpu(root: Path) -> list[Finding]:
    """Ask the driver; `root` is not looked at."""
    try:
        gpus = cuda_gpus()
    except BackendUnavailable as exc:
        found, _, fix = str(exc).split("; ", 2)
        return [Finding("NVIDIA GPU", False, found, fix)]
    findings = []
    for gpu in gpus:
        memory = f"{gpu.memory_mib} MiB" + (" shared with the CPU" if gpu.is_integrated else "")
        abilities, fix = meaning(version_of(gpu.capability))
        detail = f"{gpu.name}, compute capability {gpu.capability}: {abilities}; {memory}, CUDA {gpu.driver}"
        findings.append(Finding("NVIDIA GPU", not fix, detail, fix))
    return findings


def meaning(compute_capability: tuple[int, ...]) -> tuple[str, str]:
    """What a GPU can do, and what to do if TensorRT 10.3 does not run on it ("" if it does)."""
    if compute_capability >= (8, 9):
        abilities = "FP16, INT8 and FP8 tensor cores"
    elif compute_capability >= (7, 2):
        abilities = "FP16 and INT8 tensor cores"
    elif compute_capability >= (7, 0):
        abilities = "FP16 tensor cores, none for INT8"
    elif compute_capability in ((5, 3), (6, 0), (6, 2)):
        abilities = "fast FP16, no tensor cores, no fast INT8"
    else:
        abilities = "no tensor cores; FP16 is not faster than FP32"
    if compute_capability >= (7, 5):
        return abilities, ""
    last: dict[tuple[int, ...], str] = {
        (5, 3): "8.2 (JetPack 4.6)",
        (6, 2): "8.2 (JetPack 4.6)",
        (7, 2): "8.5 (JetPack 5.1)",
    }
    ends = last.get(compute_capability, "10.4 or earlier")
    return abilities, f"TensorRT for it ends at {ends}, dtgd-edge needs 10.3 or later: use --backend ort"
