"""Built-in functions, in families; importing this package registers them all."""

from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.functions import (  # noqa: F401  (each registers its family)
    arithmetic,
    array_images,
    array_numbers,
    arrays,
    collections,
    dates,
    expression,
    filters,
    geometries,
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
    statistics,
    texts,
    vectors,
    visual,
)
from dwplus.embedded_earth.functions.registry import call, missing, supported

__all__ = ["Context", "call", "missing", "supported"]
