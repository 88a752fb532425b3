"""`dtgd-edge calibrate`: a threshold with a promise about false rejects."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from dtgd_edge.bundle import SUFFIX, Bundle, Threshold
from dtgd_edge.cli.console import OUT, Json, print_json, say, table
from dtgd_edge.cli.pictures import read_pictures
from dtgd_edge.cli.progress import progress_bar
from dtgd_edge.config import mapping_from_record
from dtgd_edge.errors import ConfigError, DataError
from dtgd_edge.runtime.calibrate import Calibrator, ScoredParts
from dtgd_edge.runtime.promise import (
    bound_of_false_reject,
    check_promise,
    fit_tail,
    parts_needed,
    percent,
    percent_up,
    promise_text,
)
from dtgd_edge.runtime.session import BACKENDS

WORST = 10


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    good: Annotated[
        Path | None,
        typer.Argument(help="A folder of good parts that training has not seen, one picture per part."),
    ] = None,
    max_false_reject: Annotated[
        str | None, typer.Option(help="Share of good parts that may be rejected, such as 0.5%.")
    ] = None,
    confidence: Annotated[str, typer.Option(help="How sure the promise is.")] = "95%",
    fixed: Annotated[float | None, typer.Option(help="Set this threshold; it promises nothing.")] = None,
    best_f1: Annotated[
        Path | None,
        typer.Option(help="A data set with good and defective test pictures: take the threshold of best F1."),
    ] = None,
    parts_per_shift: Annotated[int, typer.Option(min=1, help="Good parts of a shift.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Default: NAME-calibrated.dtgd beside it.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Replace the bundle itself.")] = False,
    backend: Annotated[
        str | None, typer.Option(help=f"{', '.join(BACKENDS)}; default: what the bundle was exported for.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Choose the threshold from good parts, so that it keeps a promise about false rejects."""
    if sum(choice is not None for choice in (max_false_reject, fixed, best_f1)) != 1:
        raise ConfigError(
            "one rule is needed; expected exactly one of --max-false-reject 0.5%, --fixed SCORE and "
            "--best-f1 DATA; give one"
        )
    if max_false_reject is not None and good is None:
        raise ConfigError("a promise needs good parts; expected a folder after the bundle; name it")
    share = None if max_false_reject is None else share_from_text(max_false_reject, "--max-false-reject")
    sure = share_from_text(confidence, "--confidence")
    check_promise(0.5 if share is None else share, sure)
    path = _destination(bundle, out, in_place)
    with Calibrator.open(bundle, backend) as calibrator:
        parts = None
        if good is not None:
            with progress_bar("scoring") as advance:
                parts = calibrator.score_folder(good, advance)
            _say_if_trained_on(good, calibrator.bundle)
            _say_uncounted(parts)
        if share is not None and parts is not None and good is not None:
            threshold = calibrator.promised(parts, good, share, sure)
        elif best_f1 is not None:
            threshold = _best_f1(calibrator, best_f1)
        else:
            threshold = Threshold(float("nan") if fixed is None else fixed, "set by hand", 0)
        calibrator.save(threshold, path)
        outcome = Outcome(path, calibrator.bundle, threshold, parts, sure, parts_per_shift)
    if as_json:
        print_json(outcome.record())
    else:
        _print(outcome)


def share_from_text(text: str, option: str) -> float:
    """Read "0.5%" or "0.005" as 0.005.

    Raises:
        ConfigError: neither a number nor a percentage, or a number whose % was probably forgotten.
    """
    number, is_percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        value = float(number)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r} is no share; expected a percentage such as 0.5%; correct it"
        ) from None
    if not is_percent and option == "--max-false-reject" and value >= 0.1:
        raise ConfigError(
            f"{option} {text} would be {value:.0%}; expected a % sign or a number below 0.1; "
            f"write {text}% or {100 * value:g}%"
        )
    return value / 100 if is_percent else value


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a calibration did.

    Attributes:
        path: of the bundle written.
        before: the bundle as it was.
        threshold: the new one.
        good: the good parts; None where none were given.
        confidence: of all bounds.
        parts_per_shift: good parts of a shift.
    """

    path: Path
    before: Bundle
    threshold: Threshold
    good: ScoredParts | None
    confidence: float
    parts_per_shift: int

    @property
    def golden_ng(self) -> tuple[int, int]:
        """Golden frames that are NG at the old threshold, and at the new one."""
        score = self.before.golden.score
        old, new = self.before.manifest.threshold.value, self.threshold.value
        return int((score > old).sum()), int((score > new).sum())

    @property
    def bound(self) -> float | None:
        """The share of good parts that, with the confidence, is not exceeded; None without good parts."""
        if self.good is None:
            return None
        above = self.good.above(self.threshold.value)
        if self.threshold.promise is not None:
            above = self.threshold.promise.rank - 1
        return bound_of_false_reject(len(self.good.parts), above, self.confidence)

    @property
    def expected(self) -> float | None:
        """The share of good parts to expect above the threshold: on average over many calibrations where it
        is one of the scores, otherwise the share that was measured."""
        if self.good is None:
            return None
        count, promise = len(self.good.parts), self.threshold.promise
        return (
            self.good.above(self.threshold.value) / count if promise is None else promise.rank / (count + 1)
        )

    @property
    def estimate(self) -> float | None:
        """What a fit of the tail says about the same share: an estimate, no bound."""
        fit = None if self.good is None else fit_tail(self.good.scores)
        return None if fit is None else fit.share_above(self.threshold.value)

    @property
    def more_for_next(self) -> int | None:
        """How many more good parts the promise needs until one more of them may lie above the threshold."""
        promise = self.threshold.promise
        if promise is None:
            return None
        needed = parts_needed(promise.max_false_reject, promise.confidence, promise.rank + 1)
        return needed - promise.parts

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        good, shift = self.good, self.parts_per_shift
        document: dict[str, Any] = {
            "bundle": str(self.path),
            "threshold": mapping_from_record(self.threshold),
            "threshold_before": self.before.manifest.threshold.value,
            "golden_frames": len(self.before.golden.score),
            "golden_ng_before": self.golden_ng[0],
            "golden_ng": self.golden_ng[1],
        }
        if good is None or self.bound is None or self.expected is None:
            return document
        return {
            **document,
            "good_parts": len(good.parts),
            "above_threshold": good.above(self.threshold.value),
            "confidence": self.confidence,
            "false_reject_bound": self.bound,
            "false_reject_expected": self.expected,
            "false_reject_estimate_of_tail_fit": self.estimate,
            "parts_per_shift": shift,
            "rejects_per_shift_bound": self.bound * shift,
            "rejects_per_shift_expected": self.expected * shift,
            "more_parts_for_next_rank": self.more_for_next,
            "worst": [{"picture": str(part.path), "score": part.score} for part in good.worst(WORST)],
            "copies": [{"picture": str(copy), "copy_of": str(first)} for copy, first in good.copies],
            "left_out": [{"picture": str(path), "reason": reason} for path, reason in good.left_out],
        }


def _destination(bundle: Path, out: Path | None, in_place: bool) -> Path:
    if in_place and out is not None:
        raise ConfigError("both --out and --in-place were given; expected one of them; choose")
    if in_place:
        return bundle
    path = bundle.with_name(f"{bundle.stem}-calibrated{SUFFIX}") if out is None else out
    if path.suffix != SUFFIX:
        raise ConfigError(f"--out {path} is no bundle's name; expected one that ends in {SUFFIX}; rename it")
    return path


def _best_f1(calibrator: Calibrator, data: Path) -> Threshold:
    """The threshold of best F1 on the test pictures of a data set."""
    from dtgd_edge.train.metrics import f1_max

    test = read_pictures(data).test
    with progress_bar("scoring") as advance:
        scored = calibrator.score([part.path for part in test], advance)
    _say_uncounted(scored)
    defective = {part.path for part in test if part.is_defective}
    labels = np.array([part.path in defective for part in scored.parts], np.bool_)
    best = f1_max(labels, scored.scores) if len(labels) else None
    if best is None:
        raise DataError(
            f"{data} gave {len(labels)} scored test pictures, {int(labels.sum())} of them defective; "
            "expected both good and defective ones; use --max-false-reject, which needs good parts only"
        )
    rule = f"best F1, {best[0]:.4f}, on {len(labels)} test pictures, {int(labels.sum())} of them defective"
    return Threshold(best[1], rule, int((~labels).sum()))


def _say_if_trained_on(folder: Path, bundle: Bundle) -> None:
    """Say that parts which training has seen weaken the promise."""
    trained_on = Path(bundle.manifest.provenance.data).resolve()
    if folder.resolve().is_relative_to(trained_on) and trained_on.exists():
        say(
            f"note: {folder} lies in {bundle.manifest.provenance.data}, which the bundle was trained on; "
            "parts that training has seen score lower than others, and with them the promise does not hold"
        )


def _say_uncounted(parts: ScoredParts) -> None:
    """Say which pictures do not count, and why."""
    if parts.copies:
        copy, first = parts.copies[0]
        say(f"note: {len(parts.copies)} pictures are copies and do not count ({copy.name} = {first.name})")
    for path, reason in parts.left_out[:3]:
        say(f"note: {path.name} is left out: {reason}")
    if len(parts.left_out) > 3:
        say(f"note: {len(parts.left_out) - 3} more are left out")


def _print(outcome: Outcome) -> None:
    threshold, good = outcome.threshold, outcome.good
    OUT.print(
        f"{outcome.path}  threshold {outcome.before.manifest.threshold.value:.4f} -> {threshold.value:.4f}: "
        f"{threshold.rule}",
        markup=False,
    )
    OUT.print(f"  promise: {promise_text(threshold)}", markup=False)
    before, after = outcome.golden_ng
    OUT.print(
        f"  golden frames: {after} of {len(outcome.before.golden.score)} are NG at this threshold, "
        f"{before} were; the parity record stays that of the export's threshold",
        markup=False,
    )
    if good is not None:
        _print_rates(outcome, good)


def _print_rates(outcome: Outcome, good: ScoredParts) -> None:
    bound, expected, shift = outcome.bound, outcome.expected, outcome.parts_per_shift
    assert bound is not None and expected is not None
    what = "" if outcome.threshold.promise is not None else "; a measurement, if they did not choose it"
    OUT.print(
        f"  {good.above(outcome.threshold.value)} of {len(good.parts)} good parts are above it: at most "
        f"{percent_up(bound)} of all, with {percent(outcome.confidence)} confidence{what}",
        markup=False,
    )
    OUT.print(
        f"  of {shift} good parts a shift, {expected * shift:.3g} rejected are to be expected, on average "
        f"{bound * shift:.3g} at most",
        markup=False,
    )
    if outcome.estimate is not None:
        OUT.print(
            f"  estimate, no promise: {outcome.estimate:.3%} of good parts (generalised Pareto fit of the "
            "highest tenth)",
            markup=False,
        )
    if outcome.more_for_next is not None:
        OUT.print(f"  {outcome.more_for_next} more good parts would allow a lower threshold", markup=False)
    rows = [
        [str(part.path), f"{part.score:.4f}", "NG" if part.score > outcome.threshold.value else "OK"]
        for part in good.worst(WORST)
    ]
    table("the worst good parts (is each of them really good?)", ["picture", "score", "verdict"], rows)
