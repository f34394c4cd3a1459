"""Pairs that lie in raster files: GeoTIFF, PNG, JPEG, whatever GDAL reads."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from dwplus.errors import InputError
from dwplus.importers.base import Files, Georeference, Header, Pair, Raw

#: Most pixels of an image that is read whole.
MOST_PIXELS = 1 << 30


class RasterReader:
    """Reads pairs of raster files. ``recode`` : codes of label files that are merged, to their new code."""

    def __init__(self, recode: dict[int, int] | None = None) -> None:
        from rasterio.errors import NotGeoreferencedWarning

        # Of sets without places every file would warn; the filter is set once, for setting it is not safe in threads.
        warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
        self.recode = None
        if recode is not None:
            self.recode = np.arange(256, dtype="int64")
            for old, new in recode.items():
                self.recode[old] = new

    def header(self, pair: Pair) -> Header:
        """Sizes and types of a pair.

        Raises
        ------
        InputError
            Where a file is no raster, has another number of bands, or another size than its partners.
        """
        parts = [_header(files) for files in (pair.optical, pair.radar, pair.label)]
        first = parts[0]
        for files, other in zip((pair.radar, pair.label), parts[1:], strict=True):
            if other["shape"] != first["shape"]:
                raise InputError(f"{files.paths[0]}: is {_size(other['shape'])} px, its partner "
                                 f"{pair.optical.paths[0]} is {_size(first['shape'])}; files of a pair must be of one "
                                 f"size")
        for files, other in zip((pair.optical, pair.radar), parts, strict=False):
            if np.dtype(other["dtype"]).kind == "c":
                raise InputError(f"{files.paths[0]}: is {other['dtype']}, must be real numbers; take the intensity or "
                                 "amplitude of complex radar first")
        if np.dtype(parts[2]["dtype"]).kind not in "iu":
            raise InputError(f"{pair.label.paths[0]}: is {parts[2]['dtype']}, labels must be integers")
        height, width = first["shape"]
        return Header(height, width, (first["dtype"], parts[1]["dtype"], parts[2]["dtype"]), first["georeference"])

    def label(self, pair: Pair) -> np.ndarray:
        """Codes of a pair's label, int64 or smaller (y, x)."""
        found: np.ndarray = _pixels(pair.label)[0]
        if self.recode is not None:
            if found.size and (found.min() < 0 or found.max() > 255):
                raise InputError(f"{pair.label.paths[0]}: holds code "
                                 f"{int(found.min() if found.min() < 0 else found.max())}, codes must be 0 to 255")
            found = self.recode[found]
        return found

    def read(self, pair: Pair) -> Raw:
        """All pixels of a pair."""
        return Raw(_masked(pair.optical), _masked(pair.radar), self.label(pair))


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _opened(path: Path) -> Any:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        return rasterio.open(path)
    except RasterioError as error:
        words = "is an empty file" if path.is_file() and not os.path.getsize(path) else f"cannot be read ({error})"
        raise InputError(f"{path}: {words}; download it again") from None


def _header(files: Files) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in files.paths:
        with _opened(path) as raster:
            if raster.count not in files.counts:
                raise InputError(f"{path}: has {raster.count} bands, must have "
                                 f"{' or '.join(map(str, files.counts))}")
            if raster.width * raster.height > MOST_PIXELS:
                raise InputError(f"{path}: is {raster.width} x {raster.height} px, more than can be read at once; cut "
                                 "it first")
            one = {"shape": (raster.height, raster.width), "dtype": raster.dtypes[0],
                   "georeference": _georeference(raster)}
        if found and one["shape"] != found["shape"]:
            raise InputError(f"{path}: is {_size(one['shape'])} px, its partner {files.paths[0]} is "
                             f"{_size(found['shape'])}; files of a pair must be of one size")
        found = found or one
    return found


def _georeference(raster: Any) -> Georeference:
    """The georeference of squares of one size in a projection with metres; of others none is kept."""
    transform, crs = raster.transform, raster.crs
    if crs is None or not crs.is_projected or transform.is_identity:
        return Georeference()
    square = math.isclose(transform.a, -transform.e, rel_tol=1e-6) and not transform.b and not transform.d
    epsg = crs.to_epsg() if square else None
    return Georeference(int(epsg), transform.c, transform.f, transform.a) if epsg else Georeference()


def _pixels(files: Files, masked: bool = False) -> np.ndarray:
    from rasterio.enums import MaskFlags
    from rasterio.errors import RasterioError

    parts: list[np.ndarray] = []
    for path in files.paths:
        try:
            with _opened(path) as raster:
                # Where a file marks no data, its mask is a second image to make and look through; most mark none. Four
                # bands of 8 bits are red, green, blue and alpha to GDAL: of a set's own bands the fourth is none.
                flags = {flag for band in raster.mask_flag_enums for flag in band} - {MaskFlags.all_valid}
                found = raster.read(list(files.bands) if files.bands else None,
                                    masked=masked and bool(flags) and MaskFlags.alpha not in flags)
                if masked and MaskFlags.alpha in flags and raster.nodata is not None:
                    found = np.ma.masked_equal(found, raster.nodata)
                parts.append(found)
        except (RasterioError, ValueError) as error:
            why = "it is cut short or damaged" if error.__cause__ is not None else str(error)  # GDAL's own is the cause
            raise InputError(f"{path}: its pixels cannot be read ({why}); download it again") from None
    if len(parts) == 1:
        return parts[0]
    join: Any = np.ma.concatenate if any(np.ma.isMaskedArray(part) for part in parts) else np.concatenate
    out: np.ndarray = join(parts)
    return out


def _masked(files: Files) -> np.ndarray:
    """Pixels, with NaN where the file marks no data; integers stay integers where it marks none."""
    found = _pixels(files, masked=True)
    mask = np.ma.getmask(found)
    if mask is np.ma.nomask or not mask.any():
        return np.asarray(np.ma.getdata(found))
    return np.where(mask, np.float32(np.nan), np.ma.getdata(found).astype("float32"))
