"""What a slope does to the view of a radar and of a camera, in closed form.

A slope is a gradient: metres of rise per metre. Of a radar's view it has two parts, ``rise`` in the look direction
(positive: the ground rises away from the sensor, so its face is turned to it) and ``side`` along the flight.
"""

from __future__ import annotations

import functools
import math

import numpy as np

#: What a foreshortened slope may gain at most, dB. Where ranges fold over (layover) ground of several places adds up;
#: by hand, as bright as that.
MOST_GAIN_DB = 10.0
#: What lies in shadow returns nothing: so far below, dB, that only the noise floor is left.
SHADOW_DB = -60.0
#: Kept slopes are hundredths, cut at 1.27 (52 degrees).
SLOPE_UNIT = 100
#: Steps of the tables: slopes by hundredths up to +-1.8 (both parts at their most), incidence angles by quarters.
RISE_STEPS, ANGLE_STEP = 182, 0.25
#: What a slope adds to a surface's size, sqrt(1 + rise^2 + side^2), is kept in steps of 1/120 over 1.
STRETCH_UNIT = 120
#: Share of the light that comes from all of the sky, at the top of the atmosphere; what is left of the slopes' effect
#: in surface reflectance, which Sen2Cor corrects by a terrain model. Both by hand.
DIFFUSE, LEFT_IN_SURFACE = 0.25, 0.4


def steepness(east: np.ndarray | float, north: np.ndarray | float) -> np.ndarray:
    """Slope in degrees of a gradient."""
    return np.asarray(np.degrees(np.arctan(np.hypot(east, north))))


def aspect(east: np.ndarray | float, north: np.ndarray | float) -> np.ndarray:
    """Where a slope faces: the direction downhill, degrees clockwise from grid north, 0..360 (as Earth Engine's)."""
    return np.asarray(np.degrees(np.arctan2(-np.asarray(east), -np.asarray(north))) % 360)


def local_incidence(theta: np.ndarray | float, rise: np.ndarray | float, side: np.ndarray | float = 0.0) -> np.ndarray:
    """Angle between the ray and the ground's normal, degrees; above 90 the ground is in its own shadow.

    ``theta`` is the incidence angle on the ellipsoid, degrees. The normal is (-rise, -side, 1), the ray
    (sin, 0, -cos) of theta.
    """
    angle = np.radians(theta)
    cosine = (np.sin(angle) * rise + np.cos(angle)) / np.sqrt(1 + np.square(rise) + np.square(side))
    found: np.ndarray = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return found


def area_gain(theta: np.ndarray | float, rise: np.ndarray | float, side: np.ndarray | float = 0.0) -> np.ndarray:
    """Ground that falls into a cell of slant range, over what flat ground has: sin(theta) / cos(psi), psi between the
    ground's normal and that of the slant plane (Ulander 1996). Not positive where ranges fold over (layover).

    Sigma nought as Earth Engine delivers it is normalised by the ellipsoid's area, and so carries this factor.
    """
    angle = np.radians(theta)
    stretch = np.sqrt(1 + np.square(rise) + np.square(side))
    with np.errstate(divide="ignore"):
        found: np.ndarray = stretch / (1 - rise / np.tan(angle))
    return found


def in_layover(theta: np.ndarray | float, rise: np.ndarray | float) -> np.ndarray:
    """Where the ground is at least as steep as the wave front: rise >= tan(theta)."""
    return np.asarray(rise >= np.tan(np.radians(theta)))


def in_shadow(theta: np.ndarray | float, rise: np.ndarray | float) -> np.ndarray:
    """Where the ground falls away steeper than the ray: -rise >= 1 / tan(theta)."""
    return np.asarray(-np.asarray(rise) >= 1 / np.tan(np.radians(theta)))


def illumination(east: np.ndarray | float, north: np.ndarray | float, zenith: float, azimuth: float) -> np.ndarray:
    """Direct sunlight on a slope over that on flat ground, cos(i) / cos(zenith), 0 where the sun is behind it.

    ``east`` and ``north`` are the gradient, the sun's angles are degrees (azimuth clockwise from north).
    """
    towards = math.tan(math.radians(zenith)) * (np.asarray(east) * math.sin(math.radians(azimuth))
                                                + np.asarray(north) * math.cos(math.radians(azimuth)))
    found: np.ndarray = np.maximum((1 - towards) / np.sqrt(1 + np.square(east) + np.square(north)), 0)
    return found


# ---- tables: a pixel costs two looks-up ------------------------------------------------------------------------------

@functools.cache
def gain_table(near: float, far: float) -> np.ndarray:
    """:func:`area_gain` without its ``stretch``, in dB by (incidence angle from ``near`` by quarters, rise): float32.

    Cut at :data:`MOST_GAIN_DB`, which layover has as well; :data:`SHADOW_DB` in shadow.
    """
    theta = np.arange(near, far + 2 * ANGLE_STEP, ANGLE_STEP)[:, None] + ANGLE_STEP / 2
    rise = np.arange(-RISE_STEPS, RISE_STEPS + 1)[None, :] / SLOPE_UNIT
    front = 1 - rise / np.tan(np.radians(theta))
    gain = np.where(front > 0, -10 * np.log10(np.maximum(front, 1e-9)), MOST_GAIN_DB)
    gain = np.where(in_shadow(theta, rise), SHADOW_DB, np.minimum(gain, MOST_GAIN_DB))
    table: np.ndarray = gain.astype(np.float32)
    return table


@functools.cache
def lean_table() -> np.ndarray:
    """Degrees by which a rise turns the ground towards the sensor: float32 (2 * RISE_STEPS + 1)."""
    return np.degrees(np.arctan(np.arange(-RISE_STEPS, RISE_STEPS + 1) / SLOPE_UNIT)).astype(np.float32)


@functools.cache
def stretch_tables() -> tuple[np.ndarray, np.ndarray]:
    """Of kept stretches: dB that they add, and the cosine of the slope, float32 (256) each."""
    stretch = 1 + np.arange(256) / STRETCH_UNIT
    return (10 * np.log10(stretch)).astype(np.float32), (1 / stretch).astype(np.float32)
