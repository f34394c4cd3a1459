"""A small archive held in arrays, asked through the real client."""

from __future__ import annotations

import ee
import ee.deprecation
import numpy as np
import pytest
import shapely
import shapely.geometry
from google.auth.credentials import AnonymousCredentials
from pyproj import Transformer

import dwplus.earth.session
from dwplus.embedded_earth import EmbeddedEarth, http_transport
from dwplus.embedded_earth.catalog import BandSpec, TableFeature

CRS = "EPSG:32633"
ORIGIN = (500_000.0, 5_500_000.0)
DAY = 86_400_000
HEIGHT, WIDTH = 48, 64


class ArrayScene:
    """Bands in arrays; every read is counted."""

    def __init__(self, asset_id, arrays, time_ms, scale=10.0, origin=ORIGIN, valid=None, crs=CRS, **properties):
        self.id, self.arrays, self.valid = asset_id, arrays, valid or {}
        self.reads = 0
        specs = []
        for name, array in arrays.items():
            kind = array.dtype
            low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.kind in "iu" else (None, None)
            precision = "int" if kind.kind in "iu" else "float" if kind.itemsize == 4 else "double"
            specs.append(BandSpec(name, precision, crs, (scale, 0, origin[0], 0, -scale, origin[1]), array.shape[1],
                                  array.shape[0], low, high, "mode" if name == "label" else "mean"))
        self.bands = tuple(specs)
        height, width = next(iter(arrays.values())).shape
        box = shapely.box(origin[0], origin[1] - height * scale, origin[0] + width * scale, origin[1])
        to = Transformer.from_crs(crs, 4326, always_xy=True).transform
        self.outline = shapely.transform(shapely.segmentize(box, 10 * scale), to, interleaved=False)
        self.properties = {
            "system:index": asset_id.rsplit("/", 1)[-1], "system:time_start": time_ms, "system:time_end": time_ms,
            "system:footprint": {"type": "LinearRing", "coordinates": [list(c) for c in self.outline.exterior.coords]},
            **properties}
        self.bounds = self.outline.bounds

    def read(self, bands, window):
        self.reads += 1
        part = np.s_[window.row:window.row + window.height, window.col:window.col + window.width]
        return {b: (self.arrays[b][part], None if b not in self.valid else self.valid[b][part]) for b in bands}


class ArrayCatalog:
    def __init__(self, scenes, tables):
        self.listed, self.tables = scenes, tables
        self.asked = []

    def describe(self):
        return "arrays"

    def asset_type(self, asset_id):
        if asset_id in self.tables:
            return "TABLE"
        if any(s.id == asset_id for s in self.listed):
            return "IMAGE"
        return "IMAGE_COLLECTION" if any(s.id.startswith(asset_id + "/") for s in self.listed) else None

    def children(self, asset_id):
        return ["T"] if not asset_id else []

    def image(self, asset_id):
        return next((s for s in self.listed if s.id == asset_id), None)

    def scenes(self, collection, start_ms=None, end_ms=None, bounds=None):
        self.asked.append((collection, start_ms, end_ms, bounds))
        found = [s for s in self.listed if s.id.startswith(collection + "/")]
        return sorted(found, key=lambda s: (s.properties["system:time_start"], s.id)) if found else None

    def table(self, asset_id):
        return self.tables.get(asset_id)


def make_catalog():
    rng = np.random.default_rng(1)
    scenes = []
    for i in range(4):
        valid = rng.random((HEIGHT, WIDTH)) > 0.3
        scenes.append(ArrayScene(
            f"T/OPT/s{i}", {"B2": rng.integers(0, 4000, (HEIGHT, WIDTH)).astype("u2"),
                            "B3": rng.integers(0, 4000, (HEIGHT, WIDTH)).astype("u2"),
                            "label": rng.integers(0, 9, (HEIGHT, WIDTH)).astype("u1")},
            1_600_000_000_000 + i * DAY, valid={"label": valid}, cloud=[40.0, 10.0, 30.0, 20.0][i],
            modes=["VV", "VH"] if i % 2 else ["VV"], origin=(ORIGIN[0] + 100 * i, ORIGIN[1])))
    scenes.append(ArrayScene("T/COARSE/c", {"B11": rng.random((24, 32))}, 1_600_000_000_000, scale=20.0))
    scenes.append(ArrayScene("T/SAR/x", {"VV": rng.normal(-10, 3, (HEIGHT, WIDTH))}, 1_600_000_000_000 + DAY // 2,
                             origin=(ORIGIN[0] + 3.7, ORIGIN[1] - 4.2)))
    squares = [TableFeature(str(i), shapely.geometry.mapping(shapely.box(14 + i, 49, 14.9 + i, 50)),
                            {"name": f"r{i}", "code": i + 1}) for i in range(3)]
    return ArrayCatalog(scenes, {"T/REGIONS": squares})


def initialize(earth):
    ee.Reset()
    dwplus.earth.session._current = None
    ee.deprecation.deprecated_assets = {"-": None}
    ee.Initialize(AnonymousCredentials(), project="test", url="http://embedded.earth",
                  http_transport=http_transport(earth))
    ee.data.setMaxRetries(0)


@pytest.fixture
def catalog():
    return make_catalog()


@pytest.fixture
def earth(catalog):
    """An embedded Earth over the arrays, with the client connected to it."""
    earth = EmbeddedEarth(catalog)
    initialize(earth)
    yield earth
    ee.Reset()
    dwplus.earth.session._current = None


def pixels(image, x0=ORIGIN[0], y0=ORIGIN[1], width=WIDTH, height=HEIGHT, scale=10.0, crs=CRS):
    """computePixels as a structured array."""
    return ee.data.computePixels({
        "expression": image, "fileFormat": "NUMPY_NDARRAY",
        "grid": {"crsCode": crs, "dimensions": {"width": width, "height": height},
                 "affineTransform": {"scaleX": scale, "shearX": 0, "translateX": x0, "shearY": 0, "scaleY": -scale,
                                     "translateY": y0}}})
