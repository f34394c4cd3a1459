"""The ground a spec asks for, as polygons in EPSG:4326."""

from __future__ import annotations

import shapely

from dwplus.earth import Session
from dwplus.earth.tables import sample_sites
from dwplus.planning import vectors
from dwplus.spec import BBox, DatasetSpec, RegionFile


def polygons(session: Session, spec: DatasetSpec) -> list[shapely.Geometry]:
    """One geometry per part of the region (one per site for ``sample``); longitudes may run past 180.

    Raises
    ------
    InputError
        For a file without polygons, or ``sample`` on an Earth without sites.
    """
    shapes: list[shapely.Geometry] = []
    for part in spec.region:
        if isinstance(part, BBox):
            west, south, east, north = part.bbox
            shapes.append(shapely.box(west, south, east if east > west else east + 360, north))
        elif isinstance(part, RegionFile):
            shapes.append(read_geojson(part.file))
        elif part == "sample":
            shapes += [site.polygon for site in sample_sites(session)]
        else:
            shapes.append(vectors.from_wkt(part, "region"))
    return shapes


def read_geojson(path: str) -> shapely.Geometry:
    """Union of the polygons of a GeoJSON file, or of any other that geopandas reads, in EPSG:4326.

    Bow-ties are mended, heights dropped, collections opened; rings that jump across the antimeridian are connected.

    Raises
    ------
    InputError
        Where the file is missing, cannot be read, or holds no polygon.
    """
    return vectors.union(vectors.read_frame(path, "region file").geometry, f"region file {path}")
