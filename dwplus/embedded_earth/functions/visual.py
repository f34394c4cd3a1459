"""Images for the eye, and small pixel functions: visualize, blend, random, interpolate, colour spaces."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.arithmetic import on_arrays, pair_bands
from dwplus.embedded_earth.functions.images import select_bands
from dwplus.embedded_earth.functions.registry import function
from dwplus.embedded_earth.grid import WGS84, Grid, Pixels
from dwplus.embedded_earth.pixel_types import DOUBLE, FLOAT, PixelType, cast, integer_type
from dwplus.embedded_earth.regular import expression, replaced
from dwplus.embedded_earth.values import Band, Image

#: The CSS names that palettes are written with most; others are given as hexadecimal digits.
_COLOURS = {"black": "000000", "white": "ffffff", "red": "ff0000", "green": "008000", "blue": "0000ff",
            "yellow": "ffff00", "cyan": "00ffff", "magenta": "ff00ff", "gray": "808080", "grey": "808080",
            "orange": "ffa500", "purple": "800080", "brown": "a52a2a", "lime": "00ff00", "navy": "000080"}
_BYTE = integer_type("uint8")


def _numbers(value: Any, count: int, default: float, name: str) -> list[float]:
    """One number per band from a number, a list, or a text of numbers with commas."""
    if value is None:
        return [default] * count
    if isinstance(value, str):
        value = value.split(",")
    listed = value if isinstance(value, list) else [value]
    try:
        numbers = [float(v) for v in listed]
    except (TypeError, ValueError):
        raise ComputeError(f"Image.visualize: '{name}' must be numbers.") from None
    if len(numbers) == 1:
        return numbers * count
    if len(numbers) != count:
        raise ComputeError(f"Image.visualize: '{name}' must have one value or {count}.")
    return numbers


def _palette(value: Any) -> np.ndarray:
    """Colours (n, 3), 0..255."""
    names = value.split(",") if isinstance(value, str) else list(value)
    return np.array([colour(name) for name in names], "f8")


def colour(name: Any) -> list[int]:
    """Red, green and blue, 0..255, of a colour by name or by three or six digits.

    Raises
    ------
    ComputeError
        Where it is none.
    """
    text = _COLOURS.get(str(name).strip().lower(), str(name).strip().lstrip("#"))
    if len(text) == 3:
        text = "".join(c * 2 for c in text)
    if not re.fullmatch(r"[0-9a-fA-F]{6}", text):
        raise ComputeError(f"Image.visualize: Invalid color '{str(name)[:20]}'.")
    return [int(text[i:i + 2], 16) for i in (0, 2, 4)]


@function("Image.visualize")
def visualize(context: Context, image: Image, bands: Any, gain: Any, bias: Any, low: Any, high: Any, gamma: Any,
              opacity: float | None, palette: Any, force: bool) -> Image:
    """Bands as bytes: stretched, with a palette for one band."""
    if isinstance(bands, str):
        bands = bands.split(",")
    default = image.bands[:3] if len(image.bands) >= 3 else image.bands[:1]
    chosen = select_bands(image, bands) if bands else list(default)
    if len(chosen) not in (1, 3):
        raise ComputeError(f"Image.visualize: 1 or 3 bands are needed; got {len(chosen)}.")
    if (gain is not None or bias is not None) and (low is not None or high is not None):
        raise ComputeError("Image.visualize: 'gain' and 'bias' do not go with 'min' and 'max'.")
    count = len(chosen)
    lows, highs = _numbers(low, count, 0, "min"), _numbers(high, count, 255, "max")
    if low is None and high is None:
        for i, band in enumerate(chosen):
            if band.type.precision != "int":
                lows[i], highs[i] = 0.0, 1.0
    gains, biases = _numbers(gain, count, 1, "gain"), _numbers(bias, count, 0, "bias")
    gammas = _numbers(gamma, count, 1, "gamma")
    colours = None if palette is None else _palette(palette)
    if colours is not None and count != 1:
        raise ComputeError("Image.visualize: Cannot provide a palette when visualizing more than one band.")

    def stretched(i: int, grid: Grid) -> tuple[np.ndarray, np.ndarray | None]:
        """Values 0..1."""
        values, valid = chosen[i].read(grid)
        numbers = values.astype("f8")
        if gain is not None or bias is not None:
            unit = (numbers * gains[i] + biases[i]) / 255
        else:
            unit = (numbers - lows[i]) / ((highs[i] - lows[i]) or 1)
        return np.clip(unit, 0, 1) ** (1 / gammas[i]), valid

    def read(grid: Grid, channel: int) -> Pixels:
        unit, valid = stretched(0 if count == 1 else channel, grid)
        if opacity is not None:
            valid = masks.tidied(masks.shares(valid, grid.shape) * np.float32(opacity))
        if colours is None:
            return cast(np.floor(unit * 255), _BYTE), valid
        at = unit * (len(colours) - 1)
        left = np.minimum(np.floor(at).astype(int), max(len(colours) - 2, 0))
        right = np.minimum(left + 1, len(colours) - 1)
        part = at - left
        return cast(np.rint(colours[left, channel] * (1 - part) + colours[right, channel] * part), _BYTE), valid

    base = chosen[0]
    names = ["vis-gray"] if count == 1 and colours is None and not force else ["vis-red", "vis-green", "vis-blue"]
    made = [Band(name, _BYTE, base.projection, base.extent, lambda grid, c=c: read(grid, c))  # type: ignore[misc]
            for c, name in enumerate(names)]
    return image.computed(made)


def over(top: Pixels, bottom: Pixels, to: PixelType) -> Pixels:
    """One layer over another (Porter and Duff's "over"), values of type ``to``; integers round."""
    (a, a_mask), (b, b_mask) = top, bottom
    if a_mask is None:
        return top
    if a_mask.dtype == bool:
        return np.where(a_mask, a, b), masks.chosen(a_mask, a_mask, b_mask)
    above = masks.shares(a_mask, a.shape)
    below = (1 - above) * masks.shares(b_mask, b.shape)
    total = above + below
    mixed = np.divide(above * a.astype("f8") + below * b, total, out=np.zeros(a.shape), where=total > 0)
    return cast(np.rint(mixed) if to.precision == "int" else mixed, to), masks.tidied(total)


@function("Image.blend")
def blend(context: Context, bottom: Image, top: Image) -> Image:
    """The top image over the bottom one, with the masks as opacity."""
    def of(low: Band, high: Band, name: str) -> Band:
        to = low.type.union(high.type)

        def read(grid: Grid) -> Pixels:
            (a, a_valid), (b, b_valid) = low.read(grid), high.read(grid)
            return over((cast(b, to), b_valid), (cast(a, to), a_valid), to)

        return Band(name, to, low.projection, low.extent, read)

    return bottom.computed([of(*bands) for bands in pair_bands(bottom, top, "Image.blend")])


def _either(name: str, take_first: Callable[[np.ndarray], np.ndarray]) -> None:
    @function(f"Image.{name}")
    def run(context: Context, left: Image, right: Image) -> Image:
        def of(one: Band, other: Band, band_name: str) -> Band:
            to = one.type.union(other.type)

            def read(grid: Grid) -> Pixels:
                (a, a_valid), (b, b_valid) = one.read(grid), other.read(grid)
                return np.where(take_first(a), cast(a, to), cast(b, to)), masks.both(a_valid, b_valid)

            return Band(band_name, to, one.projection, one.extent, read)

        return left.computed([of(*bands) for bands in pair_bands(left, right, f"Image.{name}")])


_either("first", lambda a: np.ones(a.shape, bool))
_either("firstNonZero", lambda a: a != 0)
_either("first_nonzero", lambda a: a != 0)


@function("Image.bitwiseNot", "Image.bitwise_not")
def bitwise_not(context: Context, image: Image) -> Image:
    def of(band: Band) -> Band:
        if band.type.precision != "int" or band.type.minimum is None or band.type.maximum is None:
            raise ComputeError("Image.bitwiseNot: the bands must be integers.")
        to = PixelType("int", -band.type.maximum - 1, -band.type.minimum - 1)
        if band.type.dimensions:
            return on_arrays(band, lambda array: ~array.astype("i8"), to)

        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            return cast(~values.astype("i8"), to), valid

        return band.derived(read, to)

    return image.with_bands(map(of, image.bands))


#: Characters of a band's name.
MAX_NAME = 10_000


@function("Image.regexpRename")
def regexp_rename(context: Context, image: Image, pattern: str, replacement: str, every: bool) -> Image:
    found = expression(pattern, where="Image.regexpRename")
    names = [replaced(band.id, found, replacement, every, MAX_NAME) for band in image.bands]
    return image.with_bands(band.named(name) for band, name in zip(image.bands, names, strict=True))


@function("Image.random")
def random_image(context: Context, seed: int, distribution: str) -> Image:
    """A number per pixel, from the pixel's place on the grid and the seed alone."""
    if distribution not in ("uniform", "normal"):
        raise ComputeError(f"Image.random: Unknown distribution '{distribution}'.")

    def uniform(grid: Grid, stream: int) -> np.ndarray:
        x, y = (np.ascontiguousarray(axis).view("u8") for axis in grid.centres())
        salt = np.uint64((seed * 2 + stream) & 0xFFFFFFFFFFFFFFFF)
        with np.errstate(over="ignore"):
            mixed = x * np.uint64(0x9E3779B97F4A7C15) ^ (y * np.uint64(0xC2B2AE3D27D4EB4F) + salt)
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
            mixed ^= mixed >> np.uint64(31)
        return (mixed >> np.uint64(11)).astype("f8") / 2.0**53

    def read(grid: Grid) -> Pixels:
        first = uniform(grid, 0)
        if distribution == "uniform":
            return first, None
        # Box and Muller's pair of uniforms gives a normal.
        return np.sqrt(-2 * np.log(1 - first)) * np.cos(2 * np.pi * uniform(grid, 1)), None

    return Image((Band("random", DOUBLE, WGS84, None, read),))


@function("Image.polynomial")
def polynomial(context: Context, image: Image, coefficients: list[float]) -> Image:
    def of(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = band.read(grid)
            return np.polynomial.polynomial.polyval(values.astype("f8"), np.array(coefficients, "f8")), valid

        return band.derived(read, DOUBLE)

    return image.with_bands(map(of, image.bands))


@function("Image.interpolate")
def interpolate(context: Context, image: Image, x: list[float], y: list[float], behaviour: str) -> Image:
    """Piecewise linear in the first band."""
    xs, ys = np.array(x, "f8"), np.array(y, "f8")
    if len(xs) < 2 or len(xs) != len(ys) or (np.diff(xs) <= 0).any():
        raise ComputeError("Image.interpolate: 'x' must be strictly increasing and as long as 'y'.")
    if behaviour not in ("extrapolate", "clamp", "mask", "input"):
        raise ComputeError(f"Image.interpolate: Unknown behavior '{behaviour}'.")
    band = image.bands[0]

    def read(grid: Grid) -> Pixels:
        values, valid = band.read(grid)
        numbers = values.astype("f8")
        out = np.interp(numbers, xs, ys)
        below, above = numbers < xs[0], numbers > xs[-1]
        if behaviour == "extrapolate":
            out = np.where(below, ys[0] + (numbers - xs[0]) * (ys[1] - ys[0]) / (xs[1] - xs[0]), out)
            out = np.where(above, ys[-1] + (numbers - xs[-1]) * (ys[-1] - ys[-2]) / (xs[-1] - xs[-2]), out)
        elif behaviour == "input":
            out = np.where(below | above, numbers, out)
        elif behaviour == "mask":
            valid = masks.both(valid, ~(below | above))
        return out, valid

    return image.computed([Band(band.id, DOUBLE, band.projection, band.extent, read)])


def _colour_space(name: str, names: tuple[str, str, str], run: Callable[[np.ndarray], np.ndarray]) -> None:
    @function(f"Image.{name}")
    def convert(context: Context, image: Image) -> Image:
        if len(image.bands) != 3:
            raise ComputeError(f"Image.{name}: 3 bands are needed; got {len(image.bands)}.")

        def of(index: int) -> Band:
            def read(grid: Grid) -> Pixels:
                layers, valid = [], None
                for band in image.bands:
                    values, seen = band.read(grid)
                    layers.append(values.astype("f8"))
                    valid = masks.both(valid, seen)
                return run(np.clip(np.stack(layers, -1), 0, 1))[..., index].astype("f4"), valid

            base = image.bands[0]
            return Band(names[index], FLOAT, base.projection, base.extent, read)

        return image.computed([of(i) for i in range(3)])


def _to_hsv(rgb: np.ndarray) -> np.ndarray:
    """Hue (share of the circle; 0 for grey), saturation and value of colours (..., 3) between 0 and 1."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    value, spread = rgb.max(-1), np.ptp(rgb, axis=-1)
    unit = np.where(spread > 0, spread, 1)
    sixth = np.select([value == red, value == green], [(green - blue) / unit, 2 + (blue - red) / unit],
                      4 + (red - green) / unit)
    return np.stack([np.where(spread > 0, sixth / 6 % 1, 0), spread / np.where(value > 0, value, 1), value], -1)


def _to_rgb(hsv: np.ndarray) -> np.ndarray:
    """Red, green and blue of hue, saturation and value (..., 3), all between 0 and 1."""
    hue, saturation, value = np.moveaxis(hsv, -1, 0)
    # Each primary is full over a third of the circle and falls to its least within a sixth on both sides.
    turned = (np.array([5.0, 3.0, 1.0]) + 6 * hue[..., None]) % 6
    away = np.clip(np.minimum(turned, 4 - turned), 0, 1)
    return np.asarray(value[..., None] * (1 - saturation[..., None] * away))


_colour_space("rgbToHsv", ("hue", "saturation", "value"), _to_hsv)
_colour_space("hsvToRgb", ("red", "green", "blue"), _to_rgb)
