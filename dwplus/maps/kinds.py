"""Kinds of change as numbers of a raster: a code of the class before and the class after. Pure.

Up to ten classes the code is ``10 * before + after``, up to fifteen ``16 * before + after``; of more it needs two bytes
a pixel, and a GeoTIFF then holds no colours for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dwplus.pages.colours import NO_LABEL, rgb
from dwplus.store.legend import Legend
from dwplus.taxonomy import IGNORE

#: Most classes of each base, the type of the codes, and the code of no data.
BASES = ((10, 10, "uint8", 255), (15, 16, "uint8", 255), (254, 256, "uint16", 65535))


@dataclass(frozen=True)
class ChangeCodes:
    """Codes of change between maps of some classes.

    Attributes
    ----------
    base : the code is ``base * before + after``. dtype : of a raster of codes. nodata : the code of no data.
    """

    legend: Legend
    base: int
    dtype: str
    nodata: int

    @property
    def words(self) -> str:
        """The code, for people."""
        return f"{self.base} * class before + class after"

    @property
    def size(self) -> int:
        """Numbers that a raster of codes can hold."""
        return int(np.iinfo(self.dtype).max) + 1

    def of(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Codes of two class arrays; no data where either has none."""
        both = (before != IGNORE) & (after != IGNORE)
        return np.where(both, self.base * before.astype("int32") + after, self.nodata).astype(self.dtype)

    def pair(self, code: int) -> tuple[int, int]:
        """Class before and class after."""
        return divmod(code, self.base)

    def colours(self) -> dict[int, tuple[int, ...]]:
        """Red, green, blue by code: what stayed is pale, what changed has the colour of what it became."""
        own = [rgb(colour) for colour in self.legend.colours]
        pale = [tuple((v + 3 * 235) // 4 for v in colour) for colour in own]
        count = len(own)
        return {self.base * b + a: pale[a] if a == b else own[a] for b in range(count) for a in range(count)} | {
            self.nodata: rgb(NO_LABEL)}

    def name(self, code: int) -> str:
        """``trees to crops``; a class that stayed goes by its own name."""
        before, after = (self.legend.classes[number] for number in self.pair(code))
        return before if before == after else f"{before} to {after}"


def codes_of(legend: Legend) -> ChangeCodes:
    """The codes of change between maps of some classes."""
    for most, base, dtype, nodata in BASES:
        if len(legend) <= most:
            return ChangeCodes(legend, base, dtype, nodata)
    raise ValueError(f"{len(legend)} classes: a map has at most 254")
