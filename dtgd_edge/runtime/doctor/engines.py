"""The plan cache: where engines are kept, how many, and what they take."""

import os
from pathlib import Path

from dtgd_edge.runtime.doctor.finding import Finding
from dtgd_edge.runtime.plans import PlanCache
from dtgd_edge.workspace import CACHE_VARIABLE


def check_engines(root: Path) -> list[Finding]:
    """Look at this user's cache; `root` is not looked at. Nothing is made or read."""
    cache = PlanCache()
    sizes = cache.sizes_bytes()
    noun = "engine" if len(sizes) == 1 else "engines"
    detail = f"{cache.folder}: {len(sizes)} {noun}, {sum(sizes) / 2**20:.1f} MiB"
    there = next(path for path in (cache.folder, *cache.folder.absolute().parents) if path.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return [Finding("engine cache", True, detail)]
    fix = f"free it, or set {CACHE_VARIABLE} to another folder"
    return [Finding("engine cache", False, f"{detail}, but {there} cannot be written", fix)]
