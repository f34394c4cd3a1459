#!/usr/bin/env bash
# A field is cut out of a GeoTIFF with isel, or the image made coarser, and saved: where do readers find it?
#
# rioxarray writes the corner and the step of the file into the attribute GeoTransform of spatial_ref, and isel keeps
# attributes. Guess before running: whoever opens the cut again takes its place from the coordinates x and y, which are
# right, so that its west edge is 500050 for all.
#
# Seen: rasterio (GDAL 3.10), rioxarray.open_rasterio and rasterix (netCDF and Zarr) take the attribute and put the cut
# at the corner of the whole image, 500000; a point then reads the value of another place. odc-geo, and rioxarray on a
# data set that xarray opened, go by the coordinates. Where coarsen makes pixels of 20 m, rioxarray's resolution() stays
# 10 m, so that areas are a fourth. Without the attribute and with rio.write_coordinate_system() all are right. GDAL
# was mended in 2026 (https://github.com/OSGeo/gdal/pull/13888).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'rasterio==1.4.4' 'rioxarray==0.19.0' 'rasterix==0.2.4' 'odc-geo==0.5.3' 'xarray==2026.9.0' 'zarr==3.1.6' \
    'netCDF4==1.7.5.1.post1' 'numpy==2.4.6' 'xproj==0.2.1' 'dask==2026.8.0'
cat > "$work/expected" <<'TEXT'
west edge, by coordinates: 500050
rasterio, netCDF: 500000
rioxarray.open_rasterio, netCDF: 500000
rasterix, netCDF: 500000, at 500055 it reads 10
rasterix, Zarr: 500000, at 500055 it reads 10
rioxarray, opened by xarray: 500050
odc-geo: 500050
rasterio, mended: 500050
rasterix, mended: 500050, at 500055 it reads 5
pixels of 20 m: rioxarray 10, odc-geo 20
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import numpy as np
import odc.geo.xr
import rasterio
import rasterix
import rioxarray
import xarray
from rasterio.transform import from_origin

with rasterio.open("whole.tif", "w", driver="GTiff", width=20, height=20, count=1, dtype="int16", crs=32633,
                   transform=from_origin(500000, 5000200, 10, 10)) as file:
    file.write(np.tile(np.arange(20, dtype="int16"), (1, 20, 1)))
whole = rioxarray.open_rasterio("whole.tif").squeeze("band", drop=True).rename("column")
cut = whole.isel(x=slice(5, 15), y=slice(5, 15))
print("west edge, by coordinates:", int(cut.x[0]) - 5)
cut.to_netcdf("cut.nc")
cut.to_dataset().to_zarr("cut.zarr", consolidated=False)
mended = cut.rio.write_coordinate_system()
mended.spatial_ref.attrs.pop("GeoTransform")
mended.to_netcdf("mended.nc")


def place(raster):
    return round(raster.rio.bounds()[0])


def by_rasterix(data):
    placed = rasterix.assign_index(data)
    there = int(placed.column.sel(x=500055, y=5000145, method="nearest"))
    return f"{round(float(placed.x[0])) - 5}, at 500055 it reads {there}"


netcdf = xarray.open_dataset("cut.nc", decode_coords="all")
with rasterio.open("cut.nc") as file:
    print("rasterio, netCDF:", round(file.bounds.left))
print("rioxarray.open_rasterio, netCDF:", place(rioxarray.open_rasterio("cut.nc")))
print("rasterix, netCDF:", by_rasterix(netcdf))
print("rasterix, Zarr:", by_rasterix(xarray.open_zarr("cut.zarr", decode_coords="all", consolidated=False)))
print("rioxarray, opened by xarray:", place(netcdf))
print("odc-geo:", round(netcdf.odc.geobox.boundingbox.left))
with rasterio.open("mended.nc") as file:
    print("rasterio, mended:", round(file.bounds.left))
print("rasterix, mended:", by_rasterix(xarray.open_dataset("mended.nc", decode_coords="all")))
coarse = whole.astype("float32").coarsen(x=2, y=2).mean()
print("pixels of 20 m: rioxarray", round(coarse.rio.resolution()[0]), end=", ")
print("odc-geo", round(coarse.odc.geobox.resolution.x))
PYTHON
diff expected seen
echo "as written: crops-placed-by-their-whole"
