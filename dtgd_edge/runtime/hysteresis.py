"""NG at once for a high score, NG after a while for a faint one."""

from dtgd_edge.runtime.policy import HysteresisConfig


class Hysteresis:
    """Remembers the scores of a stream without parts. A frame without a score changes nothing here.

    Args:
        config: how high and how long.
    """

    def __init__(self, config: HysteresisConfig) -> None:
        self._config = config
        self._above = 0
        self._is_ng = False

    @property
    def at_once_factor(self) -> float:
        """Times the threshold: a score above it is NG at once."""
        return self._config.at_once_factor

    def is_ng(self, is_above: bool, is_far_above: bool) -> bool:
        """Take the next scored frame.

        Args:
            is_above: its score is above the threshold.
            is_far_above: also above `at_once_factor` times the threshold.

        Returns:
            Whether it is NG. Once NG, the stream stays so until a score is not above the threshold.
        """
        self._above = self._above + 1 if is_above else 0
        self._is_ng = is_above and (self._is_ng or is_far_above or self._above >= self._config.frames)
        return self._is_ng

    @property
    def pending(self) -> str:
        """How far a faint score has come: "2 of 3 frames"."""
        return f"{self._above} of {self._config.frames} frames"
