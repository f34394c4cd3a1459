#!/usr/bin/env bash
# One encoding, two formats: what type do packed integers decode to?
#
# int16 with scale_factor float32(0.01), as for backscatter in dB, written by xarray to netCDF and to Zarr. Guess
# before running: float32 from both, as CF says the type of the scale decides.
#
# Seen: float32 from netCDF, float64 from Zarr (format 2 and 3), because JSON attributes have one kind of number: the
# type of the scale is lost on the way, and the array takes twice the memory.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'xarray==2026.9.0' 'zarr==3.1.6' 'netCDF4==1.7.5.1.post1' 'numpy==2.4.6'
cat > "$work/expected" <<'TEXT'
netCDF float32
Zarr 2 float64
Zarr 3 float64
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import numpy as np
import xarray

data = xarray.Dataset({"vv": (("y", "x"), np.array([[-12.34, np.nan], [-5, -6]], "float32"))})
packed = {"vv": {"dtype": "int16", "scale_factor": np.float32(0.01), "_FillValue": np.int16(-32768)}}
data.to_netcdf("a.nc", encoding=packed)
data.to_zarr("a2.zarr", encoding=packed, zarr_format=2, consolidated=False)
data.to_zarr("a3.zarr", encoding=packed, zarr_format=3, consolidated=False)
print("netCDF", xarray.open_dataset("a.nc")["vv"].dtype)
for version in (2, 3):
    print("Zarr", version, xarray.open_zarr(f"a{version}.zarr", consolidated=False)["vv"].dtype)
PYTHON
diff expected seen
echo "as written: type-of-scaled-int16"
