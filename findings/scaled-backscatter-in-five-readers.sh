#!/usr/bin/env bash
# Backscatter as int16 hundredths of dB: which readers apply the scale of a GeoTIFF?
#
# The file says scale 0.01 and nodata -32768; rio-stac carries both into the item. Guess before running: those that
# read the item or the file's scale agree on -12.34 dB, or else all give the stored number.
#
# Seen: stackstac and xarray's engine "rasterio" give -12.34 with NaN; odc-stac and rioxarray.open_rasterio give
# -1234, with -32768 in place of no data (rioxarray scales only with mask_and_scale=True; masked=True masks without
# scaling). Once the item says its bands in the way of STAC 1.1 (bands with raster:scale), stackstac does not scale
# either. One file, three meanings of its numbers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'rasterio==1.4.4' 'rio-stac==0.12.0' 'stackstac==0.5.1' 'odc-stac==0.5.3' 'rioxarray==0.19.0' 'pystac==1.15.2' 'xarray==2026.9.0' 'dask==2026.8.0' \
    'odc-geo==0.5.3' 'odc-loader==0.6.5' 'numpy==2.4.6'
cat > "$work/expected" <<'TEXT'
stackstac [-12.34, nan]
stackstac, bands as in STAC 1.1 [-1234.0, nan]
odc-stac [-32768.0, -1234.0]
rioxarray [-32768.0, -1234.0]
rioxarray, masked [-1234.0, nan]
rioxarray, mask_and_scale [-12.34, nan]
xarray, engine rasterio [-12.34, nan]
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
from pathlib import Path

import numpy as np
import odc.stac
import rasterio
import rio_stac
import rioxarray
import stackstac
import xarray
from rasterio.transform import from_origin

stored = np.full((1, 4, 4), -1234, "int16")
stored[0, 0, 0] = -32768
with rasterio.open("vv.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="int16", nodata=-32768, crs=32632,
                   transform=from_origin(300000, 6700000, 10, 10)) as file:
    file.write(stored)
    file.scales = (0.01,)
item = rio_stac.create_stac_item("vv.tif", id="a", with_proj=True, with_raster=True, asset_name="vv",
                                 asset_href=str(Path("vv.tif").resolve()))
item_11 = item.clone()
item_11.assets["vv"].extra_fields.pop("raster:bands")
item_11.assets["vv"].extra_fields["bands"] = [
    {"name": "vv", "data_type": "int16", "nodata": -32768, "raster:scale": 0.01, "raster:offset": 0}]


def show(name, values):
    print(name, [round(float(x), 2) for x in np.unique(values)])


show("stackstac", stackstac.stack([item]).values)
show("stackstac, bands as in STAC 1.1", stackstac.stack([item_11]).values)
show("odc-stac", odc.stac.load([item])["vv"].values)
show("rioxarray", rioxarray.open_rasterio("vv.tif").values)
show("rioxarray, masked", rioxarray.open_rasterio("vv.tif", masked=True).values)
show("rioxarray, mask_and_scale", rioxarray.open_rasterio("vv.tif", mask_and_scale=True).values)
show("xarray, engine rasterio", xarray.open_dataset("vv.tif", engine="rasterio")["band_data"].values)
PYTHON
diff expected seen
echo "as written: scaled-backscatter-in-five-readers"
