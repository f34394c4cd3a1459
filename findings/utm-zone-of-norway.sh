#!/usr/bin/env bash
# Which UTM zone do libraries take for western Norway and Svalbard?
#
# Sentinel-2 granules follow the military grid: Bergen lies in 32V, Ny-Alesund in 33X, eastern Svalbard in 33X and
# 35X. Guess before running: libraries that estimate a UTM zone follow the plain rule of 6 degrees for Bergen; in
# Svalbard at least they avoid zones that do not exist there.
#
# Seen: geopandas' estimate_utm_crs() and odc-geo's CRS.utm() take 31 for Bergen and the zones 32 and 34 in Svalbard,
# of which the military grid has none at that latitude; utm and mgrs follow the grid. Pixels fetched on the estimated
# grid are resampled there, because no Sentinel-2 granule and no Dynamic World image lies on it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'geopandas==1.1.1' 'odc-geo==0.5.3' 'utm==0.9.0' 'mgrs==1.6.0'
cat > "$work/expected" <<'TEXT'
Bergen: geopandas 32631, odc-geo 32631, utm 32V, mgrs 32V
Ny-Alesund: geopandas 32632, odc-geo 32632, utm 33X, mgrs 33X
Kvitoya: geopandas 32634, odc-geo 32634, utm 33X, mgrs 33X
Kirkenes: geopandas 32636, odc-geo 32636, utm 36W, mgrs 36W
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import geopandas
import mgrs
import shapely
import utm
from odc.geo.crs import CRS

for name, lon, lat in (("Bergen", 5.32, 60.39), ("Ny-Alesund", 11.93, 78.92), ("Kvitoya", 20.5, 79.0),
                       ("Kirkenes", 30.05, 69.7)):
    estimated = geopandas.GeoSeries([shapely.Point(lon, lat)], crs=4326).estimate_utm_crs().to_epsg()
    number, letter = utm.from_latlon(lat, lon)[2:]
    print(f"{name}: geopandas {estimated}, odc-geo {CRS.utm(lon, lat).epsg}, utm {number}{letter}, "
          f"mgrs {mgrs.MGRS().toMGRS(lat, lon, MGRSPrecision=0)[:3]}")
PYTHON
diff expected seen
echo "as written: utm-zone-of-norway"
