"""What an export costs, measured: one tile of the plan and one look-up of its place are profiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dwplus.earth.cost import profiled
from dwplus.errors import InputError
from dwplus.grid import PixelGrid
from dwplus.planning.plan import make_plan, spec_of
from dwplus.planning.preview import MEASURED, megapixels
from dwplus.spec import make_spec

if TYPE_CHECKING:
    import geopandas as gpd

    from dwplus.earth import Session


@dataclass(frozen=True)
class Measured:
    """EECU-seconds of one tile and of one look-up, on the Earth that is named."""

    tile_id: str
    tile: float
    lookup: float
    earth: str
    service: bool

    @property
    def line(self) -> str:
        """What was measured, in words."""
        unit = "EECU-s" if self.service else "s of this machine's processor (no EECU: an embedded Earth)"
        return f"measured on {self.earth}: tile {self.tile_id} {self.tile:.3g} {unit}, one look-up of a place " \
               f"{self.lookup:.3g} {unit}"


def measure(session: Session, plan: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, Measured]:
    """Profile a tile of a plan and a look-up, four requests in all.

    Returns
    -------
    The plan with a column ``eecu_seconds``: what the tile took, in proportion to the pixels that each planned tile
    reads (bands times scenes); and the figures.

    Raises
    ------
    InputError
        Where the plan holds no planned tile.
    EarthError
        Where the service refuses, or sends no profile.
    """
    from dwplus.earth.stack import fetch_tile
    from dwplus.earth.tables import habitats

    planned = plan[plan["state"] == "planned"]
    if planned.empty:
        raise InputError("--measure: the plan holds no planned tile to profile")
    spec = spec_of(plan)
    pixels = megapixels(planned, spec)
    # The tile in the middle, so that neither the cheapest nor the dearest stands for all.
    at = pixels.sort_values(kind="stable").index[len(pixels) // 2]
    row = planned.loc[at]
    size = int(row["size"])
    grid = PixelGrid(int(row["epsg"]), float(row["x0"]), float(row["y0"]), float(row["scale"]), size, size)
    _, tile = profiled(session, lambda: fetch_tile(
        session, spec, grid, str(row["label_id"]), str(row["s2_id"]), str(row["s1_id"]).split(","),
        str(row["s2_product"]) or None, str(row.get("clear_id", "")), str(row.get("speckle_ids", ""))))
    centre = row["geometry"].centroid
    _, lookup = profiled(session, lambda: habitats(session, [(centre.x, centre.y)]))
    share = pixels / max(float(pixels[at]), 1e-9)
    values = np.full(len(plan), np.nan)
    values[plan.index.get_indexer(planned.index)] = (tile * share).to_numpy()
    found = Measured(str(row["tile_id"]), tile, lookup, session.description, session.config.project is not None)
    return plan.assign(**{MEASURED: values}), found


#: Where the doctor measures: a place and two weeks with scenes of both sensors, and a tile of the usual size.
SAMPLE_BOX, SAMPLE_WINDOW = [9.40, 51.25, 9.55, 51.35], ["2021-06-01", "2021-07-15"]


def sample_cost(session: Session) -> tuple[float, float]:
    """EECU-seconds of a tile of the usual size and of one look-up, at a place of ours; about a dozen requests.

    Raises
    ------
    InputError, EarthError
        As :func:`measure`.
    """
    spec = make_spec({"name": "doctor", "region": {"bbox": SAMPLE_BOX}, "windows": [SAMPLE_WINDOW],
                      "sampling": {"per_biome": 1}})
    _, found = measure(session, make_plan(session, spec))
    return found.tile, found.lookup
