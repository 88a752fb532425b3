"""What one training run reached: the record that suites collect. No torch here."""

from dataclasses import dataclass

from dtgd_edge.train.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe trained on one folder of pictures, and judged.

    Attributes:
        test: on the test pictures, at their native resolution.
        held_out: on the checkpoint's judging frames: good parts that training did not see, and the same
            with the synthetic family that it never saw. Choices are made by these.
        minutes: of training, wall clock; sessions of a resumed run are added up.
        steps: optimiser steps.
        teacher: where the teacher's weights come from.
        device: where it was trained: "cpu", or the GPU's name.
    """

    test: Metrics
    held_out: Metrics
    minutes: float
    steps: int
    teacher: str
    device: str
