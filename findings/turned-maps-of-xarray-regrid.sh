#!/usr/bin/env bash
# Land cover of 10 m made coarser to 30 m: which way up does it come back from xarray-regrid?
#
# Water (0) in the northern half, crops (4) in the southern. Guess before running: the library sorts what it needs and
# finds cells by their coordinates, so that the northernmost cell is 0 by every method, whichever way data and target
# have their rows.
#
# Seen: onto a target with north first, as GeoTIFFs and the grids of odc-geo have it, stat("mean") and most_common say 4
# in the north: the map is upside down, and its coordinates do not tell (for data that have north first, too,
# most_common ends in an error instead). conservative is right. Onto a target with south first stat is right; sort the
# target by y, and the answer afterwards.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'xarray-regrid==0.4.2' 'xarray==2026.9.0' 'flox==0.11.2' 'numpy==2.4.6' 'pandas==2.3.3'
cat > "$work/expected" <<'TEXT'
south first onto south first: mean 0, most common 0, conservative 0
south first onto north first: mean 4, most common 4, conservative 0
north first onto south first: mean 0, most common an error, conservative 0
north first onto north first: mean 4, most common an error, conservative 0
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import numpy as np
import xarray
import xarray_regrid

fine, coarse = np.arange(12) * 10.0 + 5, np.arange(4) * 30.0 + 15
ways = {"south first": slice(None), "north first": slice(None, None, -1)}
for data_way, rows in ways.items():
    y = fine[rows]
    cover = xarray.DataArray(np.repeat(np.where(y > 60, 0, 4)[:, None], 12, 1).astype("uint8"), dims=("y", "x"),
                             coords={"y": y, "x": fine}, name="cover")
    for target_way, turned in ways.items():
        target = xarray.Dataset(coords={"y": coarse[turned], "x": coarse})
        said = {"mean": lambda: cover.astype("float32").regrid.stat(target, "mean"),
                "most common": lambda: cover.regrid.most_common(target, values=np.arange(9)),
                "conservative": lambda: cover.astype("float32").regrid.conservative(target)}
        words = []
        for name, ask in said.items():
            try:
                words.append(f"{name} {round(float(ask().sel(y=105, x=45)))}")
            except ValueError:
                words.append(f"{name} an error")
        print(f"{data_way} onto {target_way}: {', '.join(words)}")
PYTHON
diff expected seen
echo "as written: turned-maps-of-xarray-regrid"
