"""The ground a spec asks for, as polygons in EPSG:4326."""

from __future__ import annotations

import numpy as np
import pyproj
import shapely

from dwplus.earth import Session
from dwplus.earth.session import planet_sites
from dwplus.earth.tables import sample_sites
from dwplus.errors import InputError
from dwplus.errors.reasons import Reason
from dwplus.grid.longitude import UTM_NORTH, UTM_SOUTH, shifted
from dwplus.planning import vectors
from dwplus.spec import BBox, DatasetSpec, RegionFile

#: Metres from a site's centre to which there is ground: its scenes are wider than the site.
REACH = 100_000.0


def polygons(session: Session, spec: DatasetSpec) -> list[shapely.Geometry]:
    """One geometry per part of the region (one per site for ``sample``); longitudes may run past 180.

    Raises
    ------
    InputError
        For a file without polygons, ``sample`` on an Earth without sites, or a box that goes round the far side of the
        Earth.
    """
    shapes: list[shapely.Geometry] = []
    for part in spec.region:
        if isinstance(part, BBox):
            west, south, east, north = part.bbox
            if west > east and east + 360 - west > 180:
                raise InputError(f"region bbox [{west:g}, {south:g}, {east:g}, {north:g}]: west lies east of east: it "
                                 f"crosses the 180th meridian and is {east + 360 - west:g} degrees wide; swap the two, "
                                 f"or give two boxes, [{west:g}, {south:g}, 180, {north:g}] and [-180, {south:g}, "
                                 f"{east:g}, {north:g}]")
            shapes.append(shapely.box(west, south, east if east > west else east + 360, north))
        elif isinstance(part, RegionFile):
            shapes.append(read_geojson(part.file))
        elif part == "sample":
            shapes += [site.polygon for site in sample_sites(session)]
        else:
            shapes.append(vectors.from_wkt(part, "region"))
    return shapes


def check_ground(session: Session, shapes: list[shapely.Geometry]) -> None:
    """Land that the sample planet lacks is no sea: say so before anything is looked up.

    Raises
    ------
    InputError
        On the sample planet, where none of ``shapes`` meets one of its sites.
    """
    if not session.version.startswith("planet"):
        return
    sites, _ = planet_sites()
    reach = [(REACH / 111_000, REACH / 111_000 / max(np.cos(np.radians(s.lat)), 0.02)) for s in sites]
    boxes = [shapely.box(s.lon - dx, s.lat - dy, s.lon + dx, s.lat + dy)
             for s, (dy, dx) in zip(sites, reach, strict=True)]
    ground = shapely.union_all([shifted(box, turn) for box in boxes for turn in (-1, 0, 1)])
    if any(shape.intersects(ground) for shape in shapes):
        return
    if any(shape.bounds[1] < UTM_SOUTH or shape.bounds[3] > UTM_NORTH for shape in shapes):
        return  # whoever cuts it into tiles says why there are none
    middle = shapely.union_all([shape.envelope for shape in shapes]).centroid
    far = pyproj.Geod(ellps="WGS84").inv(*np.transpose([(s.lon, s.lat, middle.x, middle.y) for s in sites]))[2]
    near = [sites[i] for i in np.argsort(far)]
    names = ", ".join(f"{s.name} at {s.lon:g},{s.lat:g}" for s in near[:3])
    raise InputError(f"region: no tile can be planned: the sample planet has no ground here, all but its {len(sites)} "
                     f"sites (`dwplus earth sites` lists them) is as if at sea; the nearest are {names}; for real "
                     f"ground give --project ID (make: EE_PROJECT=) ({Reason.NO_ECOREGION}, {Reason.NO_LABEL})")


def read_geojson(path: str) -> shapely.Geometry:
    """Union of the polygons of a GeoJSON file, or of any other that geopandas reads, in EPSG:4326.

    Bow-ties are mended, heights dropped, collections opened; rings that jump across the antimeridian are connected.

    Raises
    ------
    InputError
        Where the file is missing, cannot be read, or holds no polygon.
    """
    return vectors.union(vectors.read_frame(path, "region file").geometry, f"region file {path}")
