"""A tile as cloud-optimised GeoTIFFs, one for each array: types and no-data as stored, so that nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dwplus.errors import InputError
from dwplus.pages.colours import rgb
from dwplus.store import layout
from dwplus.store.legend import legend_of
from dwplus.store.reader import tile
from dwplus.taxonomy.tables import TABLES


def write_geotiffs(store: str | Path, tile_id: str, folder: str | Path, window: str | None = None) -> dict[str, Path]:
    """Write ``<tile>_s2.tif`` (uint16 DN), ``<tile>_s1.tif`` (as stored: int16 with scale 0.01, or float32 dB),
    ``<tile>_label.tif`` (uint8 with the store's palette) and the store's extras into a folder. An embedding of float16
    becomes float32, for few programs read the former in a GeoTIFF.

    Returns
    -------
    Paths by array.

    Raises
    ------
    InputError
        As :func:`dwplus.store.reader.tile`, and where the folder cannot be written.
    """
    import rasterio
    import rasterio.shutil
    from rasterio.errors import RasterioError
    from rasterio.io import MemoryFile

    legend = legend_of(layout.open_root(store).attrs.asdict(), f"store {store}")
    found = tile(store, tile_id, window, decoded=False)
    folder = Path(folder)
    written = {}
    tags = {key: str(value) for key, value in found.attrs.items() if value != ""}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in map(str, found.data_vars):
            array = found[name]
            if array.dtype == "float16":
                array = array.astype("float32").rio.write_nodata(array.rio.nodata)
            bands = np.atleast_3d(array.values).transpose(2, 0, 1) if array.ndim == 2 else array.values
            path = folder / f"{tile_id}_{name}.tif"
            with MemoryFile() as memory:
                with memory.open(driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2],
                                 dtype=bands.dtype, crs=found.rio.crs, transform=found.rio.transform(),
                                 nodata=array.rio.nodata) as raster:
                    raster.write(bands)
                    raster.update_tags(**tags)
                    if name == "label":
                        raster.descriptions = ("label",)
                        raster.write_colormap(1, {
                            **{i: rgb(c) for i, c in enumerate(legend.colours)},
                            legend.ignore: (255, 255, 255)})
                        raster.update_tags(1, **{f"class_{i}": c for i, c in enumerate(legend.classes)})
                    elif array.ndim == 3:
                        raster.descriptions = tuple(found[f"{name}_band"].values)
                    else:
                        raster.descriptions = (name,)
                    if name == "worldcover":
                        table = TABLES["esa-worldcover"]
                        raster.write_colormap(1, dict(zip(table.codes, map(rgb, table.colours), strict=True)))
                    if "scale_factor" in array.attrs:
                        raster.scales = (array.attrs["scale_factor"],) * len(bands)
                with memory.open() as raster:
                    rasterio.shutil.copy(raster, path, driver="COG", compress="DEFLATE", blocksize=512, predictor="YES",
                                         overviews="NONE")
            written[name] = path
    except (OSError, RasterioError) as error:
        raise InputError(f"GeoTIFF {folder}: cannot be written ({error})") from None
    return written
