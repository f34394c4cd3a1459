"""Masks: how much of every pixel holds data.

A mask is None (all of every pixel), a boolean array (all or nothing), or an array of float32 shares 0..1 where some
pixel is there in part. The first two are what nearly every band has, and cost what they always did; shares arise from
interpolation and pyramids at the edges of data, from clipping, and from masks that are set to fractions. A pixel with
any share above 0 counts as valid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Mask = np.ndarray | None
#: Shares as near to 0 or 1 as this are rounding.
NOISE = 1e-5


def seen(mask: np.ndarray) -> np.ndarray:
    """Pixels that hold any data (h, w), boolean."""
    return mask if mask.dtype == bool else mask > 0


def shares(mask: Mask, shape: tuple[int, ...]) -> np.ndarray:
    """Share 0..1 of every pixel, float32."""
    return np.ones(shape, "f4") if mask is None else mask.astype("f4")


def tidied(share: np.ndarray) -> Mask:
    """The plainest mask that says the same as shares; they are cut to 0..1, what is no number is 0."""
    if share.dtype == bool:
        return None if share.all() else share
    some, full = share > NOISE, share >= 1 - NOISE
    if np.array_equal(some, full):
        return None if full.all() else full
    out = np.where(some, share, 0).astype("f4")
    out[full] = 1
    return out


def both(one: Mask, other: Mask) -> Mask:
    """What two masks have in common: the smaller share."""
    if one is None:
        return other
    if other is None:
        return one
    return one & other if one.dtype == other.dtype == bool else np.minimum(one, other)


def either(one: Mask, other: Mask) -> Mask:
    """What is in one mask or the other: the larger share."""
    if one is None or other is None:
        return None
    return one | other if one.dtype == other.dtype == bool else np.maximum(one, other)


def chosen(take: np.ndarray, one: Mask, other: Mask) -> Mask:
    """One mask where ``take`` holds, elsewhere the other."""
    if one is None and other is None:
        return None
    if all(mask is None or mask.dtype == bool for mask in (one, other)):
        return np.where(take, True if one is None else one, True if other is None else other)
    return tidied(np.where(take, np.float32(1) if one is None else one, np.float32(1) if other is None else other))


def assembled(shape: tuple[int, ...]) -> tuple[Callable[[Any, Mask], None], Callable[[], np.ndarray]]:
    """A mask put together from parts, boolean as long as all of them are.

    Returns
    -------
    (put, get): ``put(index, mask)`` sets a part, ``get()`` gives the whole; what is never put is valid.
    """
    kept = [np.ones(shape, bool)]

    def put(index: Any, mask: Mask) -> None:
        if mask is None:
            return
        if mask.dtype != bool and kept[0].dtype == bool:
            kept[0] = kept[0].astype("f4")
        kept[0][index] = mask

    return put, lambda: kept[0]
