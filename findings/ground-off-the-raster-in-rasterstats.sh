#!/usr/bin/env bash
# Pixels of a polygon that reaches over the edge of a GeoTIFF without a nodata value: what does rasterstats count?
#
# Guess before running: -9.99 dB is left out, with a warning, as it was; with nodata given, ground off the raster is, too.
#
# Seen: ground off the raster counts as 0. Of a map of classes whose 0 is water, two pixels of water become six, without
# a word; of backscatter in hundredths of dB it enters the mean as 0 dB. The -999 that it takes for nodata is a real
# value there, -9.99 dB: these pixels are left out, with a warning. Giving nodata mends the second, not the first; where
# the file says its nodata itself, both are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'rasterstats==0.21.0' 'rasterio==1.4.4' 'numpy==2.4.6' 'shapely==2.1.2'
cat > "$work/expected" <<'TEXT'
classes, inside {0: 2, 1: 1, 8: 1}
classes, over the edge {0: 6, 1: 1, 8: 1}
classes, over the edge, nodata=255 {0: 6, 1: 1, 8: 1}
classes, over the edge, nodata in the file {0: 2, 1: 1, 8: 1}
backscatter, inside {'mean': -1300.0, 'count': 2}
backscatter, over the edge {'mean': -433.33, 'count': 6}
backscatter, over the edge, nodata=-32768 {'mean': -574.75, 'count': 8}
backscatter, over the edge, nodata in the file {'mean': -1149.5, 'count': 4}
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterstats import zonal_stats
from shapely.geometry import box

FILES = {"classes": (np.array([[1, 0], [8, 0]], "uint8"), 255, {"categorical": True}),
         "backscatter": (np.array([[-999, -1200], [-999, -1400]], "int16"), -32768, {"stats": "mean count"})}
INSIDE, OVER = box(0, 0, 20, 20), box(0, 0, 40, 20)
for name, (pixels, nodata, asked) in FILES.items():
    with rasterio.open(f"{name}.tif", "w", driver="GTiff", width=2, height=2, count=1, dtype=pixels.dtype,
                       crs="EPSG:32631", transform=from_origin(0, 20, 10, 10)) as file:
        file.write(pixels, 1)
    for words, ground, more in (("inside", INSIDE, {}), ("over the edge", OVER, {}),
                                (f"over the edge, nodata={nodata}", OVER, {"nodata": nodata}),
                                ("over the edge, nodata in the file", OVER, {})):
        if "in the file" in words:
            with rasterio.open(f"{name}.tif", "r+") as file:
                file.nodata = nodata
        found = zonal_stats(ground, f"{name}.tif", **asked, **more)[0]
        print(f"{name}, {words}", {key: round(value, 2) for key, value in found.items()})
PYTHON
diff expected seen
echo "as written: ground-off-the-raster-in-rasterstats"
