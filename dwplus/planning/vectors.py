"""Polygons out of files, as desktop programs, databases and web maps write them: always EPSG:4326, connected, valid."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely
import shapely.geometry
import shapely.wkt

from dwplus.errors import InputError
from dwplus.grid.longitude import LongitudeError, connected, polygons_of

if TYPE_CHECKING:
    import geopandas as gpd

#: Names of files that hold JSON.
JSON = (".geojson", ".json")
#: Pieces that an edge in metres is cut into before it is turned into degrees, where it is a curve.
PIECES = 100


def polygon(geometry: shapely.Geometry, where: str) -> shapely.Geometry:
    """The ground of a geometry in degrees: its polygons, without heights, mended where they cross themselves.

    Returns
    -------
    Polygon or MultiPolygon, connected (:func:`dwplus.grid.longitude.connected`) and valid; empty where there is no
    ground.

    Raises
    ------
    InputError
        ``where`` and what is wrong: no degrees, or an edge that may be meant either way round the earth.
    """
    parts = polygons_of(shapely.force_2d(geometry))
    if not parts:
        return shapely.Polygon()
    whole = shapely.MultiPolygon(parts)
    west, south, east, north = whole.bounds
    if not all(map(math.isfinite, whole.bounds)) or west < -360 or east > 360 or south < -90 or north > 90:
        raise InputError(f"{where}: coordinates {tuple(round(b, 1) for b in whole.bounds)} are no degrees of longitude "
                         "and latitude")
    try:
        found = connected(whole)
    except LongitudeError as error:
        raise InputError(f"{where}: {error}") from None
    found = shapely.union_all([part if part.is_valid else shapely.make_valid(part) for part in polygons_of(found)])
    ground = [part for part in polygons_of(found) if part.area > 0]
    return ground[0] if len(ground) == 1 else shapely.MultiPolygon(ground) if ground else shapely.Polygon()


def from_wkt(text: str, where: str) -> shapely.Geometry:
    """The polygons of a WKT text, degrees.

    Raises
    ------
    InputError
        Where it is no WKT, or holds no polygon.
    """
    try:
        geometry = shapely.from_wkt(text.partition(";")[2] if text.upper().startswith("SRID=4326;") else text)
    except (shapely.errors.ShapelyError, RecursionError) as error:
        raise InputError(f"{where}: is no WKT ({_words(error)})") from None
    found = polygon(geometry, where)
    if found.is_empty:
        raise InputError(f"{where}: holds no polygon with an area")
    return found


def read_frame(path: str | Path, what: str) -> gpd.GeoDataFrame:
    """Rows of a file with geometries in EPSG:4326, as they stand: GeoJSON, GeoPackage, Shapefile, FlatGeobuf, KML,
    GeoParquet and whatever else geopandas reads, of all layers.

    Parameters
    ----------
    what : of the file, for errors.

    Raises
    ------
    InputError
        Where it is missing or cannot be read.
    """
    import geopandas as gpd
    import pandas as pd

    path = Path(path)
    if not path.exists():
        raise InputError(f"{what} {path}: no such file")
    if path.suffix.lower() in JSON:
        return _from_json(path, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GDAL's remarks on other layers, dates and the like
            if path.suffix.lower() in (".parquet", ".geoparquet"):
                frame = gpd.read_parquet(path)
            else:
                layers = gpd.list_layers(path)
                names = layers["name"][layers["geometry_type"].notna()].tolist()
                frames = [gpd.read_file(path, layer=name) for name in names]
                frame = frames[0] if len(frames) == 1 else pd.concat(
                    [f.to_crs(4326) if f.crs is not None else f for f in frames], ignore_index=True)
    except Exception as error:  # noqa: BLE001  each of GDAL's drivers raises its own
        raise InputError(f"{what} {path}: cannot be read ({_words(error)})") from None
    return _in_degrees(frame, path, what)


def _in_degrees(frame: gpd.GeoDataFrame, path: Path, what: str) -> gpd.GeoDataFrame:
    if frame.crs is None:
        return frame
    if not frame.crs.is_geographic and len(frame):
        west, south, east, north = frame.total_bounds
        if all(map(math.isfinite, (west, south, east, north))) and max(east - west, north - south) > 0:
            frame = frame.set_geometry(shapely.segmentize(frame.geometry.to_numpy(),
                                                          max(east - west, north - south) / PIECES))
    try:
        return frame.to_crs(4326)
    except Exception as error:  # noqa: BLE001  pyproj's and PROJ's
        raise InputError(f"{what} {path}: its CRS cannot be turned into degrees ({_words(error)})") from None


def _from_json(path: Path, what: str) -> gpd.GeoDataFrame:
    import geopandas as gpd

    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise InputError(f"{what} {path}: is no GeoJSON (nested too deep)") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{what} {path}: is no GeoJSON ({_words(error)})") from None
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise InputError(f"{what} {path}: is no GeoJSON (a JSON object with a type was expected)")
    features = data.get("features", []) if data["type"] == "FeatureCollection" else [data]
    try:
        pairs = [(f.get("geometry") if f.get("type") == "Feature" else f,
                  f.get("properties") if f.get("type") == "Feature" else None) for f in features]
        shapes = [None if shape is None else shapely.geometry.shape(shape) for shape, _ in pairs]
    except (AttributeError, TypeError, ValueError, KeyError, IndexError, RecursionError, shapely.errors.ShapelyError,
            ) as error:
        raise InputError(f"{what} {path}: is no GeoJSON ({_words(error)})") from None
    rows = [properties if isinstance(properties, dict) else {} for _, properties in pairs]
    names = dict.fromkeys(key for row in rows for key in row if key != "geometry")
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in names}
    frame = gpd.GeoDataFrame(columns, geometry=gpd.array.from_shapely(shapes), index=range(len(shapes)))
    return _in_degrees(frame.set_crs(_crs(data, path, what)), path, what)


def _crs(data: dict[str, Any], path: Path, what: str) -> Any:
    """The CRS of a GeoJSON file: longitude, latitude, unless it names another as GeoJSON 2008 had it."""
    import pyproj

    crs = data.get("crs")
    if crs is None:
        return "OGC:CRS84"
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise InputError(f"{what} {path}: its crs member {json.dumps(crs)[:80]} names no CRS; take it out for "
                         "longitude and latitude, or name one as {\"type\": \"name\", \"properties\": {\"name\": "
                         "\"EPSG:32632\"}}")
    try:
        return pyproj.CRS.from_user_input(name)
    except pyproj.exceptions.CRSError:
        raise InputError(f"{what} {path}: has CRS {name!r}, which is not known; an EPSG code is, such as "
                         "\"EPSG:32632\"") from None


def union(shapes: Iterable[shapely.Geometry], where: str) -> shapely.Geometry:
    """The ground of several geometries, degrees, together.

    Raises
    ------
    InputError
        As :func:`polygon`, and where there is no ground.
    """
    parts = [part for shape in shapes if shape is not None for part in polygons_of(shape)]
    found = polygon(shapely.MultiPolygon([shapely.force_2d(part) for part in parts]), where) if parts else None
    if found is None or found.is_empty:
        raise InputError(f"{where}: holds no polygon")
    return found


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
