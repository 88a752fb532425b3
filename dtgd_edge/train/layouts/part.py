"""What a layout's reader finds: parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GOOD = "good"
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of a part, and what is known about it.

    Attributes:
        path: the picture.
        is_defective: whether the part has a defect.
        kind: "good", or the kind of the defect.
        mask_paths: pictures of the defect's places, each as large as the picture; what any of them
            marks is defective. Empty: not marked.
    """

    path: Path
    is_defective: bool
    kind: str
    mask_paths: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a reader finds in a folder.

    Attributes:
        train: good parts to train on.
        test: good and defective parts to test with.
        mask_folder: where masks are still to be looked up by name; None: the parts have theirs.
        notes: what the reader chose or left out, a sentence each.
    """

    train: tuple[Part, ...]
    test: tuple[Part, ...] = ()
    mask_folder: Path | None = None
    notes: tuple[str, ...] = ()


def some(names: Sequence[str]) -> str:
    """Join the first few names, and say how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
