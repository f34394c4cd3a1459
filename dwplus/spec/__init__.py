"""The data set a user asks for: one frozen model, read from YAML, kept in the plan and in the store; and what the
quantities are that it may ask for."""

from dwplus.spec.base import FIRST_YEAR, LAST_YEAR, Day
from dwplus.spec.dataset import DatasetSpec, ExtraName
from dwplus.spec.labels import Labels
from dwplus.spec.reading import differences, load_spec, make_spec
from dwplus.spec.region import WKT_WORDS, BBox, RegionFile, RegionPart, Window
from dwplus.spec.sensors import PLAIN_GROUND, SR_BANDS, TOA_BANDS, Sentinel1, Sentinel2, TerrainBand
from dwplus.spec.tiles import EARLIER_EDGES, Quality, Sampling, StoreSpec, TileShape, TripletsSpec

__all__ = ["EARLIER_EDGES", "FIRST_YEAR", "LAST_YEAR", "PLAIN_GROUND", "SR_BANDS", "TOA_BANDS", "WKT_WORDS", "BBox",
           "DatasetSpec", "Day", "ExtraName", "Labels", "Quality", "RegionFile", "RegionPart", "Sampling", "Sentinel1",
           "Sentinel2", "StoreSpec", "TerrainBand", "TileShape", "TripletsSpec", "Window", "differences",
           "load_spec", "make_spec"]
