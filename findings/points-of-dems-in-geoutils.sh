#!/usr/bin/env bash
# A raster whose pixels are points (AREA_OR_POINT=Point, as for many elevation models): where does geoutils see them?
#
# Each pixel of 10 m holds the x of its own centre, so that an interpolated value says how far off it was looked for.
# Guess before running: geoutils, which has a word for pixel interpretation, gives the same centres as rasterio and
# rioxarray, GDAL having moved the corner of such files by half a pixel.
#
# Seen: geoutils takes a pixel's upper left corner for its place in a file of areas (its manual says so; 5 m off) and in
# one of points moves half a pixel more, away from the centre that its manual promises: coordinates begin at -5 where 5
# is right, and an interpolated height is that of 10 m further east and south: a whole pixel. reduce_points is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'geoutils==0.2.5' 'rasterio==1.4.4' 'rioxarray==0.19.0' 'numpy==2.4.6' 'xarray==2026.9.0' 'geopandas==1.2.0'
cat > "$work/expected" <<'TEXT'
Area, at 55: rasterio 55, rioxarray 55, geoutils reduced 55, interpolated 60; first centre: rioxarray 5, geoutils 0
Point, at 55: rasterio 55, rioxarray 55, geoutils reduced 55, interpolated 65; first centre: rioxarray 5, geoutils -5
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import geoutils
import numpy as np
import rasterio
import rioxarray
from rasterio.transform import from_origin

WEST, X, Y = 500000, 500055, 5000145
for kind in ("Area", "Point"):
    with rasterio.open("dem.tif", "w", driver="GTiff", width=20, height=20, count=1, dtype="float32", crs=32633,
                       transform=from_origin(WEST, 5000200, 10, 10)) as file:
        file.update_tags(AREA_OR_POINT=kind)
        file.write(np.tile(np.arange(20, dtype="float32") * 10 + 5, (1, 20, 1)))
    with rasterio.open("dem.tif") as file:
        sampled = next(file.sample([(X, Y)]))[0]
    array = rioxarray.open_rasterio("dem.tif").squeeze()
    dem = geoutils.Raster("dem.tif", load_data=True)
    points = ([X, X], [Y, Y])
    reduced, between = (float(found["z"].iloc[0])
                        for found in (dem.reduce_points(points), dem.interp_points(points)))
    print(f"{kind}, at {X - WEST}: rasterio {sampled:.0f}, rioxarray {float(array.sel(x=X, y=Y)):.0f}, geoutils "
          f"reduced {reduced:.0f}, interpolated {between:.0f}; first centre: rioxarray {float(array.x[0]) - WEST:.0f}, "
          f"geoutils {dem.coords(grid=False)[0][0] - WEST:.0f}")
PYTHON
diff expected seen
echo "as written: points-of-dems-in-geoutils"
