"""The ground a spec asks for, as polygons in EPSG:4326."""

from __future__ import annotations

import json
import math
from pathlib import Path

import shapely
import shapely.geometry

from dwplus.earth import Session
from dwplus.earth.tables import sample_sites
from dwplus.errors import InputError
from dwplus.spec import BBox, DatasetSpec, RegionFile


def polygons(session: Session, spec: DatasetSpec) -> list[shapely.Geometry]:
    """One geometry per part of the region (one per site for ``sample``); longitudes may run past 180.

    Raises
    ------
    InputError
        For a file that is no GeoJSON of polygons, or ``sample`` on an Earth without sites.
    """
    shapes: list[shapely.Geometry] = []
    for part in spec.region:
        if isinstance(part, BBox):
            west, south, east, north = part.bbox
            shapes.append(shapely.box(west, south, east if east > west else east + 360, north))
        elif isinstance(part, RegionFile):
            shapes.append(read_geojson(part.file))
        else:
            shapes += [site.polygon for site in sample_sites(session)]
    return shapes


def read_geojson(path: str) -> shapely.Geometry:
    """Union of a GeoJSON file's polygons.

    Raises
    ------
    InputError
        Where the file is missing, no GeoJSON, in another CRS, or holds no polygon.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"region file {path}: no such file") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"region file {path}: is no GeoJSON ({error})") from None
    if not isinstance(data, dict) or "type" not in data:
        raise InputError(f"region file {path}: is no GeoJSON (a JSON object with a type was expected)")
    crs = data.get("crs")
    name = crs.get("properties", {}).get("name", "") if isinstance(crs, dict) else ""
    if name and not name.endswith(("CRS84", "EPSG::4326", "EPSG:4326")):
        raise InputError(f"region file {path}: has CRS {name}; GeoJSON is longitude, latitude (EPSG:4326)")
    features = data.get("features", []) if data["type"] == "FeatureCollection" else [data]
    try:
        shapes = [shapely.geometry.shape(f.get("geometry", f) if f.get("type") == "Feature" else f)
                  for f in features if not (f.get("type") == "Feature" and f.get("geometry") is None)]
    except (AttributeError, TypeError, ValueError, KeyError, IndexError, shapely.errors.ShapelyError) as error:
        raise InputError(f"region file {path}: is no GeoJSON ({error})") from None
    shapes = [s if s.is_valid else shapely.make_valid(s) for s in shapes if s.area > 0]
    if not shapes:
        raise InputError(f"region file {path}: holds no polygon")
    union = shapely.union_all(shapes)
    west, south, east, north = union.bounds
    if not all(map(math.isfinite, union.bounds)) or west < -360 or east > 360 or south < -90 or north > 90:
        raise InputError(f"region file {path}: coordinates {tuple(round(b, 1) for b in union.bounds)} are no degrees "
                         "of longitude and latitude")
    return union
