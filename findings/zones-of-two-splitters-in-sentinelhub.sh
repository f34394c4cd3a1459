#!/usr/bin/env bash
# Which UTM zone do the tilings of sentinelhub give to south-western Norway and Svalbard?
#
# The military grid, which Sentinel-2 follows, has zone 32V over Bergen and 31X, 33X, 35X, 37X alone over Svalbard. Guess
# before running: one library that knows the exceptions in one function knows them in all, so that 32 and 33 come from
# each.
#
# Seen: CRS.get_utm_from_wgs84 and UtmGridSplitter know the exceptions, UtmZoneSplitter does not: 31 for Bergen, 32 and
# 34 in Svalbard, where no granule of Sentinel-2 has them. Elsewhere the three agree. Tiles of one region by one
# splitter have no counterpart of the other.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'sentinelhub==3.12.0' 'numpy==2.4.6' 'shapely==2.2.0' 'pyproj==3.7.2'
cat > "$work/expected" <<'TEXT'
Bergen: function 32632, grid splitter 32632, zone splitter 32631
Svalbard, 9.5 E: function 32633, grid splitter 32633, zone splitter 32632
Svalbard, 20 E: function 32633, grid splitter 32633, zone splitter 32634
Berlin: function 32633, grid splitter 32633, zone splitter 32633
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
from sentinelhub import CRS, BBox, UtmGridSplitter, UtmZoneSplitter

SIDE = 5100  # m
for name, lon, lat in (("Bergen", 5.32, 60.39), ("Svalbard, 9.5 E", 9.5, 78.2), ("Svalbard, 20 E", 20.0, 78.2),
                       ("Berlin", 13.4, 52.5)):
    area = [BBox((lon - 0.01, lat - 0.005, lon + 0.01, lat + 0.005), CRS.WGS84)]
    said = {"function": [CRS.get_utm_from_wgs84(lon, lat)]}
    for kind, splitter in (("grid splitter", UtmGridSplitter), ("zone splitter", UtmZoneSplitter)):
        said[kind] = [box.crs for box in splitter(area, CRS.WGS84, bbox_size=SIDE).get_bbox_list()]
    words = [f"{kind} {' '.join(sorted({str(crs.epsg) for crs in found}))}" for kind, found in said.items()]
    print(f"{name}: {', '.join(words)}")
PYTHON
diff expected seen
echo "as written: zones-of-two-splitters-in-sentinelhub"
