"""Where checkpoints and bundles of a workspace lie, which is the newest, and where the cache is."""

import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from dtgd_edge.bundle import SUFFIX
from dtgd_edge.errors import BundleError, ConfigError, DataError

Graph = Literal["full", "compact", "auto"]
GRAPHS: tuple[Graph, ...] = ("full", "compact", "auto")

RUNS = "runs"
BUNDLES = "bundles"
CHECKPOINT = "checkpoint.json"
COMPARISON = "comparison.json"  # beside a compact checkpoint: what it costs to use it
CACHE_VARIABLE = "DTGD_EDGE_CACHE"


def known_graph(name: str) -> Graph:
    """Check a graph's name.

    Raises:
        ConfigError: it is none.
    """
    for graph in GRAPHS:
        if name == graph:
            return graph
    raise ConfigError(f"graph {name!r} is not known; expected one of {', '.join(GRAPHS)}")


def newest_checkpoint(workspace: Path, graph: Graph = "full") -> Path:
    """Find the folder of the checkpoint that was written last, in `workspace/runs`.

    Args:
        workspace: the folder.
        graph: of the checkpoint; "auto": of any, but a compact one only if its comparison with the full one
            holds.

    Raises:
        DataError: there is none.
    """
    found = sorted((workspace / RUNS).glob(f"*/{CHECKPOINT}"), key=lambda p: -p.stat().st_mtime_ns)
    for path in found:
        if _is_wanted(path, graph):
            return path.parent
    kind, maker = ("compact ", "distil") if graph == "compact" else ("", "train")
    raise DataError(
        f"no {kind}checkpoint in {workspace / RUNS}; expected one from dtgd-edge {maker}; "
        f"{maker} first, or name the checkpoint or its --workspace"
    )


def _is_wanted(checkpoint: Path, graph: Graph) -> bool:
    values = _json(checkpoint)
    is_compact = values.get("source") is not None
    if graph != "auto":
        return is_compact == (graph == "compact")
    comparison = _json(checkpoint.with_name(COMPARISON)) if is_compact else {}
    is_current = comparison.get("weights_sha256") == values.get("weights_sha256")
    return not is_compact or (is_current and comparison.get("holds") is True)


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none: who opens the checkpoint says what is wrong with it."""
    try:
        values = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return values if isinstance(values, dict) else {}


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
