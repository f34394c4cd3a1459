"""Built-in functions, in families; importing this package registers them all."""

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.functions import (  # noqa: F401  (each registers its family)
    arithmetic,
    array_images,
    array_numbers,
    arrays,
    classifiers,
    collections,
    confusion,
    dates,
    distances,
    drawing,
    expression,
    filters,
    geometries,
    geometry_parts,
    images,
    kernels,
    lists,
    masking,
    matrices,
    matrix_images,
    neighborhood,
    projections,
    reducers,
    regions,
    resolution,
    sampling,
    scalars,
    special_images,
    statistics,
    texts,
    vectors,
    visual,
    windows,
)
from dwplus.embedded_earth.functions.registry import call, missing, supported

__all__ = ["Context", "call", "missing", "supported"]
