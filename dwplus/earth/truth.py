"""What really grows on the sample planet, which no real Earth tells."""

from __future__ import annotations

import ee
import numpy as np

from dwplus.earth.pixels import fetch
from dwplus.earth.session import Session
from dwplus.grid import PixelGrid
from dwplus.taxonomy import IGNORE

#: An image a site and year, of 1 July.
TRUTH = "SAMPLE/TRUTH"


def land_cover(session: Session, grid: PixelGrid, year: int) -> np.ndarray:
    """Land cover of 1 July of a year, uint8 (y, x), 255 off the planet's sites."""
    image = ee.ImageCollection(TRUTH).filterDate(f"{year}-01-01", f"{year + 1}-01-01").mosaic().unmask(
        IGNORE, False).toUint8().rename("truth")
    found: np.ndarray = fetch(session, image, grid, np.dtype([("truth", "u1")]))["truth"]
    return found
