"""`dtgd-edge build`: the TensorRT engine of a bundle, for this machine or ahead of time."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtgd_edge.bundle import Bundle
from dtgd_edge.cli.console import OUT, Json, Workspace, print_json, say
from dtgd_edge.config import mapping_from_record
from dtgd_edge.workspace import newest_bundle

if TYPE_CHECKING:
    from dtgd_edge.runtime.trt.build import BuildOptions


def build(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle; default: the newest.")] = None,
    library: Annotated[str, typer.Option(help="auto, tensorrt or rtx (TensorRT for RTX).")] = "auto",
    compute_capability: Annotated[
        str,
        typer.Option(
            help="For these GPUs, without having them: 8.6,8.9,12.0 (TensorRT for RTX only); "
            "default: the GPU that is here, or without one all that it knows."
        ),
    ] = "",
    memory_limit_mib: Annotated[
        int | None,
        typer.Option(help="Workspace; default: half of what is free on boards of up to 8 GB."),
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="To be run by the lean runtime (tensorrt_lean).")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder; default: this user's cache.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Build even if the cache has it.")] = False,
    workspace: Workspace = Path("."),
    as_json: Json = False,
) -> None:
    """Build the engine of a bundle, or find it in the cache; check it where it can run."""
    from dtgd_edge.runtime.trt.build import BuildOptions

    options = BuildOptions(
        library,
        tuple(part.strip() for part in compute_capability.split(",") if part.strip()),
        memory_limit_mib,
        version_compatible,
        force,
    )
    if bundle is None:
        bundle = newest_bundle(workspace)
        say(f"bundle: {bundle} (the newest)")
    record = build_shown(Bundle.open(bundle), options, out)
    if as_json:
        print_json({"bundle": str(bundle), **record})
        return
    print_built(record)


def require_builder() -> None:
    """Say early that no engine can be built here.

    Raises:
        BackendUnavailable: no TensorRT that can build, or no GPU for it.
    """
    from dtgd_edge.runtime.cuda_driver import driver_fault
    from dtgd_edge.runtime.trt.library import library_for_build

    library_for_build("auto", has_gpu=not driver_fault())


def build_shown(bundle: Bundle, options: "BuildOptions", out: Path | None = None) -> dict[str, Any]:
    """Build with progress on stderr, and prove the engine on the golden frames where it can run."""
    from dtgd_edge.runtime.cuda import gpu_here
    from dtgd_edge.runtime.plans import PlanCache
    from dtgd_edge.runtime.sessions.trt import prove_plan
    from dtgd_edge.runtime.trt.build import plan_from_bundle

    cache = PlanCache(out)
    gpu, free_mib = gpu_here()
    plan = plan_from_bundle(bundle, options, cache, gpu, free_mib, say)
    difference = prove_plan(bundle, plan, cache)
    return {
        "engine": str(plan.path),
        "is_hit": plan.is_hit,
        "golden_difference": difference,
        "record": mapping_from_record(plan.record),
    }


def print_built(record: dict[str, Any]) -> None:
    """Print where an engine is and what was proven about it."""
    details, key = record["record"], record["record"]["key"]
    done = "was in the cache" if record["is_hit"] else f"built in {details['build_seconds']:.1f} s"
    OUT.print(f"{record['engine']}  {details['engine_bytes'] / 2**20:.1f} MiB  {done}", markup=False)
    targets = f"compute capability {', '.join(key['targets'])}"
    OUT.print(
        f"  {key['library']} {key['version']}, {key['precision']}, {key['gpu'] or targets}", markup=False
    )
    if record["golden_difference"] is None:
        OUT.print(
            "  not run here, because no GPU it is for answers; check it on the device with dtgd-edge verify"
        )
    else:
        OUT.print(f"  golden scores differ by at most {record['golden_difference']:.2g}")
