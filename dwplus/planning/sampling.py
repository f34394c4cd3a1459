"""Seeded order of candidates and spatial splits. Pure, and independent of order, machine and quota."""

from __future__ import annotations

import hashlib
import math

from dwplus.grid import PixelGrid

#: Side of the blocks that go to one split as a whole: five 5.1 km tiles.
BLOCK_METRES = 25_500
#: Shares of the blocks.
SPLITS = {"train": 0.7, "val": 0.15, "test": 0.15}


def unit_hash(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but the parts."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def draw_order(seed: int, tile_id: str) -> float:
    """Place of a tile in the seeded order: asking for more tiles keeps those already drawn."""
    return unit_hash("draw", seed, tile_id)


def split_of(seed: int, grid: PixelGrid) -> str:
    """Split of a tile, by the UTM block its centre lies in: neighbours share their block's split."""
    west, south, east, north = grid.bounds
    block = math.floor((west + east) / 2 / BLOCK_METRES), math.floor((south + north) / 2 / BLOCK_METRES)
    draw = unit_hash("split", seed, grid.epsg, *block)
    total = 0.0
    for name, share in SPLITS.items():
        total += share
        if draw < total:
            return name
    return name
