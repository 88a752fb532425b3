"""Which plan of the cache runs on this GPU with what is installed, and if none does, why."""

from collections.abc import Iterator, Sequence

from dtgd_edge.bundle import Bundle
from dtgd_edge.errors import PlanMismatch
from dtgd_edge.runtime.cuda_driver import Gpu
from dtgd_edge.runtime.plan import Plan, PlanKey
from dtgd_edge.runtime.plans import PlanCache
from dtgd_edge.runtime.trt.build import VERSION_COMPATIBLE, BuildOptions, plan_key
from dtgd_edge.runtime.trt.library import Library


def kept_plan(
    bundle: Bundle, plans: PlanCache, libraries: Sequence[Library], gpu: Gpu, is_damage_error: bool
) -> Plan | None:
    """Read the first plan in the cache that one of the libraries runs on this GPU.

    Args:
        bundle: to run.
        plans: the cache.
        libraries: installed, the preferred first.
        gpu: the device that answered.
        is_damage_error: whether a damaged plan is an error; else it counts as none.

    Raises:
        PlanMismatch: a plan is damaged.
    """
    for library in libraries:
        try:
            for key in _keys(bundle, plans, library, gpu):
                if (plan := plans.find(key, gpu.capability)) is not None:
                    return plan
        except PlanMismatch:
            if is_damage_error:
                raise
    return None


def why_no_plan(bundle: Bundle, plans: PlanCache, libraries: Sequence[Library], gpu: Gpu) -> str:
    """Say in one sentence why `kept_plan` found none, and what to do."""
    reasons = []
    for library in libraries:
        if not library.can_build:
            reasons.append(f"no version-compatible plan for {library.title} is in {plans.folder}")
        elif not library.knows(gpu.capability):
            reasons.append(f"{library.title} does not know compute capability {gpu.capability}")
        else:
            key = plan_key(bundle, library, gpu, BuildOptions(library.name))
            reasons.append(f"for {library.title} {plans.why_missing(key)}")
    return (
        f"{'; '.join(reasons)}; expected a plan of this bundle for {gpu.name}; "
        "run: dtgd-edge build BUNDLE, or let dtgd-edge run --build make it first"
    )


def runner_of_plan(libraries: Sequence[Library], plan: Plan) -> Library:
    """Choose the library that runs a plan: the one that built it, or the lean runtime.

    Raises:
        PlanMismatch: neither is installed.
    """
    key = plan.record.key
    for library in libraries:
        if library.name == key.library or (not library.can_build and VERSION_COMPATIBLE in key.flags):
            return library
    raise PlanMismatch(
        f"the plan {plan.path} is for {key.library}, which is not installed or not chosen; "
        "expected that library; install it, or run: dtgd-edge build BUNDLE"
    )


def _keys(bundle: Bundle, plans: PlanCache, library: Library, gpu: Gpu) -> Iterator[PlanKey]:
    """Keys of plans that a library could run, in order of preference."""
    if library.can_build:
        if library.knows(gpu.capability):
            yield plan_key(bundle, library, gpu, BuildOptions(library.name))
        if not library.capabilities:
            yield plan_key(bundle, library, gpu, BuildOptions(library.name, is_version_compatible=True))
        return
    for record in plans.records():
        key = record.key
        is_of_bundle = key.graph_sha256 == bundle.manifest.graph_sha256
        if is_of_bundle and key.gpu == gpu.name and VERSION_COMPATIBLE in key.flags:
            yield key
