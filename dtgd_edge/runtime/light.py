"""Whether a prepared frame has the light, the focus and the colours of the bundle's normal frames."""

from collections.abc import Iterator
from dataclasses import dataclass

from dtgd_edge.appearance import Appearance, FrameStatistics
from dtgd_edge.errors import ConfigError

# Chroma that a grey camera's pictures can get from a lossy stream.
_GREY_COLOURFULNESS = 0.02
# Spreads and correlations of few colours say less than their means.
_FAINT_LEANS = 3.0


@dataclass(frozen=True, slots=True)
class AppearanceLimits:
    """How far a frame may lie outside of the range of the normal frames.

    Attributes:
        brightness_factor: so many times as bright as the brightest normal frame is over-exposed, so many
            times darker than the darkest is under-exposed. Two stops are a factor of about 1.9 in the
            grey values of a usual camera. 1000 switches it off.
        clipped_share: so much more of the frame, as a share, lies at one end of the scale than in any
            normal frame: over- or under-exposed. 1 switches it off.
        sharpness_share: less than this share of the least sharp normal frame's sharpness is blurred. 0
            switches it off.
        colour_shift: a channel's share in the sum of the three lies so far outside of the normal frames':
            wrong colour. 1 switches it off.
        colour_lean: only when every normal frame's red lies so far above its blue (or below), as a share of
            the sum, can exchanged channels be told; three times as much for their spreads and
            correlations. 1 switches it off.
    """

    brightness_factor: float = 1.5
    clipped_share: float = 0.1
    sharpness_share: float = 0.65
    colour_shift: float = 0.06
    colour_lean: float = 0.01

    def __post_init__(self) -> None:
        # Written as "not within", so that NaN is refused too.
        if not self.brightness_factor >= 1:
            raise ConfigError(
                f"brightness_factor {self.brightness_factor} is impossible; expected 1 or more; use 1.5"
            )
        for name in ("clipped_share", "sharpness_share", "colour_shift", "colour_lean"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} {getattr(self, name)} is impossible; expected a share, 0 to 1")


def appearance_fault(seen: Appearance, normal: FrameStatistics, limits: AppearanceLimits) -> str | None:
    """Say how a frame differs from all normal frames, as "kind: detail"; None: it does not."""
    return next(_faults(seen, normal, limits), None)


def _faults(seen: Appearance, normal: FrameStatistics, limits: AppearanceLimits) -> Iterator[str]:
    low, high = normal.lowest, normal.highest
    # Light first: a frame far too dark or bright has neither focus nor colours to speak of.
    if seen.brightness > high.brightness * limits.brightness_factor:
        yield (
            f"over-exposed: mean brightness {seen.brightness:.1%} of full scale, normal frames have "
            f"{low.brightness:.1%} to {high.brightness:.1%}; check exposure and light"
        )
    if seen.brightness * limits.brightness_factor < low.brightness:
        yield (
            f"under-exposed: mean brightness {seen.brightness:.1%} of full scale, normal frames have "
            f"{low.brightness:.1%} to {high.brightness:.1%}; check exposure and light"
        )
    if seen.clipped_bright > high.clipped_bright + limits.clipped_share:
        yield (
            f"over-exposed: {seen.clipped_bright:.1%} of the frame is white, normal frames have at most "
            f"{high.clipped_bright:.1%}; check exposure and light"
        )
    if seen.clipped_dark > high.clipped_dark + limits.clipped_share:
        yield (
            f"under-exposed: {seen.clipped_dark:.1%} of the frame is black, normal frames have at most "
            f"{high.clipped_dark:.1%}; check exposure and light"
        )
    if detail := _channels_fault(seen, normal):
        yield f"wrong channels: {detail}; set the camera's pixel format"
    if _is_exchanged(seen, normal, limits.colour_lean):
        yield (
            "wrong channel order: the frame looks normal with red and blue exchanged, and not as it is; "
            "expected BGR; set the camera's pixel format"
        )
    if detail := _shift(seen, normal, limits.colour_shift):
        yield f"wrong colour: {detail}; check white balance and light"
    if seen.sharpness < low.sharpness * limits.sharpness_share:
        yield (
            f"blurred: sharpness {seen.sharpness:.3f}, normal frames have {low.sharpness:.3f} to "
            f"{high.sharpness:.3f}; check focus, lens and motion"
        )


def _channels_fault(seen: Appearance, normal: FrameStatistics) -> str | None:
    # The pixels of a colour sensor are never exactly grey, whatever it looks at.
    if seen.colourfulness == 0 < normal.lowest.colourfulness:
        return "the frame is grey, expected three channels of colour"
    if normal.highest.colourfulness == 0 and seen.colourfulness > _GREY_COLOURFULNESS:
        return "the frame has colours, expected grey"
    return None


def _is_exchanged(seen: Appearance, normal: FrameStatistics, floor: float) -> bool:
    """Whether exchanging red and blue would make the frame normal in everything that it turns round."""
    low, high = normal.lowest, normal.highest
    leans = (
        (seen.mean_lean, low.red - high.blue, high.red - low.blue, floor),
        (seen.spread_lean, low.spread_lean, high.spread_lean, floor * _FAINT_LEANS),
        (seen.correlation_lean, low.correlation_lean, high.correlation_lean, floor * _FAINT_LEANS),
    )
    # A lean whose sign differs among normal frames, or that is faint, says nothing.
    telling = [
        (-value, least, most)
        for value, least, most, floor in leans
        if least * most > 0 and min(abs(least), abs(most)) >= floor
    ]
    return bool(telling) and all(_is_near(*lean) for lean in telling)


def _is_near(value: float, least: float, most: float) -> bool:
    """Whether a value lies on the same side of 0 as the bounds, from half the nearer to twice the farther."""
    nearer, farther = sorted((abs(least), abs(most)))
    return value * least > 0 and nearer / 2 <= abs(value) <= farther * 2


def _shift(seen: Appearance, normal: FrameStatistics, limit: float) -> str | None:
    low, high = normal.lowest, normal.highest
    for name, value, least, most in (
        ("red", seen.red, low.red, high.red),
        ("blue", seen.blue, low.blue, high.blue),
        # Of the three shares, which are 1 together.
        ("green", 1 - seen.red - seen.blue, 1 - high.red - high.blue, 1 - low.red - low.blue),
    ):
        if not least - limit <= value <= most + limit:
            return f"{name} is {value:.1%} of the light, normal frames have {least:.1%} to {most:.1%}"
    return None
