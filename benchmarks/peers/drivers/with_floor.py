"""The floor: threads of ``computePixels``, each answer saved raw. No retries but the client's, no compression."""

import driver
import ee
import numpy as np

given = driver.arguments()
driver.connect(given.url)


def one(tile, path):
    np.save(path, ee.data.computePixels({"expression": driver.image_of(tile), "fileFormat": "NUMPY_NDARRAY",
                                         "grid": driver.grid_of(tile)}))


driver.each_tile(given, ".npy", one)
