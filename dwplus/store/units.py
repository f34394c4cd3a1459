"""What the numbers in files mean. Their range decides; where it fits nothing that is said of them, the import stops.

The traps: reflectance from 0 to 1 is no digital number (as one it becomes all zeros), linear power is no dB, 8-bit grey
values are neither, and hundredths of dB are not dB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dwplus.errors import InputError
from dwplus.store.layout import S1_NODATA, S1_SCALE, S2_NODATA
from dwplus.store.legend import DECIBEL, DISPLAY, REFLECTANCE

LINEAR = "linear"
#: Backscatter of land and water lies well within these, dB; a whole image's median lies below zero.
LEAST_DB, LARGEST_DB = -80.0, 35.0
#: Reflectance of bright clouds and snow is not much above 1; values as fractions lie below this.
LARGEST_FRACTION = 2.5
#: Grey values of 8 bits.
LARGEST_GREY = 255.0
#: Values of an image that are looked at.
LOOKED_AT = 1 << 16


@dataclass(frozen=True)
class Range:
    """What values an image holds: least, median, 99th percentile and largest of those that are finite and not 0, share
    of zeros, share of values that are not finite."""

    least: float
    median: float
    p99: float
    largest: float
    zeros: float
    odd: float
    dtype: str
    where: str

    @property
    def words(self) -> str:
        return f"{self.least:g} to {self.largest:g} ({self.dtype}, {self.where})"


def range_of(values: np.ndarray, where: str) -> Range:
    """The range of an image, (band, y, x), from a regular sample of its pixels."""
    flat = values.reshape(-1)
    sample = flat[::max(1, flat.size // LOOKED_AT)].astype("float64")
    finite = np.isfinite(sample)
    good = sample[finite & (sample != 0)]
    if not good.size:
        good = np.zeros(1)
    return Range(float(good.min()), float(np.median(good)), float(np.percentile(good, 99)), float(good.max()),
                 float((sample[finite] == 0).mean()) if finite.any() else 0.0, float(1 - finite.mean()),
                 str(values.dtype), where)


def joined(ranges: Sequence[Range]) -> Range:
    """The range of several images; ``where`` is that of the largest value."""
    top = max(ranges, key=lambda one: one.largest)
    return Range(min(r.least for r in ranges), float(np.median([r.median for r in ranges])),
                 float(np.median([r.p99 for r in ranges])), top.largest, float(np.mean([r.zeros for r in ranges])),
                 float(np.mean([r.odd for r in ranges])), top.dtype, top.where)


def optical_scale(found: Range, unit: str, scale: float | None) -> float:
    """The factor from values of the files to those of a store: DN (reflectance x 10000), or grey values 0..255.

    Parameters
    ----------
    scale : what the user says; None = the range decides.

    Raises
    ------
    InputError
        Where the range fits no reading that is sure.
    """
    if found.largest == 0:
        raise InputError(f"optical {found.where}: holds nothing but zeros; download the set again")
    if scale is not None:
        top = found.p99 * scale
        if unit == REFLECTANCE and not 100 <= top <= 65_534:
            raise InputError(f"--scale {scale:g}: makes DN of up to {top:g} of optical values {found.words}; they must "
                             "become reflectance x 10000, 100 to 65534")
        if unit == DISPLAY and not 1 <= found.largest * scale <= LARGEST_GREY + 0.5:
            raise InputError(f"--scale {scale:g}: makes grey values of up to {found.largest * scale:g} of optical "
                             f"values {found.words}; they must become 1 to 255")
        return scale
    if unit == DISPLAY:
        if found.largest > LARGEST_GREY or found.least < 0 or found.largest <= 1:
            raise InputError(f"optical values {found.words}: are no grey values of 8 bits, as this set's are taken to "
                             "be; give --scale, the factor that makes them 0 to 255")
        return 1.0
    if found.p99 <= LARGEST_FRACTION:
        raise InputError(f"optical values {found.words}: are no digital numbers, as which they would all become 0; "
                         "give --scale 10000 where they are reflectance from 0 to 1, or the factor that makes them "
                         "reflectance x 10000")
    if found.p99 <= LARGEST_GREY:
        raise InputError(f"optical values {found.words}: are too small for digital numbers (reflectance x 10000); give "
                         "--scale, the factor that makes them so")
    if found.largest > 65_534:
        raise InputError(f"optical values {found.words}: are too large for digital numbers (reflectance x 10000); give "
                         "--scale, the factor that makes them so")
    return 1.0


def radar_unit(found: Range, published: str | None, told: str | None) -> str:
    """The unit of radar files: ``dB``, ``linear`` or ``display``.

    Parameters
    ----------
    published : what is known of the set; None = nothing. told : what the user says; None = the range decides.

    Raises
    ------
    InputError
        Where the range contradicts what is said, or fits no reading that is sure.
    """
    looks_db = found.median < 0 and found.least >= LEAST_DB and found.largest <= LARGEST_DB
    looks_grey = found.least >= 0 and found.largest <= LARGEST_GREY
    if told is not None:
        fits = {DECIBEL: looks_db, LINEAR: found.least >= 0, DISPLAY: looks_grey}[told]
        if not fits:
            right = {DECIBEL: "a median below 0 and values of -80 to 35", LINEAR: "no negative value",
                     DISPLAY: "values of 0 to 255"}[told]
            raise InputError(f"--s1-unit {told}: radar values are {found.words}, and {told} has {right}; say the unit "
                             "they have")
        if told == DISPLAY and published == DECIBEL:
            raise InputError("--s1-unit display: radar of this set is published in dB; say dB or linear")
        return told
    if published == DISPLAY:
        if not looks_grey:
            raise InputError(f"radar values {found.words}: are no grey values of 8 bits, as this set's are taken to "
                             "be; say --s1-unit dB or linear where they are calibrated")
        return DISPLAY
    if looks_db:
        return DECIBEL
    if found.least >= 0:
        more = "" if published == DECIBEL else ", or display for grey values"
        raise InputError(f"radar values {found.words}: are no dB, for none is negative; say --s1-unit linear to have "
                         f"linear power turned into dB{more}")
    raise InputError(f"radar values {found.words}: are no dB, which lie between -80 and 35; turn them into dB first, "
                     "and where a value such as -9999 marks no data, name it in the files (nodata)")


def no_optical(values: np.ndarray, scale: float, unit: str) -> str:
    """Why optical values of a tile are none, in a clause; empty where they are some.

    A set's range is that of some of its files: one that is of another kind is found here.
    """
    if not values.any():
        return "every optical pixel is 0"
    top = float(np.fmax.reduce(values, axis=None)) * scale
    if not math.isfinite(top):
        return "no optical pixel is finite"
    if unit == REFLECTANCE and top <= LARGEST_FRACTION:
        return f"optical values go up to {top:g}, where those of the set are digital numbers"
    if unit == DISPLAY and values.dtype.kind == "f" and top <= 1:
        return f"optical values go up to {top:g}, where those of the set are grey values up to 255"
    return ""


def no_radar(values: np.ndarray, unit: str) -> str:
    """Why radar values of a tile are none, in a clause; empty where they are some."""
    if not values.any():
        return "every radar pixel is 0"
    if values.dtype.kind != "f":
        return ""
    finite = np.isfinite(values)
    if not finite.any():
        return "no radar pixel is finite"
    least = float(np.min(values, where=finite, initial=np.inf))
    if unit == DECIBEL and least >= 0:
        return f"no radar value is below 0 (least {least:g}), where those of the set are dB"
    if unit == LINEAR and least < 0:
        return f"radar values go down to {least:g}, where those of the set are linear power"
    return ""


def stored_optical(values: np.ndarray, scale: float, unit: str) -> np.ndarray:
    """Optical values as a store has them: uint16, 65535 = no data (of reflectance also where every band is 0)."""
    if values.dtype.kind == "u" and scale == 1.0:
        out = (values if values.dtype.itemsize == 1 else np.minimum(values, S2_NODATA - 1)).astype("uint16")
        nothing = None
    else:
        nothing = ~np.isfinite(values).all(axis=0) if values.dtype.kind == "f" else None
        scaled = np.nan_to_num(values.astype("float32") * np.float32(scale)).round().clip(0, S2_NODATA - 1)
        out = scaled.astype("uint16")
    if unit == REFLECTANCE:
        empty = ~out.any(axis=0)
        nothing = empty if nothing is None else nothing | empty
    if nothing is not None:
        out[:, nothing] = S2_NODATA
    return out


def decibels(s1: np.ndarray) -> np.ndarray:
    """Backscatter as a store has it, in dB as float32, NaN = no data; of any shape. Floats are dB already, and unsigned
    integers are grey values: both stay as they are."""
    if s1.dtype.kind != "i":
        return s1
    out: np.ndarray = np.where(s1 == S1_NODATA, np.nan, s1 * np.float32(S1_SCALE)).astype("float32")
    return out


def finite_radar(values: np.ndarray, unit: str) -> np.ndarray:
    """Radar values of a file as float32, linear power made dB; NaN where they are not finite, and at a power of 0."""
    found = values.astype("float32")
    if unit == LINEAR:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = 10 * np.log10(found)
    out: np.ndarray = np.where(np.isfinite(found), found, np.float32(np.nan))
    return out


def stored_radar(values: np.ndarray, unit: str) -> np.ndarray:
    """Radar values as a store has them: int16 hundredths (of dB, or of a grey value), -32768 = no data.

    Linear power becomes dB; what is not finite, and power of 0, has no data.
    """
    if unit == DISPLAY and values.dtype == np.uint8:
        return values.astype("int16") * np.int16(round(1 / S1_SCALE))
    found = finite_radar(values, unit)
    good = np.isfinite(found)
    hundredths = (np.where(good, found, 0) / np.float32(S1_SCALE)).round().clip(-32767, 32767)
    return np.where(good, hundredths, S1_NODATA).astype("int16")
