#!/usr/bin/env bash
# Spectral indices of Sentinel-2 as delivered: what does spyndex make of uint16?
#
# Reflectance x 10000 comes as uint16. Guess before running: a library of indices computes in floating point, so that
# NDVI of N = 2000 and R = 3000 is -0.2.
#
# Seen: 12.91, outside of what NDVI can be, without a word: N - R is taken in uint16 and wraps around to 64536. Where
# N > R the answer is right, so that vegetation looks well and only water, snow, cloud and built ground are wrong.
# xarray and numpy alike; int16 and float32 are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'spyndex==0.12.0' 'numpy==2.4.6' 'xarray==2026.9.0'
cat > "$work/expected" <<'TEXT'
uint16 12.91
uint16, N > R 0.2
int16 -0.2
float32 -0.2
uint16 in xarray 12.91
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import numpy as np
import spyndex
import xarray


def ndvi(name, n, r):
    print(name, round(float(spyndex.computeIndex("NDVI", {"N": n, "R": r})[0]), 2))


for name, n, r, kind in (("uint16", 2000, 3000, "uint16"), ("uint16, N > R", 3000, 2000, "uint16"),
                         ("int16", 2000, 3000, "int16"), ("float32", 2000, 3000, "float32")):
    ndvi(name, np.array([n], kind), np.array([r], kind))
ndvi("uint16 in xarray", *(xarray.DataArray(np.array([v], "uint16"), dims="x") for v in (2000, 3000)))
PYTHON
diff expected seen
echo "as written: indices-of-integers-in-spyndex"
