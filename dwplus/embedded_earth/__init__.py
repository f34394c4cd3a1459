"""An Earth Engine that fits in a process: answers the real client by REST v1 and computes with NumPy.

It is the sample planet for newcomers, the test bed and the bench. ``dwplus.earth`` cannot tell it from the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import dwplus.embedded_earth.functions  # noqa: F401  (registers the functions)
from dwplus.embedded_earth.asset_tree import AssetTree
from dwplus.embedded_earth.catalog import Catalog
from dwplus.embedded_earth.client import ClientFileError, check_client
from dwplus.embedded_earth.faults import Fault, Faults, parse_fault, random_faults
from dwplus.embedded_earth.limits import Limits, parse_limits
from dwplus.embedded_earth.protocol import EmbeddedEarth
from dwplus.embedded_earth.server import Server, serve
from dwplus.embedded_earth.transport import http_transport

__all__ = ["ClientFileError", "EmbeddedEarth", "Fault", "Faults", "Limits", "Server", "check_client", "http_transport",
           "open_catalog", "parse_fault", "parse_limits", "random_faults", "serve"]


def open_catalog(world: Path | None = None, seed: int = 0, *, classes: Sequence[str] | None = None,
                 biomes: Mapping[int, str] | None = None) -> Catalog:
    """The archive behind an Earth.

    Parameters
    ----------
    world : folder of an asset tree; None for the sample planet.
    seed : seed of the planet.
    classes, biomes : the planet's names of the nine classes, label 0 first, and of the 14 biomes by number; None for
        those of the public archives.

    Raises
    ------
    ValueError
        Where the folder is no asset tree, or a class or biome has no name.
    """
    if world is not None:
        return AssetTree(world)
    from dwplus.embedded_earth.planet import Planet
    from dwplus.embedded_earth.planet.names import Names

    return Planet(seed, Names.of(classes, biomes))
