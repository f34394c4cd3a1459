"""Filters of speckle, on linear power: local means and variances over a square window, in pixels of the request.

Masked pixels take no part in a window and stay masked. Sources: Lee 1980, doi:10.1109/TPAMI.1980.4766994; Lee 1981,
doi:10.1016/S0146-664X(81)80018-4 (refined); Lopes et al. 1990, doi:10.1109/IGARSS.1990.689027 (gamma MAP); Quegan & Yu
2001, doi:10.1109/36.964973 (multitemporal).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import ee

#: Rows and columns of the refined filter's window.
REFINED = 7


def _mean(power: ee.Image, kernel: ee.Kernel) -> ee.Image:
    """Mean by the kernel's weights; bands by name as ``power``'s."""
    found: ee.Image = power.reduceNeighborhood(ee.Reducer.mean(), kernel).rename(power.bandNames())
    return found


def _statistics(power: ee.Image, kernel: ee.Kernel) -> tuple[ee.Image, ee.Image]:
    """Mean, and squared coefficient of variation, in a window. Both by means: of other reducers it is not said how
    they take a kernel's weights."""
    mean = _mean(power, kernel)
    square = mean.multiply(mean)
    return mean, _mean(power.multiply(power), kernel).subtract(square).divide(square).max(0)


def _shrunk(power: ee.Image, mean: ee.Image, variation: ee.Image, enl: float) -> ee.Image:
    """Lee's estimate: between mean and pixel by the share of the variance that is not speckle."""
    noise = 1 / enl
    weight = variation.subtract(noise).divide(variation).divide(1 + noise).max(0)
    found: ee.Image = mean.add(power.subtract(mean).multiply(weight))
    return found


def boxcar(power: ee.Image, window: int, enl: float) -> ee.Image:
    """The mean of the window; ``enl`` does not matter."""
    return _mean(power, ee.Kernel.square(window // 2))


def lee(power: ee.Image, window: int, enl: float) -> ee.Image:
    """Local linear minimum mean square error."""
    mean, variation = _statistics(power, ee.Kernel.square(window // 2))
    return _shrunk(power, mean, variation, enl)


def gamma_map(power: ee.Image, window: int, enl: float) -> ee.Image:
    """Maximum a posteriori for gamma distributed ground: the mean where there is nothing but speckle, the pixel where
    there is far more."""
    mean, variation = _statistics(power, ee.Kernel.square(window // 2))
    noise = 1 / enl
    # Below the noise, where the mean is taken anyway, all stays finite.
    alpha = variation.subtract(noise).max(noise / 1000).pow(-1).multiply(1 + noise)
    free = alpha.subtract(enl + 1)
    root = mean.multiply(mean).multiply(free).multiply(free).add(
        alpha.multiply(4 * enl).multiply(mean).multiply(power)).sqrt()
    between = free.multiply(mean).add(root).divide(alpha.multiply(2))
    found: ee.Image = between.where(variation.lte(noise), mean).where(variation.gte(2 * noise), power)
    return found


def refined_lee(power: ee.Image, window: int, enl: float) -> ee.Image:
    """Lee's estimate over half of a 7 x 7 window: the one, along the strongest of four edges, whose mean is nearer that
    of the middle's 3 x 3. The gradients are differences of the halves' means, not of nine small windows as in the
    paper.

    ``window`` is 7 whatever is asked.
    """
    middle = _mean(power, ee.Kernel.square(1))
    chosen = []
    for halves in _HALVES:
        (first, spread), (second, other) = (
            _statistics(power, ee.Kernel.fixed(REFINED, REFINED, half)) for half in halves)
        nearer = first.subtract(middle).abs().lte(second.subtract(middle).abs())
        chosen.append((first.subtract(second).abs(), second.where(nearer, first), other.where(nearer, spread)))
    strength, mean, variation = chosen[0]
    for edge, its_mean, its_variation in chosen[1:]:
        more = edge.gt(strength)
        mean, variation, strength = mean.where(more, its_mean), variation.where(more, its_variation), edge.max(strength)
    return _shrunk(power, mean, variation, enl)


def multitemporal(power: ee.Image, others: Sequence[ee.Image], window: int) -> ee.Image:
    """One date with the speckle of several averaged: its local mean times the mean, over all dates that are not masked
    in a pixel, of their ratios to their own local means. What changed between the dates stays the date's own where it
    is as large as the window. Pixels that interpolation left partly masked count by their share.

    Parameters
    ----------
    power : the date wanted. others : of the same geometry and bands.
    """
    kernel = ee.Kernel.square(window // 2)
    ratios = [one.divide(_mean(one, kernel)) for one in (power, *others)]
    found: ee.Image = _mean(power, kernel).multiply(ee.ImageCollection(ratios).mean())
    return found


def _half(angle: float) -> list[list[int]]:
    """Weights (7, 7) of the half window on the far side of a line through the middle, which belongs to it."""
    reach = REFINED // 2
    x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return [[int(column * x + row * y > -1e-9) for column in range(-reach, reach + 1)]
            for row in range(-reach, reach + 1)]


#: Both halves for edges of four directions.
_HALVES = [(_half(angle), _half(angle + 180)) for angle in (0, 45, 90, 135)]

FILTERS: dict[str, Callable[[ee.Image, int, float], ee.Image]] = {
    "boxcar": boxcar, "lee": lee, "refined-lee": refined_lee, "gamma-map": gamma_map}
