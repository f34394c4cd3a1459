#!/usr/bin/env bash
# What box does a STAC item get for a 5 km tile that lies across the 180th meridian?
#
# RFC 7946, 5.2, wants west > east there: [179.988, -17.17, -179.963, -17.13]. Guess before running: rio-stac, which
# splits the geometry at the meridian correctly, writes the box by that rule too.
#
# Seen: rio-stac writes -180 to 180 (so a search anywhere at that latitude finds the tile) beside a correct
# MultiPolygon; odc-geo's geographic_extent gives a ring 360 degrees wide; rasterio.warp.transform_bounds and
# rioxarray give west > east.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'rasterio==1.4.4' 'rio-stac==0.12.0' 'odc-geo==0.5.3' 'rioxarray==0.19.0' 'shapely==2.2.0' \
    'pyproj==3.7.2'
cat > "$work/expected" <<'TEXT'
rio-stac [-180.0, -17.173, 180.0, -17.126] MultiPolygon
odc-geo 360 degrees wide
rasterio [179.988, -17.173, -179.963, -17.126]
rioxarray [179.988, -17.173, -179.963, -17.126]
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import rasterio
import rio_stac
import rioxarray
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

grid = from_origin(818000, 8104000, 10, 10)
with rasterio.open("tile.tif", "w", driver="GTiff", width=512, height=512, count=1, dtype="uint8", crs=32760,
                   transform=grid) as file:
    pass


def rounded(box):
    return [round(float(x), 3) for x in box]


item = rio_stac.create_stac_item("tile.tif")
print("rio-stac", rounded(item.bbox), item.geometry["type"])
box = GeoBox((512, 512), grid, "EPSG:32760").geographic_extent.boundingbox
print("odc-geo", round(box.right - box.left), "degrees wide")
with rasterio.open("tile.tif") as file:
    print("rasterio", rounded(transform_bounds(file.crs, 4326, *file.bounds)))
print("rioxarray", rounded(rioxarray.open_rasterio("tile.tif").rio.transform_bounds(4326)))
PYTHON
diff expected seen
echo "as written: stac-box-at-180-degrees"
