"""`--precision auto`: make every precision, measure them here, keep the fastest whose parity holds."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dtgd_edge.bundle import SUFFIX, Bundle, Precision
from dtgd_edge.errors import BundleError, ParityError
from dtgd_edge.export.pipeline import PRECISIONS, Exported, Exporter
from dtgd_edge.percentiles import Percentiles
from dtgd_edge.runtime.session import open_session
from dtgd_edge.workspace import BUNDLES

ROUNDS = 40
WARM_UP = 3
# Below this a gain is not worth a coarser graph, and may be the noise of the measurement.
WORTH = 1.05


@dataclass(frozen=True, slots=True)
class Contender:
    """What became of one precision.

    Attributes:
        precision: which.
        exported: None when its parity was refused, or it was deleted afterwards.
        times_ms: of one frame in a session on this machine, without geometry; None when refused.
        reason: why it was kept or not, in words.
        is_kept: whether it is the one to run.
    """

    precision: Precision
    exported: Exported | None
    times_ms: Percentiles | None
    reason: str
    is_kept: bool = False


def export_fastest(
    exporter: Exporter,
    out: Path | None = None,
    workspace: Path = Path("."),
    keep_all: bool = False,
    measure: Callable[[dict[Precision, Bundle]], dict[Precision, Percentiles]] | None = None,
) -> list[Contender]:
    """Export fp32, fp16 and int8, and write the fastest whose verdicts hold.

    Args:
        exporter: of the checkpoint.
        out: path of the bundle that wins; None: bundles/<name>-<precision>.dtgd in the workspace.
        workspace: see `out`.
        keep_all: write the others too, beside it.
        measure: None: `interleaved`.

    Returns:
        One entry per precision; exactly one is kept to run.

    Raises:
        ParityError: not even float32 gives the trained graph's verdicts.
        BackendError, BundleError: as Exporter.export.
    """
    folder = out.parent if out else workspace / BUNDLES
    made: dict[Precision, Exported] = {}
    refused: dict[Precision, ParityError] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the result, so that the winner is renamed into place and earlier bundles are not touched.
        with tempfile.TemporaryDirectory(prefix=".auto-", dir=folder) as scratch:
            for precision in PRECISIONS:
                try:
                    made[precision] = exporter.export(precision, Path(scratch) / f"{precision}{SUFFIX}")
                except ParityError as exc:
                    refused[precision] = exc
            if not made:
                raise refused[PRECISIONS[0]]
            times = (measure or interleaved)({p: e.bundle for p, e in made.items()})
            winner = fastest(times)
            for precision, exported in list(made.items()):
                if precision == winner or keep_all:
                    own = out if out and precision == winner else _path(exporter, folder, out, precision)
                    os.replace(exported.path, own)
                    made[precision] = Exported(exported.bundle, own)
    except OSError as exc:
        raise BundleError(
            f"{folder} cannot be written to ({exc.strerror}); expected a folder; name another"
        ) from exc
    return [_contender(p, made, refused, times, winner, keep_all) for p in PRECISIONS]


def interleaved(bundles: dict[Precision, Bundle]) -> dict[Precision, Percentiles]:
    """Time one frame in each bundle's session, in turn, so that foreign load hits all alike."""
    sessions = {precision: open_session(bundle) for precision, bundle in bundles.items()}
    samples: dict[Precision, list[float]] = {precision: [] for precision in bundles}
    frames = next(iter(bundles.values())).golden.frames
    try:
        for index in range(WARM_UP + ROUNDS):
            for precision, session in sessions.items():
                frame = np.repeat(frames[index % len(frames)][None], session.spec.batch, axis=0)
                began = time.perf_counter()
                session.score(frame)
                if index >= WARM_UP:
                    samples[precision].append((time.perf_counter() - began) * 1e3)
    finally:
        for session in sessions.values():
            session.close()
    return {precision: Percentiles.of(values) for precision, values in samples.items()}


def fastest(times: dict[Precision, Percentiles]) -> Precision:
    """The finest precision that no coarser one beats by more than WORTH, by the median."""
    best = next(p for p in PRECISIONS if p in times)
    for precision in PRECISIONS:
        if precision in times and _median(times[best]) > WORTH * _median(times[precision]):
            best = precision
    return best


def _contender(
    precision: Precision,
    made: dict[Precision, Exported],
    refused: dict[Precision, ParityError],
    times: dict[Precision, Percentiles],
    winner: Precision,
    keep_all: bool,
) -> Contender:
    if precision in refused:
        return Contender(precision, None, None, f"{precision}: refused: {refused[precision]}")
    found = times[precision]
    spent = f"{precision}: {_median(found):.1f} ms (95 % within {found.p95:.1f})"
    if precision == winner:
        return Contender(precision, made[precision], found, f"{spent}, kept", True)
    ratio = _median(found) / _median(times[winner])
    if ratio >= 1:
        why = f"{ratio:.1f} times the time of {winner}"
        if PRECISIONS.index(precision) > PRECISIONS.index(winner):
            why = f"no faster than {winner} here"
    else:
        why = f"not {WORTH - 1:.0%} faster than {winner}"
    return Contender(precision, made[precision] if keep_all else None, found, f"{spent}, {why}")


def _path(exporter: Exporter, folder: Path, out: Path | None, precision: Precision) -> Path:
    return folder / f"{out.stem if out else exporter.name}-{precision}{SUFFIX}"


def _median(times: Percentiles) -> float:
    assert times.p50 is not None
    return times.p50
