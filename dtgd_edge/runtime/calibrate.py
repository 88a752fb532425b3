"""Give a bundle another threshold, chosen on scores of the session that it will run on."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

import numpy as np
from typing_extensions import Self

from dtgd_edge.bundle import Bundle, Promise, Threshold
from dtgd_edge.errors import BundleError, ConfigError, DataError
from dtgd_edge.pictures import picture_paths, read_picture
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.promise import Values, promised_threshold
from dtgd_edge.runtime.session import check_golden

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ScoredPart:
    """A picture of a part, and its score."""

    path: Path
    score: float


@dataclass(frozen=True, slots=True)
class ScoredParts:
    """What came of the pictures of parts.

    Attributes:
        parts: different pictures that were scored.
        copies: pictures with the same pixels as an earlier one, and that one; they do not count.
        left_out: pictures that the line would not judge either, and why.
    """

    parts: tuple[ScoredPart, ...]
    copies: tuple[tuple[Path, Path], ...]
    left_out: tuple[tuple[Path, str], ...]

    @property
    def scores(self) -> Values:
        """float64 [N], of `parts`."""
        return np.array([part.score for part in self.parts], np.float64)

    def worst(self, count: int) -> list[ScoredPart]:
        """The parts with the highest scores, highest first."""
        return sorted(self.parts, key=lambda part: part.score, reverse=True)[:count]

    def above(self, threshold: float) -> int:
        """Number of parts that are NG at a threshold."""
        return int((self.scores > threshold).sum())


class Calibrator:
    """A bundle opened to get another threshold; closed by `close`.

        with Calibrator.open("part.dtgd") as calibrator:
            threshold = calibrator.promised(calibrator.score_folder("good"), "good", 0.005, 0.95)
            calibrator.save(threshold, "part-calibrated.dtgd")

    Args:
        bundle: as it was read.
        inspector: with a session for it.
    """

    def __init__(self, bundle: Bundle, inspector: Inspector) -> None:
        self.bundle = bundle
        self.inspector = inspector

    @classmethod
    def open(cls, path: Path | str, backend: str | None = None, threads: int | None = None) -> "Calibrator":
        """Open a bundle and a session, proven on the golden frames.

        Args:
            path: a bundle.
            backend: as open_session takes it; None: the one that the bundle was exported for.
            threads: as open_session takes them.

        Raises:
            ConfigError: a backend that computes nothing.
            BundleError, BackendError: as Inspector.open.
        """
        bundle = Bundle.open(path)
        backend = bundle.manifest.session if backend is None else backend
        if backend == "null":
            raise ConfigError(
                "backend null computes no scores; expected one that runs the bundle; leave --backend out"
            )
        return cls(bundle, Inspector.open(path, backend, threads=threads))

    def score_folder(self, folder: Path | str, progress: Progress | None = None) -> ScoredParts:
        """Score the pictures directly in a folder.

        Raises:
            DataError: no such folder, or no picture in it that can be judged.
            BackendError: the session failed.
        """
        scored = self.score(picture_paths(Path(folder)), progress)
        if not scored.parts:
            path, reason = scored.left_out[0]
            raise DataError(
                f"no picture in {folder} can be judged ({path.name}: {reason}); expected frames like those "
                "of the line; take others"
            )
        return scored

    def score(self, paths: Sequence[Path], progress: Progress | None = None) -> ScoredParts:
        """Score pictures exactly as the line does, health gate included.

        Args:
            paths: pictures, one per part.
            progress: called with the number of the picture and of all.

        Raises:
            BackendError: the session failed.
        """
        parts: list[ScoredPart] = []
        firsts: dict[bytes, Path] = {}
        copies: list[tuple[Path, Path]] = []
        left_out: list[tuple[Path, str]] = []
        for done, path in enumerate(paths, 1):
            if progress is not None:
                progress(done, len(paths))
            try:
                image = read_picture(path)
            except DataError as exc:
                left_out.append((path, str(exc).partition(";")[0]))
                continue
            content = f"{image.dtype}{image.shape}".encode() + image.tobytes()
            first = firsts.setdefault(hashlib.blake2b(content, digest_size=16).digest(), path)
            if first is not path:
                copies.append((path, first))
                continue
            verdict = self.inspector.inspect(image)
            if verdict.score is None:
                left_out.append((path, verdict.reason or "no decision"))
            else:
                parts.append(ScoredPart(path, verdict.score))
        return ScoredParts(tuple(parts), tuple(copies), tuple(left_out))

    def promised(
        self, good: ScoredParts, data: Path | str, max_false_reject: float, confidence: float
    ) -> Threshold:
        """Choose the lowest threshold that keeps a promise.

        Args:
            good: good parts that training has not seen, from `score_folder`.
            data: where they come from, for the record.
            max_false_reject: share of good parts that may be rejected, in (0, 1).
            confidence: in (0, 1).

        Raises:
            ConfigError, DataError: as `promised_threshold`.
        """
        value, rank = promised_threshold(good.scores, max_false_reject, confidence)
        spec = self.inspector.session.spec
        which = "the largest score" if rank == 1 else f"score {rank} from the top"
        rule = f"{which} of the good parts"
        promise = Promise(
            max_false_reject=max_false_reject,
            confidence=confidence,
            parts=len(good.parts),
            rank=rank,
            session=spec.backend,
            device=spec.device,
            data=str(data),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        return Threshold(value, rule, len(good.parts), promise)

    def save(self, threshold: Threshold, path: Path | str) -> Bundle:
        """Write the bundle with another threshold, open it again and prove it on its golden frames.

        Raises:
            BundleError: the disk refused, or the threshold is not finite.
            BackendError: the golden frames score differently.
        """
        with_threshold(self.bundle, threshold).save(path)
        reopened = Bundle.open(path)
        if reopened.manifest.threshold != threshold:
            raise BundleError(f"{path} holds another threshold than was written; expected {threshold.value}")
        check_golden(reopened, self.inspector.session)
        return reopened

    def close(self) -> None:
        """Close the session."""
        self.inspector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def with_threshold(bundle: Bundle, threshold: Threshold) -> Bundle:
    """The same graph and golden frames with another threshold.

    The frames and the trained graph of the parity records are not in the bundle, so their flips cannot be
    counted anew: each record is marked with the threshold that it was counted at.
    """
    manifest = bundle.manifest
    parity = tuple(
        record if record.threshold is not None else replace(record, threshold=manifest.threshold.value)
        for record in manifest.parity
    )
    return replace(bundle, manifest=replace(manifest, threshold=threshold, parity=parity))
