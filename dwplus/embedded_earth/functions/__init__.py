"""Built-in functions, in families; importing this package registers them all."""

from dwplus.embedded_earth.functions import (  # noqa: F401  (each registers its family)
    arrays,
    collections,
    expression,
    filters,
    geometries,
    images,
    kernels,
    neighborhood,
    reducers,
    sampling,
    scalars,
    statistics,
    vectors,
    visual,
)
from dwplus.embedded_earth.functions.registry import Context, call, missing, supported

__all__ = ["Context", "call", "missing", "supported"]
