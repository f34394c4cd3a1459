#!/usr/bin/env bash
# Regions with a hole, of two islands, and of three points: what does asf_search ask for when it is given them?
#
# Guess before running: islands become the hull around them, and the list of repairs says so, as it did. The hole was put
# beside them without a guess.
#
# Seen: the hole is filled without a repair being listed. Two islands become the hull around both, here five and a half
# times their area, and points the triangle between them: both are listed as repairs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check 'asf_search==14.1.0' 'shapely==2.1.2'
cat > "$work/expected" <<'TEXT'
a hole: area 64.0 -> 100.0, repairs 0
two islands: area 2.0 -> 11.0, repairs 2
three points: area 0.0 -> 22.5, repairs 2
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
from asf_search import validate_wkt
from shapely import MultiPoint, Polygon, box, union_all

REGIONS = {"a hole": Polygon(box(0, 0, 10, 10).exterior, [box(2, 2, 8, 8).exterior]),
           "two islands": union_all([box(0, 0, 1, 1), box(10, 0, 11, 1)]),
           "three points": MultiPoint([(0, 0), (5, 5), (9, 0)])}
for name, region in REGIONS.items():
    asked, _, repairs = validate_wkt(region.wkt)
    print(f"{name}: area {region.area} -> {asked.area}, repairs {len(repairs)}")
PYTHON
diff expected seen
echo "as written: regions-of-asf-search"
