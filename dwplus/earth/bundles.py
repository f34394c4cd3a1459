"""How the bands of a tile are shared out among requests: all in one where they fit, else the many alike in several.

Cutting a tile into blocks makes the service read every scene for each; bands that are left out cost it nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from dwplus.earth.pixels import blocks
from dwplus.spec import DatasetSpec


def band_sizes(spec: DatasetSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Bytes a pixel of the bands of a tile's request: those that stay together, and those that may be shared out."""
    s1 = 2 if spec.store.s1_dtype == "int16" else 4
    base = [*[2] * len(spec.sentinel2.bands), *[s1] * len(spec.s1_bands)]
    if spec.labels.path is None:
        base.append(1)
    base += spec.triplet_sizes
    alike: list[int] = []
    for one in spec.extra_arrays:
        (alike if one.bands else base).extend([_BYTES[one.wire]] * len(one.wire_bands))
    return tuple(base), tuple(alike)


_BYTES = {"int8": 1, "uint8": 1, "int16": 2, "float32": 4}


@functools.lru_cache(maxsize=256)
def bundles(height: int, width: int, base: tuple[int, ...], alike: tuple[int, ...]) -> tuple[int, ...]:
    """Number of alike bands in each request, the first of which holds the others as well.

    Parameters
    ----------
    base : bytes a pixel of the bands that stay together. alike : of those that may be shared out, all the same.

    Returns
    -------
    The way with the fewest requests, counting the blocks that each of them is cut into; of equals the first.
    """
    def requests(sizes: Sequence[int]) -> int:
        return len(blocks(height, width, list(sizes)))

    best: tuple[int, ...]
    best, fewest = (len(alike),), requests([*base, *alike])
    for each in range(len(alike) - 1, 0, -1):
        if fewest <= 2:
            break
        first = max((n for n in range(each + 1) if requests([*base, *alike[:n]]) == requests(base)), default=0)
        rest = len(alike) - first
        found = (first, *[each] * (rest // each), *([rest % each] if rest % each else []))
        count = requests([*base, *alike[:first]]) + sum(requests(alike[:n]) for n in found[1:])
        if count < fewest:
            best, fewest = found, count
    return best


def requests_of(spec: DatasetSpec, side: int) -> int:
    """Requests that a tile takes."""
    base, alike = band_sizes(spec)
    first, *rest = bundles(side, side, base, alike)
    return sum(len(blocks(side, side, list(sizes))) for sizes in (base + alike[:first], *(alike[:n] for n in rest)))
