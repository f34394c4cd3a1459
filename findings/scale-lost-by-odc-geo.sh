#!/usr/bin/env bash
# Backscatter opened with rioxarray and saved again as a GeoTIFF by three writers: what do its numbers mean now?
#
# The first file says int16, scale 0.01, unit dB. Guess before running: odc-geo's write_cog keeps what the attributes of
# the array say of its numbers: scale_factor, add_offset and units.
#
# Seen: write_cog leaves out scale and offset and keeps the unit: its file says -1234 dB where -11.34 was stored.
# to_raster and rio-cogeo keep the scale and lose the unit. Give write_cog decoded numbers (mask_and_scale=True).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'odc-geo==0.5.3' 'rioxarray==0.19.0' 'rasterio==1.4.4' 'rio-cogeo==7.0.4' 'xarray==2026.9.0' 'dask==2026.8.0' \
    'numpy==2.4.6'
cat > "$work/expected" <<'TEXT'
first: int16, scale 0.01, offset 1.0, unit dB: -11.34
rioxarray: int16, scale 0.01, offset 1.0, unit None: -11.34
rio-cogeo: int16, scale 0.01, offset 1.0, unit None: -11.34
odc-geo: int16, scale 1.0, offset 0.0, unit dB: -1234.0
odc-geo, decoded: float32, scale 1.0, offset 0.0, unit dB: -11.34
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import numpy as np
import odc.geo.xr
import rasterio
import rioxarray
from odc.geo.cog import write_cog
from rasterio.transform import from_origin
from rio_cogeo.cogeo import cog_translate
from rio_cogeo.profiles import cog_profiles

with rasterio.open("first.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="int16", nodata=-32768,
                   crs=32632, transform=from_origin(300000, 6700000, 10, 10)) as file:
    file.write(np.full((1, 64, 64), -1234, "int16"))
    file.scales, file.offsets, file.units = (0.01,), (1.0,), ("dB",)
stored = rioxarray.open_rasterio("first.tif").squeeze("band")
decoded = rioxarray.open_rasterio("first.tif", mask_and_scale=True).squeeze("band")
stored.rio.to_raster("rioxarray.tif")
cog_translate("first.tif", "rio-cogeo.tif", cog_profiles.get("deflate"), quiet=True, in_memory=True)
write_cog(stored, "odc-geo.tif")
write_cog(decoded, "odc-geo, decoded.tif")
for name in ("first", "rioxarray", "rio-cogeo", "odc-geo", "odc-geo, decoded"):
    with rasterio.open(f"{name}.tif") as file:
        words = f"{file.dtypes[0]}, scale {file.scales[0]}, offset {file.offsets[0]}, unit {file.units[0]}"
    value = float(rioxarray.open_rasterio(f"{name}.tif", mask_and_scale=True)[0, 0, 0])
    print(f"{name}: {words}: {round(value, 2)}")
PYTHON
diff expected seen
echo "as written: scale-lost-by-odc-geo"
