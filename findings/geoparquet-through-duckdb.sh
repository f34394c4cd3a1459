#!/usr/bin/env bash
# What is left of GeoParquet 1.1 after a filter in DuckDB?
#
# A table of footprints with a covering box, filtered with SQL and written again. Guess before running: as with pandas
# and polars, the geometry's metadata is lost.
#
# Seen: DuckDB keeps geometry and CRS without its spatial extension, better than pandas and polars do, and writes
# GeoParquet 1.0: the covering is gone while its column stays as plain data, so that geopandas'
# read_parquet(bbox=...), which worked on the first file, is an error on the second. pandas and polars leave a file
# that geopandas refuses.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'duckdb==2.0.1' 'geopandas==1.1.1' 'polars==2.1.0' 'pyarrow==26.0.1'
cat > "$work/expected" <<'TEXT'
first: GeoParquet 1.1.0; 1 row in the box
duckdb: GeoParquet 1.0.0; Specifying 'bbox' not supported for this Parquet file
polars: GeoParquet None; Missing geo metadata in Parquet/Feather file
pandas: GeoParquet None; Missing geo metadata in Parquet/Feather file
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import json

import duckdb
import geopandas
import pandas
import polars
import pyarrow.parquet
import shapely

table = geopandas.GeoDataFrame({"n": [1, 2]}, geometry=[shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 6)], crs=4326)
table.to_parquet("first.parquet", write_covering_bbox=True, schema_version="1.1.0")
duckdb.sql("copy (select * from 'first.parquet' where n = 1) to 'duckdb.parquet' (format parquet)")
polars.read_parquet("first.parquet").write_parquet("polars.parquet")
pandas.read_parquet("first.parquet").to_parquet("pandas.parquet")
for name in ("first", "duckdb", "polars", "pandas"):
    file = f"{name}.parquet"
    geo = (pyarrow.parquet.read_schema(file).metadata or {}).get(b"geo")
    version = json.loads(geo)["version"] if geo else None
    try:
        found = f"{len(geopandas.read_parquet(file, bbox=(0, 0, 1, 1)))} row in the box"
    except ValueError as error:
        found = str(error).split(".")[0].split(" (")[0]
    print(f"{name}: GeoParquet {version}; {found}")
PYTHON
diff expected seen
echo "as written: geoparquet-through-duckdb"
