"""What a spec's ``extras`` add to a tile's image: elevation, annual embedding, cloud score, land cover.

Sources: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_DEM_GLO30_2024_1, USGS_SRTMGL1_003,
GOOGLE_SATELLITE_EMBEDDING_V1_ANNUAL, GOOGLE_CLOUD_SCORE_PLUS_V1_S2_HARMONIZED and ESA_WorldCover_v200 of the same
catalogue.
"""

from __future__ import annotations

import re

import ee

from dwplus.earth.images import clouds
from dwplus.errors import EarthError
from dwplus.grid import PixelGrid
from dwplus.spec.extras import (
    ELEVATION_MODELS,
    EMBEDDING_BANDS,
    GLO30,
    NO_CODE,
    NO_HEIGHT,
    NO_SCORE,
    NO_WIRE,
    QUANTUM,
    SCORE_STEP,
    SRTM,
    WIRE_UNIT,
    Extra,
    worldcover_of,
)

EMBEDDING = "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"
#: Metres a pixel of the embeddings.
EMBEDDING_SCALE = 10.0
#: Metres around a tile in which images are looked for: interpolation needs the neighbours of its last pixels.
MARGIN = 200.0


def area_of(grid: PixelGrid) -> ee.Geometry:
    """A tile and a margin, in its own reference system."""
    height, width = grid.shape
    west, north = grid.x0 - MARGIN, grid.y0 + MARGIN
    east, south = grid.x0 + width * grid.scale + MARGIN, grid.y0 - height * grid.scale - MARGIN
    found: ee.Geometry = ee.Geometry.Rectangle([west, south, east, north], f"EPSG:{grid.epsg}", False)
    return found


def _nothing(bands: tuple[str, ...]) -> ee.ImageCollection:
    """An image that is masked everywhere: a collection without any has no bands, and the service refuses it."""
    image = ee.Image.constant([0] * len(bands)).toFloat().rename(list(bands)).updateMask(0)
    found: ee.ImageCollection = ee.ImageCollection([image])
    return found


def elevation(area: ee.Geometry, model: str = GLO30) -> ee.Image:
    """Band ``DEM``, metres above the model's geoid, over an area: interpolated bilinearly, across the borders of its
    degrees as well, and with the projection of the model, as slopes need it. Masked where there is no model.

    Parameters
    ----------
    model : of :data:`dwplus.spec.extras.ELEVATION_MODELS`.
    """
    if model == SRTM:  # one image of all the globe, in whole metres
        whole: ee.Image = ee.Image(SRTM).select([ELEVATION_MODELS[SRTM].band]).toFloat().resample("bilinear").rename(
            ["DEM"])
        return whole
    degrees = ee.ImageCollection(GLO30).filterBounds(area).select(["DEM"]).merge(_nothing(("DEM",)))
    native = ee.Image(degrees.first()).projection()
    found: ee.Image = degrees.mosaic().setDefaultProjection(native).resample("bilinear")
    return found


def embedding(year: int, area: ee.Geometry, scale: float = EMBEDDING_SCALE) -> ee.Image:
    """Bands A00..A63 of a year, -1..1, nearest neighbour: what lies between two vectors of unit length is shorter.

    Pixels coarser than the embeddings' own come from the service's means of them, and are brought back to unit length.
    """
    images = of_year(year).filterBounds(area).select(list(EMBEDDING_BANDS))
    found: ee.Image = images.merge(_nothing(EMBEDDING_BANDS)).mosaic()
    if scale > EMBEDDING_SCALE:
        found = found.divide(found.multiply(found).reduce(ee.Reducer.sum()).sqrt())
    return found


def of_year(year: int) -> ee.ImageCollection:
    """The embeddings of a year."""
    found: ee.ImageCollection = ee.ImageCollection(EMBEDDING).filterDate(f"{year}-01-01", f"{year + 1}-01-01")
    return found


def land_cover(year: int) -> ee.Image:
    """Band ``Map`` of WorldCover, codes 10..100, of the year nearest."""
    found: ee.Image = ee.ImageCollection(worldcover_of(year)).select(["Map"]).mosaic()
    return found


def year_of(s2_index: str) -> int:
    """Year of a Sentinel-2 scene by its index.

    Raises
    ------
    EarthError
        Where the index begins with no date.
    """
    match = re.match(r"(?:S2[A-D]_[^_]+_)?(\d{4})\d{4}T", s2_index)
    if match is None:
        raise EarthError(f"Sentinel-2 scene {s2_index!r}: its index begins with no date, by which the year of extras "
                         "is known")
    return int(match[1])


def image(one: Extra, grid: PixelGrid, s2_index: str, label_s2_index: str) -> ee.Image:
    """An extra's bands in the types and with the fill values of its request.

    Parameters
    ----------
    s2_index : of the scene shown. label_s2_index : of the scene the label was made from, whose year counts.
    """
    if one.name == "dem":
        found = elevation(area_of(grid), one.source["collection"]).unmask(NO_HEIGHT, False).toFloat()
    elif one.name == "embedding":
        values = embedding(year_of(label_s2_index), area_of(grid), grid.scale)
        if one.dtype == "int8":
            codes = values.abs().sqrt().multiply(QUANTUM).round().multiply(values.signum())
            found = codes.unmask(NO_CODE, False).toInt8()
        else:
            found = values.multiply(WIRE_UNIT).round().unmask(NO_WIRE, False).toInt16()
    elif one.name == "cloud_score":
        found = clouds.score(s2_index).divide(SCORE_STEP).round().unmask(NO_SCORE, False).toUint8()
    else:
        found = land_cover(year_of(label_s2_index)).unmask(0, False).toUint8()
    out: ee.Image = found.rename(list(one.wire_bands))
    return out
