"""Rectangles of the lattice, what the land holds on one, and a store of those used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

V = TypeVar("V")


class Cache(Generic[V]):
    """A thread-safe store of the most recently used values, bounded by the pixels they hold."""

    def __init__(self, pixels: int) -> None:
        self._room = pixels
        self._items: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, matches: Callable[[Any], bool]) -> V | None:
        """The latest used value whose key satisfies ``matches``."""
        with self._lock:
            for key in reversed(self._items):
                if matches(key):
                    self._items.move_to_end(key)
                    return self._items[key][0]
        return None

    def get(self, key: Hashable, pixels: int, make: Callable[[], V]) -> V:
        """The value of a key; made outside the lock, so two threads may do the same work once.

        The newest value stays even where it alone exceeds the bound: the next band of the same window needs it.
        """
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key][0]
        value = make()
        with self._lock:
            if key not in self._items:
                self._items[key] = value, pixels
                self._room -= pixels
            while self._room < 0 and len(self._items) > 1:
                _, (_, freed) = self._items.popitem(last=False)
                self._room += freed
        return value


@dataclass(frozen=True)
class Box:
    """A rectangle of lattice pixels."""

    row: int
    col: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def grow(self, margin: int) -> Box:
        return Box(self.row - margin, self.col - margin, self.height + 2 * margin, self.width + 2 * margin)

    def contains(self, other: Box) -> bool:
        return (self.row <= other.row and self.col <= other.col
                and self.row + self.height >= other.row + other.height
                and self.col + self.width >= other.col + other.width)

    def slices(self, inner: Box) -> tuple[slice, slice]:
        """Where ``inner`` lies within this box."""
        r, c = inner.row - self.row, inner.col - self.col
        return slice(r, r + inner.height), slice(c, c + inner.width)


@dataclass(frozen=True)
class Slope:
    """The gradient of the ground (all arrays (height, width)): metres per metre x SLOPE_UNIT, int8, and what it adds to
    a surface's size x STRETCH_UNIT, uint8."""

    east: np.ndarray
    north: np.ndarray
    stretch: np.ndarray

    @staticmethod
    def empty(shape: tuple[int, int]) -> Slope:
        """Room for a patch."""
        return Slope(np.empty(shape, np.int8), np.empty(shape, np.int8), np.empty(shape, np.uint8))


@dataclass(frozen=True)
class Patch:
    """What does not change with time on a box of the lattice (all arrays (height, width)).

    Kept in small integers: fresh memory costs more than the arithmetic here.
    """

    box: Box
    elevation: np.ndarray  # standard deviations x FIELD_UNIT, int16; so are the next four
    forest: np.ndarray
    farm: np.ndarray
    town: np.ndarray
    open: np.ndarray
    river: np.ndarray  # distance from the thread of a river in units of the noise x RIVER_UNIT, int16
    ice: np.ndarray | None  # permanent ice, bool
    road: np.ndarray  # bool
    turn: np.ndarray  # parcel's own number, uint8
    felled: np.ndarray  # when the wood was or will be felled, (year - 2005) x YEAR_UNIT, int16
    slope: Slope | None  # None where the site has no hills
    state: np.ndarray  # vigor * BLENDS + blend, of natural surfaces: smooth, uint8
    parcel_state: np.ndarray  # the same by parcel, uint8
    pixel_state: np.ndarray  # the same, independent per pixel, uint8


@dataclass(frozen=True)
class Cover:
    """Land cover of a box on one day."""

    patch: Patch
    label: np.ndarray  # uint8, 0..8
    index: np.ndarray  # uint16, label * STATES + state: the address in a sensor's table
