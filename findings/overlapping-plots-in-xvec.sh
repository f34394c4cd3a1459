#!/usr/bin/env bash
# Means of plots that overlap (circles about sample points, a province and its country): does xvec give each its own?
#
# Pixels hold their column. Guess before running: the methods of zonal_stats differ at the edges of a polygon only.
#
# Seen: "rasterize" draws all polygons into one raster, so that a pixel belongs to the last that covers it: the mean of
# a plot is that of what later ones left (2.0 for 4.5), one that lies within a later one is missing altogether, and the
# order of the rows decides. It is the default where exactextract is not installed, and is not where it is: the same
# line gives two answers on two machines. "iterate" and "exactextract" are right. The manual speaks of small polygons.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'xvec==0.5.2' 'rioxarray==0.19.0' 'rasterio==1.4.4' 'xarray==2026.9.0' 'geopandas==1.2.0' 'shapely==2.2.0' \
    'joblib==1.6.0' 'numpy==2.4.6' 'pandas==2.3.3'
cat > "$work/expected" <<'TEXT'
without exactextract: by default [2.0, nan, 9.5], rasterize [2.0, nan, 9.5], iterate [4.5, 11.0, 9.5]
with exactextract: by default [4.5, 11.0, 9.5], rasterize [2.0, nan, 9.5], iterate [4.5, 11.0, 9.5]
TEXT
cat > "$work/plots.py" <<'PYTHON'
import sys

import geopandas
import numpy as np
import rioxarray
import shapely
import xarray
import xvec

side = np.arange(20) * 10.0 + 5
columns = xarray.DataArray(np.tile(np.arange(20.0), (20, 1)), dims=("y", "x"), coords={"y": side[::-1], "x": side},
                           name="column").rio.write_crs(32633)
plots = geopandas.GeoSeries([shapely.box(0, 0, 100, 100), shapely.box(100, 20, 130, 50), shapely.box(50, 0, 150, 100)],
                            crs=32633)
words = []
for name, options in (("by default", {}), ("rasterize", {"method": "rasterize"}), ("iterate", {"method": "iterate"})):
    means = columns.xvec.zonal_stats(plots, x_coords="x", y_coords="y", stats="mean", **options)
    words.append(f"{name} {[round(float(mean), 1) for mean in means.values.ravel()]}")
print(f"{sys.argv[1]} exactextract: {', '.join(words)}")
PYTHON
cd "$work"
env/bin/python -W ignore plots.py without > seen
env/bin/python -m pip install --quiet --disable-pip-version-check 'exactextract==0.3.0'
env/bin/python -W ignore plots.py with >> seen
diff expected seen
echo "as written: overlapping-plots-in-xvec"
