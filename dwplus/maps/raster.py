"""Rasters of a map: one cloud-optimised GeoTIFF per layer and UTM zone, and a VRT over all zones.

Blocks are written into a tiled GeoTIFF first, in whatever order, and copied from there: the bytes of the result depend
on the pixels alone, and no more than some blocks are in memory.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import shapely
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from dwplus.errors import StopError
from dwplus.grid import PixelGrid, transformer
from dwplus.grid.longitude import box_of, near
from dwplus.maps import edges
from dwplus.maps.blocks import Block, overlap
from dwplus.maps.kinds import codes_of
from dwplus.pages.colours import rgb
from dwplus.runtime.paths import whole
from dwplus.store.legend import DYNAMIC_WORLD, Legend
from dwplus.taxonomy import IGNORE

#: Bytes that GDAL may keep of rasters it writes.
CACHE_BYTES = 128 << 20
#: No data of the layer ``sources``.
NO_SOURCE = -2147483648
#: Metres of a degree of latitude, for the pixels of a mosaic in degrees.
DEGREE_METRES = 111_320.0


@dataclass(frozen=True)
class Layer:
    """A kind of raster.

    Attributes
    ----------
    bands : names, with ``units`` for each. resampling : of the overviews. legend : classes that a class raster holds.
    """

    name: str
    bands: tuple[str, ...]
    dtype: str
    nodata: int
    resampling: str
    units: tuple[str, ...]
    legend: Legend = DYNAMIC_WORLD


def layers_of(legend: Legend) -> dict[str, Layer]:
    """The layers of a map of some classes, by name."""
    return {layer.name: layer for layer in (
        Layer("class", ("class",), "uint8", IGNORE, "MODE", ("",), legend),
        Layer("confidence", ("confidence",), "uint8", IGNORE, "AVERAGE", ("percent",), legend),
        Layer("probabilities", legend.classes, "uint8", IGNORE, "AVERAGE", ("percent",) * len(legend), legend),
        Layer("sources", ("s2_date", "s1_date", "gap", "dates"), "int32", NO_SOURCE, "NEAREST",
              ("yyyymmdd", "yyyymmdd", "minutes, S1 minus S2", "scenes"), legend),
    )}


#: Of a map in Dynamic World's classes.
LAYERS = layers_of(DYNAMIC_WORLD)


def extent(blocks: Iterable[Block], ground: shapely.Geometry | None = None) -> PixelGrid:
    """The smallest grid around blocks of one zone, or around a geometry (in their metres) within them."""
    grids = [block.grid for block in blocks]
    first = grids[0]
    west, north = min(g.bounds[0] for g in grids), max(g.bounds[3] for g in grids)
    east, south = max(g.bounds[2] for g in grids), min(g.bounds[1] for g in grids)
    whole = PixelGrid(first.epsg, west, north, first.scale, round((north - south) / first.scale),
                      round((east - west) / first.scale))
    if ground is None or ground.is_empty:
        return whole
    x0, y0, x1, y1 = ground.bounds
    left, top = max(0, floor((x0 - west) / first.scale)), max(0, floor((north - y1) / first.scale))
    right, bottom = min(whole.width, ceil((x1 - west) / first.scale)), min(whole.height,
                                                                           ceil((north - y0) / first.scale))
    if right <= left or bottom <= top:
        return whole
    return whole.block(top, left, bottom - top, right - left)


def outside(grid: PixelGrid, ground: shapely.Geometry | None) -> np.ndarray | None:
    """Pixels that do not belong to a geometry in the grid's metres (:mod:`dwplus.maps.edges`), bool (y, x); None where
    there is none."""
    if ground is None or shapely.contains_properly(ground, shapely.box(*grid.bounds)):
        return None
    near = shapely.intersection(ground, shapely.box(*grid.bounds).buffer(grid.scale))
    if near.is_empty:
        return np.ones(grid.shape, bool)
    return ~edges.inside(near, grid)


def write_cog(path: Path, layer: Layer, grid: PixelGrid, blocks: Sequence[Block],
              pixels: Callable[[Block], np.ndarray | None], tags: dict[str, str]) -> None:
    """Write one layer of one zone, whole or not at all.

    Parameters
    ----------
    grid : the file's. blocks : those that may have a part in it.
    pixels : gives a block's (band, y, x), None where it has none.
    tags : of the file.

    Raises
    ------
    StopError
        Where it cannot be written.
    """
    plain, partial = path.with_name(f".{path.stem}.plain.part.tif"), path.with_name(f".{path.stem}.part.tif")
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_TIFF_INTERNAL_MASK=False, GDAL_NUM_THREADS=1):
            with rasterio.open(plain, "w", driver="GTiff", count=len(layer.bands), height=grid.height,
                               width=grid.width, dtype=layer.dtype, crs=grid.crs, transform=grid.transform,
                               nodata=layer.nodata, tiled=True, blockxsize=512, blockysize=512, interleave="band",
                               sparse_ok=True, bigtiff="IF_SAFER") as raster:
                raster.descriptions, raster.units = layer.bands, layer.units
                raster.update_tags(**tags)
                if layer.name == "change" and layer.dtype == "uint8":
                    raster.write_colormap(1, codes_of(layer.legend).colours())
                if layer.name == "class":
                    raster.write_colormap(1, {**{i: rgb(c) for i, c in enumerate(layer.legend.colours)},
                                              IGNORE: (255, 255, 255)})
                    raster.update_tags(1, **{f"class_{i}": name for i, name in enumerate(layer.legend.classes)})
                for block in blocks:
                    shared = overlap(grid, block.grid)
                    found = pixels(block) if shared else None
                    if shared and found is not None:
                        raster.write(found[(slice(None), *shared[1])], window=Window.from_slices(*shared[0]))
            rasterio.shutil.copy(plain, partial, driver="COG", compress="DEFLATE", blocksize=512, level=6,
                                 overview_resampling=layer.resampling, bigtiff="IF_SAFER", sparse_ok=True,
                                 num_threads="ALL_CPUS")
        os.replace(partial, path)
        if layer.name == "class":
            _write_names(path, layer.legend)
    except (OSError, RasterioError) as error:
        raise StopError(f"map: {path} cannot be written ({' '.join(str(error).split())}); run the same command "
                        "again") from error
    finally:
        for stale in (plain, partial):
            stale.unlink(missing_ok=True)


def _write_names(path: Path, legend: Legend) -> None:
    """Class names where QGIS and GDAL look for them: GeoTIFF itself has no place for names of values."""
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    _names(band, legend)
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    columns = (("Value", "0", "5"), ("Class", "1", "2"), ("Red", "0", "6"), ("Green", "0", "7"), ("Blue", "0", "8"))
    for index, (name, kind, usage) in enumerate(columns):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        for key, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, key).text = value
    for number, (name, colour) in enumerate(zip(legend.classes, legend.colours, strict=True)):
        row = ET.SubElement(table, "Row", index=str(number))
        for text in map(str, (number, name.replace("_", " "), *rgb(colour))):
            ET.SubElement(row, "F").text = text
    _write_xml(root, path.with_name(f"{path.name}.aux.xml"))


def _names(band: ET.Element, legend: Legend) -> None:
    names = ET.SubElement(band, "CategoryNames")
    for name in legend.classes:
        ET.SubElement(names, "Category").text = name.replace("_", " ")


def _write_xml(root: ET.Element, path: Path) -> None:
    ET.indent(root)
    with whole(path) as partial:
        partial.write_bytes(ET.tostring(root) + b"\n")


def write_vrt(path: Path, layer: Layer, sources: Sequence[Path]) -> None:
    """A mosaic over the zones' files, which lie in the same folder.

    Of one zone it is in that zone's metres. Several are warped to degrees on reading (nearest neighbour), each by a
    ``.warped.vrt`` beside the mosaic; where the map crosses the antimeridian, longitudes run on past 180.
    """
    if len(sources) > 1:
        sources = [_warped(source, box) for source, box in zip(sources, degree_boxes(sources), strict=True)]
    try:
        opened = [rasterio.open(source) for source in sources]
    except RasterioError as error:
        raise StopError(f"map: {path} cannot be made ({error}); run the same command again") from error
    step = opened[0].res
    west, south = min(o.bounds.left for o in opened), min(o.bounds.bottom for o in opened)
    east, north = max(o.bounds.right for o in opened), max(o.bounds.top for o in opened)
    width, height = round((east - west) / step[0]), round((north - south) / step[1])
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    ET.SubElement(root, "SRS").text = opened[0].crs.to_wkt()
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, (west, step[0], 0.0, north, 0.0, -step[1])))
    kind = {"uint8": "Byte", "uint16": "UInt16", "int32": "Int32"}[layer.dtype]
    for number, name in enumerate(layer.bands, start=1):
        band = ET.SubElement(root, "VRTRasterBand", dataType=kind, band=str(number))
        ET.SubElement(band, "Description").text = name
        ET.SubElement(band, "NoDataValue").text = str(layer.nodata)
        if layer.name == "class":
            ET.SubElement(band, "ColorInterp").text = "Palette"
            table = ET.SubElement(band, "ColorTable")
            for colour in layer.legend.colours:
                ET.SubElement(table, "Entry", {f"c{i}": str(v) for i, v in enumerate((*rgb(colour), 255), start=1)})
            _names(band, layer.legend)
        for source, raster in zip(sources, opened, strict=True):
            part = ET.SubElement(band, "ComplexSource")
            ET.SubElement(part, "SourceFilename", relativeToVRT="1").text = source.name
            ET.SubElement(part, "SourceBand").text = str(number)
            ET.SubElement(part, "SrcRect", xOff="0", yOff="0", xSize=str(raster.width), ySize=str(raster.height))
            ET.SubElement(part, "DstRect", xOff=repr((raster.bounds.left - west) / step[0]),
                          yOff=repr((north - raster.bounds.top) / step[1]),
                          xSize=repr((raster.bounds.right - raster.bounds.left) / step[0]),
                          ySize=repr((raster.bounds.top - raster.bounds.bottom) / step[1]))
            ET.SubElement(part, "NODATA").text = str(layer.nodata)
    for raster in opened:
        raster.close()
    _write_xml(root, path)


def degree_boxes(sources: Sequence[Path]) -> list[tuple[float, float, float, float]]:
    """West, south, east, north of each raster in degrees, all in the turns that bring them nearest to each other:
    across the antimeridian longitudes run on past 180."""
    boxes = []
    for source in sources:
        with rasterio.open(source) as raster:
            with WarpedVRT(raster, crs="EPSG:4326") as plain:
                box = tuple(plain.bounds)
            if box[2] - box[0] > 180:  # all around the earth is what GDAL makes of an edge across the antimeridian
                box = _outline(raster).bounds
        boxes.append(box)
    west = box_of([shapely.box(*box) for box in boxes])[0]
    # A degree less: what lies at the very west must not be taken for its far end.
    turns = [360.0 * floor((box[0] - west + 1.0) / 360.0) for box in boxes]
    return [(box[0] - turn, box[1], box[2] - turn, box[3]) for box, turn in zip(boxes, turns, strict=True)]


def _outline(raster: rasterio.DatasetReader) -> shapely.Polygon:
    """The edge of a raster in degrees, connected."""
    left, bottom, right, top = raster.bounds
    edge = shapely.segmentize(shapely.box(left, bottom, right, top), max(right - left, top - bottom) / 64)
    lon, lat = transformer(raster.crs.to_epsg(), 4326).transform(*shapely.get_coordinates(edge).T)
    return shapely.Polygon(np.column_stack([near(lon, lon[0]), lat]))


def _warped(source: Path, box: tuple[float, float, float, float]) -> Path:
    """A VRT of a zone's file in degrees, about as fine at the file's own latitude.

    Parameters
    ----------
    box : of the file, :func:`degree_boxes`.
    """
    path = source.with_suffix(".warped.vrt")
    partial = source.with_name(f".{path.name}.part.vrt")
    with rasterio.open(source) as raster:
        step = raster.res[0] / DEGREE_METRES
        # One lattice for all zones, so that a mosaic of them needs no resampling of its own.
        west, north = np.floor(box[0] / step) * step, np.ceil(box[3] / step) * step
        width, height = int(np.ceil((box[2] - west) / step)), int(np.ceil((north - box[1]) / step))
        with WarpedVRT(raster, crs="EPSG:4326", transform=rasterio.Affine(step, 0, west, 0, -step, north), width=width,
                       height=height) as warped:
            rasterio.shutil.copy(warped, partial, driver="VRT")
    root = ET.parse(partial).getroot()
    for element in root.iter("SourceDataset"):
        element.text = source.name
        element.set("relativeToVRT", "1")
    partial.unlink()
    _write_xml(root, path)
    return path
