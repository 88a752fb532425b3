"""Light and camera of the pretend line: from a surface to a picture."""

from dataclasses import dataclass

import numpy as np

from dtgd_edge.pretend.surface import Field, Pose, Surface, part_coordinates, pixel_grid, plate_distance

_METAL_BGR = np.array([1.02, 1.0, 0.965], np.float32)
_GROUND_BGR = np.array([58.0, 49.0, 44.0], np.float32)
_CLAMP_BGR = np.array([66.0, 66.0, 65.0], np.float32)
# A coolant film swallows blue first.
_STAIN_BGR = np.array([0.62, 0.48, 0.34], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything about one shot that is not the part itself.

    Attributes:
        pose: where the part lies.
        light: float32 [3], unit vector towards the lamp; x right, y down, z towards the camera.
        level: grey value of clean flat metal.
        warmth: shift from blue to red, about 0.
        slope_x, slope_y: relative change of the light from the centre to the border.
        vignette: relative loss of light at the middle of each border.
        blur_px: standard deviation of the lens blur.
        noise: sensor noise in grey values at mid grey.
    """

    pose: Pose
    light: Field
    level: float
    warmth: float
    slope_x: float
    slope_y: float
    vignette: float
    blur_px: float
    noise: float


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw one shot: every value varies as little as it does between two parts of a real line."""
    azimuth, elevation = np.deg2rad(rng.normal(-128, 5)), np.deg2rad(rng.normal(52, 1.5))
    across = np.cos(elevation)
    return Scene(
        pose=Pose(rng.uniform(-0.02, 0.02), rng.uniform(-0.02, 0.02), np.deg2rad(rng.uniform(-2, 2))),
        light=np.array([across * np.cos(azimuth), across * np.sin(azimuth), np.sin(elevation)], np.float32),
        level=rng.normal(154, 4),
        warmth=rng.normal(0, 0.008),
        slope_x=rng.normal(-0.04, 0.015),
        slope_y=rng.normal(-0.04, 0.015),
        vignette=rng.uniform(0.06, 0.12),
        blur_px=rng.uniform(0.45, 0.65),
        noise=rng.uniform(1.6, 2.4),
    )


def photographed(scene: Scene, surface: Surface, ground: Field) -> Field:
    """Light a surface and take its picture through the lens, without sensor noise.

    Args:
        ground: float32 [S, S, 3], what is seen beside the part, as returned by fixture().

    Returns:
        float32 [S, S, 3], BGR, in [0, 255].
    """
    import cv2

    x, y = pixel_grid(len(surface.u))
    fall_off = 1 - np.float32(scene.vignette) * (x * x + y * y)
    fall_off += np.float32(scene.slope_x) * x + np.float32(scene.slope_y) * y
    grey = _metal_grey(scene, surface) * (1 - surface.hole) + surface.hole * _hole_grey(scene, surface)
    grey *= surface.plate * fall_off
    beside = (1 - surface.plate) * fall_off
    tint = _METAL_BGR * np.array([1 - scene.warmth, 1, 1 + scene.warmth], np.float32)
    is_stained = bool(surface.stain.any())
    picture = np.empty((*grey.shape, 3), np.float32)
    # One colour after the other: numpy is slow along a last axis of three.
    for channel in range(3):
        metal = grey * tint[channel]
        if is_stained:
            metal *= 1 - surface.stain * _STAIN_BGR[channel]
        picture[..., channel] = metal + beside * ground[..., channel]
    blurred = cv2.GaussianBlur(picture, (0, 0), scene.blur_px)
    return np.clip(np.asarray(blurred, np.float32), 0, 255)


def fixture(scene: Scene, size: int) -> Field:
    """Draw what lies under and beside the part: a dark plate, two clamps, and the part's soft shadow.

    Returns:
        float32 [S, S, 3], BGR grey values.
    """
    x, y = pixel_grid(size)
    shift = np.float32(0.05)
    u, v = part_coordinates(x + scene.light[0] * shift, y + scene.light[1] * shift, scene.pose)
    shadow = 1 - np.float32(0.62) * np.clip(1 - plate_distance(u, v) * np.float32(1 / 0.09), 0, 1)
    groove = 1 + np.float32(0.05) * np.sin(y[:, :1] * np.float32(2 * np.pi / 0.085))
    clamp = np.maximum(np.float32(0.81) - np.abs(x), np.abs(y) - np.float32(0.26))
    on_clamp = np.clip(np.float32(0.5) - clamp * np.float32(size / 2), 0, 1)
    # The upper edge of a clamp catches the lamp, the lower one is turned away from it.
    bevel = np.clip(1 - np.abs(np.abs(y[:, :1]) - np.float32(0.245)) * np.float32(1 / 0.015), 0, 1)
    clamp_light = shadow * on_clamp * (1 - bevel * np.sign(y[:, :1]) * np.float32(0.6))
    plate_light = shadow * (1 - on_clamp) * groove
    ground = np.empty((size, size, 3), np.float32)
    for channel in range(3):
        ground[..., channel] = plate_light * _GROUND_BGR[channel] + clamp_light * _CLAMP_BGR[channel]
    return ground


def sensed(rng: np.random.Generator, picture: Field, noise: float) -> Field:
    """Add shot and read noise of about `noise` grey values at mid grey.

    Returns:
        float32 [S, S, 3], in [0, 255].
    """
    spread = np.float32(noise) * np.sqrt(np.float32(0.25) + picture * np.float32(0.75 / 128))
    noisy = picture + spread * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(noisy, 0, 255), np.float32)


def _metal_grey(scene: Scene, surface: Surface) -> Field:
    """Shade bare metal: diffuse share, broad highlight, and the turned face's two-winged sheen."""
    import cv2

    per_unit = len(surface.u) / 2
    slope_x = cv2.Sobel(surface.height, cv2.CV_32F, 1, 0, ksize=3, scale=per_unit / 8)
    slope_y = cv2.Sobel(surface.height, cv2.CV_32F, 0, 1, ksize=3, scale=per_unit / 8)
    light_x, light_y, light_z = scene.light
    facing = (light_z - slope_x * light_x - slope_y * light_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    diffuse = np.clip(facing / light_z, 0, None)

    # The slope that mirrors the lamp into the camera.
    mirror_x, mirror_y = light_x / (1 + light_z), light_y / (1 + light_z)
    off = (slope_x + mirror_x) ** 2 + (slope_y + mirror_y) ** 2
    highlight = np.exp(off * np.float32(-1 / 0.09))

    # Turning leaves circular grooves, which spread light across themselves: bright where they run across it.
    along = (surface.v * light_x - surface.u * light_y) ** 2
    along /= (surface.u**2 + surface.v**2 + np.float32(1e-4)) * (light_x**2 + light_y**2)
    sheen = surface.boss * np.exp(along * np.float32(-1 / 0.16))

    shade = 0.36 + 0.46 * diffuse + 0.55 * highlight + 0.26 * sheen
    return np.asarray(scene.level * shade * surface.reflectance, np.float32)


def _hole_grey(scene: Scene, surface: Surface) -> Field:
    """Shade the depth of the holes: dark, and lit on the wall that faces the lamp."""
    deep = np.clip(-surface.clearance * np.float32(1 / 0.16), 0, 1)
    # Only the bore is wide enough to show a lit and a dark side.
    across = surface.boss * (surface.u * scene.light[0] + surface.v * scene.light[1])
    lit = (np.float32(0.45) - np.float32(1.5) * across) * (1 - deep)
    return np.asarray(scene.level * (0.07 + 0.30 * lit), np.float32)
