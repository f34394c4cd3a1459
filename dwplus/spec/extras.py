"""What a store may hold beside labels and the two sensors: elevation, annual embeddings, cloud scores, land cover.

Each extra is an array of its own. This says how it is stored, in which units, what stands for no data, and where it
comes from; how it is asked for is :mod:`dwplus.earth.images.extras`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dwplus.taxonomy.tables import TABLES

#: Extras in the order of a store's arrays.
NAMES = ("dem", "embedding", "cloud_score", "worldcover")
#: Axes of the embedding, which mean nothing one by one.
EMBEDDING_BANDS = tuple(f"A{number:02d}" for number in range(64))
#: First year of the embeddings. The last one is asked of the collection, for a year is added every year.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_SATELLITE_EMBEDDING_V1_ANNUAL
FIRST_EMBEDDING = 2017
#: Land cover of ESA by year. A year without its own takes the nearest. The two were made by different versions of the
#: algorithm, so that what differs between them is not all change.
#: Source: https://developers.google.com/earth-engine/datasets/catalog/ESA_WorldCover_v200
WORLDCOVER = {2020: "ESA/WorldCover/v100", 2021: "ESA/WorldCover/v200"}
#: Embeddings as int8: value = sign * (code / 127.5) ** 2, -128 is no data.
#: Source: https://developers.google.com/earth-engine/guides/aef_on_gcs_readme
QUANTUM, NO_CODE = 127.5, -128
#: The same on their way, where they are stored as float16: parts of 1, which a float16 does not hold more exactly.
WIRE_UNIT, NO_WIRE = 32767, -32768
#: Steps of a cloud score.
SCORE_STEP, NO_SCORE = 0.005, 255
#: Elevation that stands for none on its way: no ground on land lies there.
NO_HEIGHT = -9999.0

@dataclass(frozen=True)
class ElevationModel:
    """Where heights come from.

    Attributes
    ----------
    band : of metres. geoid : that heights are above. south, north : degrees between which the model lies; what it lacks
        between them is sea.
    """

    collection: str
    band: str
    geoid: str
    south: float
    north: float
    source: dict[str, str]

    def covers(self, south: float, north: float) -> bool:
        """Whether it reaches over some latitudes."""
        return self.south <= south and north <= self.north

    @property
    def ends(self) -> str:
        """Where it ends, in words."""
        return f"{self.north:g} N and {-self.south:g} S"


#: Elevation models by collection, the first is the default. Sources:
#: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_DEM_GLO30_2024_1 and USGS_SRTMGL1_003 there.
GLO30, SRTM = "COPERNICUS/DEM/GLO30_2024_1", "USGS/SRTMGL1_003"
ELEVATION_MODELS = {
    GLO30: ElevationModel(GLO30, "DEM", "EGM2008", -90, 90, {
        "collection": GLO30, "licence": "Copernicus DEM GLO-30, free of charge",
        "attribution": "produced using Copernicus WorldDEM-30, DLR e.V. 2010-2014 and Airbus Defence and Space "
                       "GmbH 2014-2018, provided under Copernicus by the European Union and ESA"}),
    SRTM: ElevationModel(SRTM, "elevation", "EGM96", -56, 60, {
        "collection": SRTM, "licence": "public domain (NASA)",
        "attribution": "NASA JPL 2013, NASA Shuttle Radar Topography Mission Global 1 arc second, "
                       "doi:10.5067/MEaSUREs/SRTM/SRTMGL1.003"})}

#: Extras that networks may take as further bands of the optical branch. Land cover is a map of classes, not a measure.
INPUTS = ("dem", "embedding", "cloud_score")
#: How they are turned into 16 bits for it: added, then multiplied. 65535 is no data.
CODING = {"dem": (1000.0, 5.0), "embedding": (1.0, 30_000.0), "cloud_score": (0.0, 200.0)}
NO_INPUT = 65535


@dataclass(frozen=True)
class Extra:
    """An array of a store.

    Attributes
    ----------
    name : of the array. dtype, fill : as stored. bands : names along its second axis; none for (tile, y, x).
    wire : type of a band on its way. attributes : of the array, CF. source : collection, licence and attribution.
    """

    name: str
    dtype: str
    fill: Any
    bands: tuple[str, ...]
    wire: str
    attributes: dict[str, Any]
    source: dict[str, str]

    @property
    def wire_bands(self) -> tuple[str, ...]:
        """Names of its bands in a request."""
        return self.bands or (self.name,)

    def stored(self, wire: np.ndarray) -> np.ndarray:
        """Bands as they arrive, (band, y, x), as the array has them: (band, y, x) or (y, x)."""
        if self.name == "embedding" and self.dtype == "float16":
            out = wire.astype("float32")
            out *= np.float32(1 / WIRE_UNIT)
            out[wire == NO_WIRE] = np.nan
            return out.astype("float16")
        return wire if self.bands else wire[0]

    def decoded(self, stored: np.ndarray) -> np.ndarray:
        """Values in their unit: float32, NaN = no data; codes of classes as they are."""
        if self.name == "worldcover":
            return stored
        if self.dtype == "int8":
            return unquantised(stored)
        out: np.ndarray = stored.astype("float32")
        if self.name == "cloud_score":
            out *= np.float32(SCORE_STEP)
            out[stored == self.fill] = np.nan
        return out

    def known(self, stored: np.ndarray) -> np.ndarray:
        """Pixels that have data, bool (y, x)."""
        first = stored[0] if stored.ndim == 3 else stored  # an embedding has all its bands or none
        found: np.ndarray = np.isfinite(first) if first.dtype.kind == "f" else first != self.fill
        return found

    def missing(self) -> str:
        """Why a tile may have no pixel of it, in words."""
        return _MISSING[self.name]


_COVER = TABLES["esa-worldcover"]
_CC_BY = "CC-BY-4.0"
_MISSING = {
    "dem": "the elevation model has no tile here, as at sea",
    "embedding": "the annual embedding covers land and shallow water, from 2017 to its last year",
    "cloud_score": "Cloud Score+ has no image of the Sentinel-2 scene",
    "worldcover": "WorldCover ends at 60 S and holds nothing of the open sea",
}
_SOURCES = {
    "embedding": {"collection": "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL", "licence": _CC_BY,
                  "attribution": "The AlphaEarth Foundations Satellite Embedding dataset is produced by Google and "
                                 "Google DeepMind."},
    "cloud_score": {"collection": "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "licence": _CC_BY,
                    "attribution": "Cloud Score+, Google, Pasquarella et al. 2023"},
    "worldcover": {"collection": ", ".join(WORLDCOVER.values()), "licence": _CC_BY,
                   "attribution": "ESA WorldCover project 2020 and 2021, contains modified Copernicus Sentinel data"},
}


def extra(name: str, embedding_dtype: str = "float16", elevation: str = GLO30) -> Extra:
    """One extra.

    Parameters
    ----------
    embedding_dtype : ``float16`` or ``int8`` (:data:`QUANTUM`). elevation : of :data:`ELEVATION_MODELS`. Of the others
        no choice is given.
    """
    heights = ELEVATION_MODELS[elevation]

    def make(dtype: str, fill: Any, attributes: dict[str, Any], wire: str = "", bands: tuple[str, ...] = ()) -> Extra:
        source = heights.source if name == "dem" else _SOURCES[name]
        return Extra(name, dtype, fill, bands, wire or dtype, attributes, source)

    if name == "dem":
        return make("float32", np.nan, {
            "long_name": f"height of the surface (roofs and tree tops) above the geoid {heights.geoid}, bilinear",
            "standard_name": "surface_altitude", "units": "m"})
    if name == "embedding" and embedding_dtype == "int8":
        return make("int8", NO_CODE, {
            "long_name": "annual satellite embedding of the year of the label's scene, nearest neighbour; value = "
                         "sign(code) * (code / 127.5) ** 2", "units": "1", "no_data": NO_CODE, "quantum": QUANTUM},
            bands=EMBEDDING_BANDS)
    if name == "embedding":
        return make("float16", np.nan, {
            "long_name": "annual satellite embedding of the year of the label's scene, unit length, nearest neighbour",
            "units": "1"}, "int16", EMBEDDING_BANDS)
    if name == "cloud_score":
        return make("uint8", NO_SCORE, {
            "long_name": "Cloud Score+ cs_cdf of s2_id, 0 occluded to 1 clear, nearest neighbour", "units": "1",
            "scale_factor": SCORE_STEP, "_FillValue": NO_SCORE})
    if name == "worldcover":
        return make("uint8", 0, {
            "long_name": "ESA WorldCover of 2020 (labels up to then) or 2021, nearest neighbour; 0 = no data",
            "flag_values": list(_COVER.codes), "flag_meanings": " ".join(_COVER.classes)})
    raise KeyError(name)


def extras_of(names: Sequence[str], embedding_dtype: str = "float16", elevation: str = GLO30) -> list[Extra]:
    """The extras of some names, in the order of a store's arrays."""
    return [extra(name, embedding_dtype, elevation) for name in NAMES if name in names]


def unquantised(codes: np.ndarray) -> np.ndarray:
    """Embeddings of int8 codes: float32 of their shape, -1..1, NaN = no data."""
    table = np.arange(-128, 128, dtype="float32") / np.float32(QUANTUM)
    table *= np.abs(table)
    table[0] = np.nan
    out: np.ndarray = table[codes.astype("int16") + 128]
    return out


def worldcover_of(year: int) -> str:
    """Collection of the map nearest to a year."""
    return WORLDCOVER[min(max(year, min(WORLDCOVER)), max(WORLDCOVER))]


def bands_of(name: str) -> tuple[str, ...]:
    """Names of the bands that an extra is as an input."""
    return EMBEDDING_BANDS if name == "embedding" else (name,)


def input_bands(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the bands that extras are as inputs, in their order."""
    return tuple(band for name in INPUTS if name in names for band in bands_of(name))


def inputs_in(bands: Sequence[str]) -> tuple[str, ...]:
    """The extras whose bands stand at the end of a network's optical bands."""
    found = tuple(name for name in INPUTS if set(bands_of(name)) <= set(bands))
    own = input_bands(found)
    return found if own and tuple(bands)[-len(own):] == own else ()


def input_units() -> dict[str, str]:
    """Unit of each band as an input, by name."""
    words = {"dem": "0.2 m from -1000 m", "embedding": "1/30000 from -1", "cloud_score": "1/200"}
    return {band: words[name] for name in INPUTS for band in bands_of(name)}


def as_input(one: Extra, stored: np.ndarray) -> np.ndarray:
    """An extra as bands of the optical branch, uint16 (band, y, x), see :data:`CODING`."""
    values = np.atleast_3d(one.decoded(stored).T).T
    add, times = CODING[one.name]
    out = values + np.float32(add)
    out *= np.float32(times)
    known = np.isfinite(out)
    coded: np.ndarray = np.where(known, np.clip(np.rint(out), 0, NO_INPUT - 1), NO_INPUT).astype("uint16")
    return coded
