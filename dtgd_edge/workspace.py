"""Where checkpoints and bundles of a workspace lie, which is the newest, and where the cache is."""

import os
from pathlib import Path

from dtgd_edge.bundle import SUFFIX
from dtgd_edge.errors import BundleError, DataError

RUNS = "runs"
BUNDLES = "bundles"
CHECKPOINT = "checkpoint.json"
CACHE_VARIABLE = "DTGD_EDGE_CACHE"


def newest_checkpoint(workspace: Path) -> Path:
    """Find the folder of the checkpoint that was written last, in `workspace/runs`.

    Raises:
        DataError: there is none.
    """
    found = sorted((workspace / RUNS).glob(f"*/{CHECKPOINT}"), key=lambda p: p.stat().st_mtime_ns)
    if not found:
        raise DataError(
            f"no checkpoint in {workspace / RUNS}; expected one from dtgd-edge train; "
            "train first, or name the checkpoint or its --workspace"
        )
    return found[-1].parent


def bundles(workspace: Path) -> list[Path]:
    """List the bundles in `workspace` and `workspace/bundles`."""
    return [
        path
        for folder in (workspace, workspace / BUNDLES)
        for path in folder.glob(f"*{SUFFIX}")
        if path.is_file() and not path.name.startswith(".")
    ]


def newest_bundle(workspace: Path) -> Path:
    """Find the bundle that was written last, in `workspace` or `workspace/bundles`.

    Raises:
        BundleError: there is none.
    """
    found = bundles(workspace)
    if not found:
        raise BundleError(
            f"no bundle in {workspace} or {workspace / BUNDLES}; expected one from dtgd-edge export; "
            "export first, or name it with --bundle"
        )
    return max(found, key=lambda p: p.stat().st_mtime_ns)


def cache_folder() -> Path:
    """Where downloads and plans are kept: $DTGD_EDGE_CACHE, or ~/.cache/dtgd-edge."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "dtgd-edge")
