"""The map of a plan as a page that needs no network: the world, and every group of tiles close up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from dwplus.grid.longitude import near_longitude
from dwplus.pages import charts, colours, skeleton
from dwplus.taxonomy import BIOMES

#: Tiles are drawn close up, group by group, up to so many in all; beyond them the world's circles stand alone.
CLOSE_UP = 5_000
#: Degrees: tiles of one cell of so wide a grid are a group.
CELL = 2.0
#: Width of a group's drawing, px.
WIDTH = 340


def write_page(plan: gpd.GeoDataFrame, path: Path) -> Path:
    """Write the page.

    Parameters
    ----------
    plan : with :data:`dwplus.planning.plan.COLUMNS` and footprints in EPSG:4326.
    """
    centres = shapely.get_coordinates(shapely.centroid([_whole(shape) for shape in plan.geometry]))
    table = pd.DataFrame(plan.drop(columns="geometry")).reset_index(drop=True)
    table["planned"] = (table["state"] == "planned").to_numpy()
    x, y = np.floor(centres / CELL).astype(int).T
    groups = list(table.groupby([y, x], sort=True).groups.values())
    dots = []
    for rows in groups:
        part = table.loc[rows]
        lon, lat = centres[rows].mean(axis=0).tolist()
        dots += [charts.Dot(lon, lat, int(biome), int(count))
                 for biome, count in part.loc[part["planned"], "biome"].value_counts().sort_index().items()]
    close = groups if len(table) <= CLOSE_UP else []
    reasons = table.loc[~table["planned"], "reason"].value_counts()
    return skeleton.write(
        path, "plan.html", title="Plan", tiles=len(table), planned=int(table["planned"].sum()),
        reasons=[(str(reason), int(count)) for reason, count in reasons.items()],
        world=charts.world_map(dots, BIOMES), most=CLOSE_UP,
        groups=[_group(table.loc[rows], [plan.geometry.iloc[i] for i in rows], centres[rows]) for rows in close])


def _whole(shape: shapely.Geometry) -> shapely.Geometry:
    """A footprint in one piece, where it was cut at the 180th meridian."""
    return near_longitude(shape, 180.0) if shape.geom_type == "MultiPolygon" else shape


def _group(rows: pd.DataFrame, shapes: list[shapely.Geometry], centres: np.ndarray) -> dict[str, Any]:
    """A group's drawing: corners of tiles in px, north up, degrees of longitude as long as they are there."""
    whole = [_whole(shape) for shape in shapes]
    middle = float(np.cos(np.radians(centres[:, 1].mean())))
    west, south, east, north = shapely.total_bounds(whole)
    scale = WIDTH / max((east - west) * middle, (north - south), 1e-6)
    tiles = []
    for row, shape in zip(rows.to_dict("records"), whole, strict=True):
        corners = shapely.get_coordinates(shape.convex_hull)
        points = " ".join(f"{(x - west) * middle * scale:.1f},{(north - y) * scale:.1f}" for x, y in corners)
        gap = row["gap_hours"]
        words = [str(row["tile_id"]), str(row["window"]), f"biome {row['biome']}", str(row["ecoregion"])]
        if row["planned"]:
            words += [str(row["split"]), f"gap {gap:.1f} h", str(row["orbit_pass"]).lower(), str(row["s2_id"])]
        else:
            words.append(f"rejected: {row['reason']}")
        tiles.append({"points": points, "colour": colours.biome(int(row["biome"])) if row["planned"] else "none",
                      "words": ", ".join(word for word in words if word)})
    lon, lat = centres.mean(axis=0).tolist()
    return {"title": f"{lat:.1f}, {lon:.1f}", "planned": int(rows["planned"].sum()), "tiles": tiles,
            "width": f"{(east - west) * middle * scale + 2:.0f}", "height": f"{(north - south) * scale + 2:.0f}"}
