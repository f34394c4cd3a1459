#!/usr/bin/env bash
# Does a box of RFC 7946 that crosses the 180th meridian (west > east) find what lies in it?
#
# Two footprints in Fiji, one on each side. Guess before running: readers that take a bounding box refuse west > east.
#
# Seen: geopandas.read_parquet(bbox=...), read_file(bbox=...) and .cx all answer with no row and no word. Ask twice,
# up to 180 and from -180.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'geopandas==1.1.1' 'pyogrio==0.13.0' 'pyarrow==26.0.1'
cat > "$work/expected" <<'TEXT'
across parquet 0 gpkg 0 cx 0
to 180 parquet 1 gpkg 1 cx 1
from -180 parquet 1 gpkg 1 cx 1
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import geopandas
import shapely

table = geopandas.GeoDataFrame({"n": [1, 2]}, crs=4326, geometry=[
    shapely.box(179.5, -17, 179.9, -16.5), shapely.box(-179.9, -17, -179.5, -16.5)])
table.to_parquet("a.parquet", write_covering_bbox=True)
table.to_file("a.gpkg")
for words, box in (("across", (179, -18, -179, -16)), ("to 180", (179, -18, 180, -16)), ("from -180", (-180, -18, -179, -16))):
    print(words, "parquet", len(geopandas.read_parquet("a.parquet", bbox=box)), "gpkg",
          len(geopandas.read_file("a.gpkg", bbox=box)), "cx", len(table.cx[box[0]:box[2], box[1]:box[3]]))
PYTHON
diff expected seen
echo "as written: boxes-across-180-degrees"
