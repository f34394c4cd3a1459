#!/usr/bin/env bash
# The mean of a field over one GeoTIFF of backscatter, int16 with scale 0.01: do exactextract and rasterstats agree?
#
# Guess before running: both read stored numbers, as rasterio does, and give -1234, the scale being left to the user.
#
# Seen: exactextract applies the scale of the file when it opens it by its path (-12.34) and when rasterio has it open;
# rasterstats gives -1234, and so does exactextract for an array of the same numbers. A threshold in dB that was written
# for one meets numbers a hundred times as large in the other.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'exactextract==0.3.0' 'rasterstats==0.21.0' 'rasterio==1.4.4' 'geopandas==1.2.0' 'numpy==2.4.6' \
    'pandas==2.3.3' 'shapely==2.2.0'
cat > "$work/expected" <<'TEXT'
rasterstats -1234.0
exactextract, path -12.34
exactextract, opened by rasterio -12.34
exactextract, array -1234.0
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import geopandas
import numpy as np
import rasterio
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from rasterio.transform import from_origin
from rasterstats import zonal_stats

WEST, NORTH, SIDE = 300000, 6700000, 10
stored = np.full((4, 4), -1234, "int16")
with rasterio.open("vv.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="int16", nodata=-32768, crs=32632,
                   transform=from_origin(WEST, NORTH, SIDE, SIDE)) as file:
    file.write(stored, 1)
    file.scales = (0.01,)
field = geopandas.GeoDataFrame(geometry=[shapely.box(WEST, NORTH - 40, WEST + 40, NORTH)], crs=32632)


def mean(raster):
    return round(float(exact_extract(raster, field, "mean", output="pandas")["mean"].iat[0]), 2)


print("rasterstats", round(zonal_stats(field, "vv.tif", stats="mean")[0]["mean"], 2))
print("exactextract, path", mean("vv.tif"))
with rasterio.open("vv.tif") as file:
    print("exactextract, opened by rasterio", mean(file))
print("exactextract, array", mean(NumPyRasterSource(stored, WEST, NORTH - 40, WEST + 40, NORTH)))
PYTHON
diff expected seen
echo "as written: zonal-means-of-scaled-backscatter"
