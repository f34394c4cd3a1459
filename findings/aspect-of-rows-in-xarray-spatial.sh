#!/usr/bin/env bash
# The same slope with rows from north to south, and from south to north: what aspect does xarray-spatial give?
#
# GeoTIFFs have their rows north first, netCDF and Zarr often south first; the coordinate y says which. Guess before
# running: a library for labelled arrays looks at the coordinate, so that ground rising northwards faces south (180
# degrees) in both.
#
# Seen: 180 with y descending, 0 with y ascending: rows are taken for north first whatever y says. The steepness is the
# same in both. Illumination of Sentinel-1 or terrain correction by such an aspect takes slopes for their opposite.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'xarray-spatial==0.5.3' 'numpy==2.4.6' 'xarray==2026.9.0' 'numba==0.66.0'
cat > "$work/expected" <<'TEXT'
y descending aspect 180 slope 45
y ascending aspect 0 slope 45
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import numpy as np
import xarray
from xrspatial import aspect, slope

across = np.arange(8) * 10.0 + 5
for name, y in (("y descending", across[::-1]), ("y ascending", across)):
    ground = xarray.DataArray(np.repeat(y[:, None], 8, 1).astype("float32"), dims=("y", "x"),
                              coords={"y": y, "x": across})
    facing, steep = (float(f(ground).sel(x=45, y=45)) for f in (aspect, slope))
    print(f"{name} aspect {facing:.0f} slope {steep:.0f}")
PYTHON
diff expected seen
echo "as written: aspect-of-rows-in-xarray-spatial"
