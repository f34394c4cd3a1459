#!/usr/bin/env bash
# Do polygons that share an edge share pixels, when the edge runs through pixel centres?
#
# That is the rule rather than the exception where 30 m cells (Landsat, WorldCover's neighbours) meet 10 m pixels:
# their edges run through the centres. Guess before running: rasterize() has a half-open rule, so that a partition of
# a raster sums to the raster.
#
# Seen: edges that run due east count their row of pixels in both polygons (12 for 9 pixels each; nine polygons count
# 108, their union 90), in rasterio.features.rasterize, geometry_mask and rasterstats; edges that run due north do
# not. exactextract weighs by area and is right. Areas by polygon from the former are a third too large here.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'rasterio==1.4.4' 'rasterstats==0.21.0' 'exactextract==0.3.0' 'geopandas==1.1.1'
cat > "$work/expected" <<'TEXT'
rasterize [12, 12, 12, 12, 12, 12, 12, 12, 12] union 90
geometry_mask [12, 12, 12, 12, 12, 12, 12, 12, 12]
rasterstats [12, 12, 12, 12, 12, 12, 12, 12, 12]
exactextract [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import exactextract
import geopandas
import numpy as np
import rasterio
import rasterstats
import shapely
from rasterio.features import geometry_mask, rasterize
from rasterio.transform import from_origin

grid = from_origin(500000, 5000120, 10, 10)
with rasterio.open("ones.tif", "w", driver="GTiff", width=12, height=12, count=1, dtype="float32", crs=32633,
                   transform=grid) as file:
    file.write(np.ones((1, 12, 12), "float32"))
cells = [shapely.box(500005 + 30 * i, 5000005 + 30 * j, 500035 + 30 * i, 5000035 + 30 * j)
         for i in range(3) for j in range(3)]


def burnt(shape):
    return int(rasterize([(shape, 1)], out_shape=(12, 12), transform=grid).sum())


print("rasterize", [burnt(cell) for cell in cells], "union", burnt(shapely.union_all(cells)))
print("geometry_mask", [int(geometry_mask([cell], (12, 12), grid, invert=True).sum()) for cell in cells])
print("rasterstats", [row["count"] for row in rasterstats.zonal_stats(cells, "ones.tif", stats="count")])
table = exactextract.exact_extract("ones.tif", geopandas.GeoDataFrame(geometry=cells, crs=32633), ["count"],
                                   output="pandas")
print("exactextract", [round(float(n), 6) for n in table["count"]])
PYTHON
diff expected seen
echo "as written: pixels-of-neighbouring-polygons"
