"""geebeam: a pipeline takes one image and one projection, so that tiles are grouped by both; local runner, GeoTIFF.

It signs in by itself in every worker, at Google's address: that call is replaced, the rest is as installed.
"""

import itertools
import logging
import os
import warnings

import driver
import ee
import geebeam
import pandas as pd

given = driver.arguments()
driver.connect(given.url)
ee.Initialize = lambda *_, **__: None
logging.disable(logging.WARNING)
warnings.simplefilter("ignore")


def same(tile):
    return tile.epsg, tile.expression


def pipeline(tiles):
    """One call for the tiles of one image."""
    first = tiles[0]
    geebeam.run_pipeline(
        [driver.image_of(first)],
        pd.DataFrame({"id": [given.tiles.index(tile) for tile in tiles], "x": [tile.x0 for tile in tiles],
                      "y": [tile.y0 for tile in tiles], "split": "train"}),
        output_path=os.path.join(given.out, first.name), project="bench", patch_size=first.size,
        crs=f"EPSG:{first.epsg}", align_transform=(first.scale, 0, first.x0, 0, -first.scale, first.y0),
        output_dtype="int32", position="top-left", beam_options={
            "runner": "FnApiRunner", "direct_num_workers": given.at_once, "direct_running_mode": "multi_threading"})
    os.rename(os.path.join(given.out, first.name), os.path.join(given.out, first.name + ".done"))


began = driver.begin()
failed = []
for _, group in itertools.groupby(sorted(given.tiles, key=same), same):
    tiles = list(group)
    if os.path.exists(os.path.join(given.out, tiles[0].name + ".done")):
        continue
    try:
        pipeline(tiles)
    except Exception as error:  # whatever it raises loses the tiles of this pipeline, and is told
        failed += [str(error)] * len(tiles)
driver.end(began, failed)
